"""What the batch side needs beside core's ports, and what its handlers are given together."""

from dataclasses import dataclass
from typing import Protocol

from rondo_core.bus import Publish
from rondo_core.clock import Clock
from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import ModelSpec
from rondo_core.model_store import ModelStore
from rondo_core.object_folders import ObjectFolders
from rondo_core.run_store import RunStore
from rondo_inference.domain.batch_records import DecodePictures
from rondo_inference.engines.engine import Engine

__all__ = ["ChunkLimits", "Hints", "Models", "Ports"]


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How inputs are cut; see ``BatchSettings``."""

    chunk_bytes: int
    record_bytes: int
    lanes: int
    engine_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a job's rows, objects and events are.

    Attributes:
        rows: the table.
        objects: the bucket.
        folders: the same bucket.
        publish: the topic.
        clock: the time.
        bucket: its name, for locations.
        region: AWS's, for events.
    """

    rows: RunStore
    objects: ModelStore
    folders: ObjectFolders
    publish: Publish
    clock: Clock
    bucket: str
    region: str


class Hints(Protocol):
    """Asks a worker to do something soon. A hint: it may be lost or done twice.

    All methods block until the broker has it and raise ``Unavailable`` when it does not answer.
    """

    def plan(self, job_id: str) -> None:
        """Cut a job's input into chunks."""
        ...

    def score(self, job_id: str, index: int) -> None:
        """Score a chunk, and what follows it in its lane."""
        ...

    def join(self, job_id: str) -> None:
        """Make the output of the finished chunks."""
        ...


class Models(Protocol):
    """Versions that are loaded and proved. Blocks while one is loaded.

    Raises as ``read_version`` and ``proved_version`` do.
    """

    def spec(self, alias: AliasRow) -> ModelSpec:
        """Return what a version takes and gives, without loading it."""
        ...

    def engine(self, alias: AliasRow) -> Engine:
        """Return what computes it."""
        ...

    @property
    def pictures(self) -> DecodePictures:
        """Reads picture files."""
        ...
