"""Where a request is computed: at once on the event loop, or on a thread beside it."""

__all__ = ["runs_inline"]

INLINE_BYTES = 64 * 1024
INLINE_SECONDS = 0.002
BYTES_PER_VALUE = 2
"""No JSON or CSV takes fewer for a value and its comma."""


def runs_inline(body_bytes: int, *, row_values: int, row_seconds: float) -> bool:
    """Return whether a request is surely so short that handing it to a thread would cost more.

    Args:
        body_bytes: length of the request's body, which bounds its rows.
        row_values: how many values one row has.
        row_seconds: how long the model computes for one row.

    Example:
        >>> runs_inline(5_000, row_values=784, row_seconds=0.0003)
        True
        >>> runs_inline(5_000, row_values=4, row_seconds=0.0003)
        False
    """
    rows = max(1, body_bytes // (BYTES_PER_VALUE * row_values))
    return body_bytes <= INLINE_BYTES and rows * row_seconds <= INLINE_SECONDS
