"""What the handlers need beside core's ports."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rondo_aggregator.domain.attempt import Attempt
from rondo_aggregator.strategies.registry import Strategies
from rondo_core.model_store import ObjectInfo

__all__ = ["Jobs", "Objects", "Worker"]


@dataclass(frozen=True, slots=True)
class Worker:
    """Who works, and in which portions.

    Attributes:
        name: unique among all processes that ever claim a round.
        shard_columns: columns that one task combines.
        strategies: finds those that are installed here.
    """

    name: str
    shard_columns: int
    strategies: Strategies


class Jobs(Protocol):
    """Asks a worker to do something soon. A hint: it may be lost or done twice.

    All methods block until the broker has it and raise ``Unavailable`` when it does not answer.
    """

    def validate(self, attempt: Attempt, clients: Sequence[str]) -> None:
        """Judge these clients' updates."""
        ...

    def combine(self, attempt: Attempt, *, take_over: int | None = None) -> None:
        """Make the version of a sealed round, also from the owner of the epoch ``take_over``."""
        ...

    def sum_products(self, attempt: Attempt, *, manifest: str, width: int, index: int) -> None:
        """Sum the inner products over the shard of this index of the split."""
        ...

    def make_partial(self, attempt: Attempt, *, manifest: str, width: int, index: int) -> None:
        """Combine the shard of this index of the split into shards of ``width`` columns."""
        ...


class Objects(Protocol):
    """The store, with the bytes that this machine has seen already at hand.

    Views that come back are read-only and stay valid as long as they are referenced.
    Raises as ``ModelStore`` does.
    """

    def head(self, key: str) -> ObjectInfo | None:
        """Return what the store knows of an object, or None when there is none."""
        ...

    def whole(
        self, key: str, *, size: int, version: str | None = None, sha256: str | None = None
    ) -> memoryview:
        """Return an object of ``size`` bytes; memory is one block, the rest is a local file.

        Raises:
            Unavailable: also when what was fetched has not the digest ``sha256``, where given.
        """
        ...

    def part(self, key: str, start: int, stop: int, version: str | None = None) -> memoryview:
        """Return bytes ``[start, stop)`` of an object, or fewer at its end."""
        ...

    def passing(self, key: str, start: int, stop: int, version: str | None = None) -> memoryview:
        """Return a range as ``part`` does, but keep nothing: it is not going to be read again."""
        ...

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Create an object and keep its bytes at hand."""
        ...

    def assemble(self, key: str, head: bytes, parts: Sequence[str]) -> ObjectInfo:
        """Create an object from others inside the store."""
        ...
