"""How long a load that nobody waits for rests after each of its steps."""

__all__ = ["rest_seconds"]

_SHARE = 0.05
"""Of one CPU that such a load takes. What it takes beside a busy server is missing elsewhere: by
its length requests are late, and at four fifths of what a server can do they stay late for five
times as long."""

_LONGEST = 1.0
"""A large model has few steps, and is to be served some day."""

_IDLE = 0.1
"""Who computes no more than this share of one CPU is not disturbed."""


def rest_seconds(own: float, others: float, elapsed: float) -> float:
    """Return how long to rest.

    Args:
        own: CPU seconds that the step took.
        others: CPU seconds that the other threads of the process took meanwhile.
        elapsed: seconds from the beginning of the step to its end.

    Example:
        >>> round(rest_seconds(0.01, others=0.02, elapsed=0.02), 2)
        0.19
        >>> rest_seconds(0.01, others=0.0, elapsed=0.01)
        0.0
    """
    if others <= elapsed * _IDLE:
        return 0.0
    return min(own / _SHARE - own, _LONGEST)
