"""The split of the flat model into ranges of columns."""

from dataclasses import dataclass

__all__ = ["Shard", "split"]


@dataclass(frozen=True, slots=True)
class Shard:
    """Columns ``[start, stop)``."""

    start: int
    stop: int


def split(columns: int, width: int) -> tuple[Shard, ...]:
    """Cut ``columns`` into shards of ``width``; only the last may be smaller.

    Args:
        columns: of the whole model, at least 1.
        width: columns of a shard, at least 1.

    >>> split(5, 2)
    (Shard(start=0, stop=2), Shard(start=2, stop=4), Shard(start=4, stop=5))
    """
    starts = range(0, columns, width)
    return tuple(Shard(start, min(start + width, columns)) for start in starts)
