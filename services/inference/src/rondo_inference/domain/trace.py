"""The trace that a request belongs to.

Source: W3C Trace Context, section 3.2 (traceparent).
"""

import re

__all__ = ["trace_id"]

_TRACEPARENT = re.compile(
    "(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def trace_id(traceparent: str) -> str | None:
    """Return the trace's id, or None where the header is missing or malformed.

    Example:
        >>> trace_id("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        '0af7651916cd43dd8448eb211c80319c'
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or not found["trace"].strip("0"):
        return None
    return found["trace"]
