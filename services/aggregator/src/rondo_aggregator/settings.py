"""What the aggregator reads from its environment, the same for intake and workers."""

from dataclasses import dataclass

from rondo_core.celery_worker import CelerySettings
from rondo_core.errors import SettingsInvalid
from rondo_core.layout import FLOAT32
from rondo_core.model_store import MIN_PART_BYTES

__all__ = ["MIN_SHARD_COLUMNS", "AggregatorSettings"]

MIN_SHARD_COLUMNS = MIN_PART_BYTES // FLOAT32.itemsize
"""A shard's bytes become a part of the version, and a part has a least size."""


@dataclass(frozen=True, kw_only=True)
class AggregatorSettings(CelerySettings):
    """Settings of both processes, so that they agree on queue, times and shards.

    Attributes:
        sweep_seconds: pause between two sweeps.
        lease_seconds: a claim whose lease did not move for this long may be taken over.
        shard_columns: columns that one task combines.
        cache_bytes: local files of validated updates and versions, shared by a worker's processes.
        cache_folder: where to keep them; by default in memory, if there is plenty.
    """

    sweep_seconds: float = 1.0
    lease_seconds: float = 5.0
    shard_columns: int = 4 * 1024 * 1024
    cache_bytes: int = 512 * 1024 * 1024
    cache_folder: str | None = None

    def __post_init__(self) -> None:
        """Refuse shards that could not be assembled.

        Raises:
            SettingsInvalid: ``shard_columns`` is too small.
        """
        if self.shard_columns < MIN_SHARD_COLUMNS:
            raise SettingsInvalid(
                [f"SHARD_COLUMNS={self.shard_columns} is less than {MIN_SHARD_COLUMNS}"]
            )
