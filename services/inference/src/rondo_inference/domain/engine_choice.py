"""Which engine computes a batch of how many rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

__all__ = ["Choice", "buckets", "merged", "winner"]

_FIRST = 8
_GROWTH = 4
_MARGIN = 0.1
"""A challenger that is less than this share faster may be so by chance."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was found out about the engines of a version.

    Attributes:
        by_rows: (rows, engine): each computes batches of up to so many rows, and the last one
            those that are larger as well.
        dropped: engine -> why it computes nothing.
    """

    by_rows: tuple[tuple[int, str], ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_one_row(self) -> str:
        """The engine that computes a lone row."""
        return self.by_rows[0][1]


def buckets(largest: int) -> tuple[int, ...]:
    """Return the sizes of batches that are measured, of which the last is ``largest``.

    Example:
        >>> buckets(64), buckets(1)
        ((1, 8, 32, 64), (1,))
    """
    return tuple(_sizes(largest))


def _sizes(largest: int) -> Iterator[int]:
    size = 1
    while size < largest:
        yield size
        size = max(_FIRST, size * _GROWTH)
    yield largest


def winner(seconds: Mapping[str, float], preferred: str) -> str:
    """Return who computes a batch: the preferred engine, unless another is clearly faster.

    Args:
        seconds: engine -> what a run takes; not empty.
        preferred: the first engine; where it is not among them, it was beaten before.

    Example:
        >>> winner({"onnxruntime": 1.0, "litert": 0.95}, "onnxruntime")
        'onnxruntime'
        >>> winner({"onnxruntime": 1.0, "litert": 0.5}, "onnxruntime")
        'litert'
        >>> winner({"litert": 1.0, "tensorflow": 0.95}, "onnxruntime")
        'tensorflow'
    """
    fastest = min(seconds, key=seconds.__getitem__)
    if preferred in seconds and seconds[fastest] >= (1 - _MARGIN) * seconds[preferred]:
        return preferred
    return fastest


def merged(winners: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Return (rows, engine) with neighbours of one engine as one.

    Example:
        >>> merged([(1, "litert"), (8, "litert"), (32, "onnxruntime")])
        ((8, 'litert'), (32, 'onnxruntime'))
    """
    return tuple(list(group)[-1] for _, group in groupby(winners, key=itemgetter(1)))
