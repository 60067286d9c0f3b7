"""When a version that could not be loaded is tried again."""

__all__ = ["LONGEST_SECONDS", "backoff_seconds"]

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0


def backoff_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row: doubling, with an upper bound.

    Args:
        failures: at least 1.

    Example:
        >>> [backoff_seconds(failures) for failures in (1, 2, 3, 40)]
        [1.0, 2.0, 4.0, 60.0]
    """
    return float(min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(failures - 1, 30)))
