"""What the batch side reads from its environment, the same for intake and workers."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from rondo_core.celery_worker import CelerySettings
from rondo_core.settings import Positive

__all__ = ["BatchSettings"]

ChunkBytes: TypeAlias = Annotated[int, range(1024, 2**63)]


@dataclass(frozen=True, kw_only=True)
class BatchSettings(CelerySettings):
    """Settings of both processes, so that they agree on queue, times and chunks.

    Attributes:
        task_seconds: hard limit of a task; the broker redelivers after twice this time. The longest
            tasks read an input of gigabytes once to find its lines, or join as large an output.
        sweep_seconds: pause between two sweeps.
        lease_seconds: a job that nobody moved for this long is asked for again.
        chunk_bytes: bytes of the input that one task scores; its memory is a small multiple.
        record_bytes: a longer record ends the job.
        lanes: tasks of one job that wait for workers at a time, so that jobs take turns.
        engine_rows: rows of one run of the engine.
        intra_op_threads: that one run uses.
        engines: names, parted by commas, of what may compute: onnxruntime, litert, tensorflow, the
            preferred one first; none: ONNX Runtime, and LiteRT where it is installed.
        picture_size: what happens to a picture file of another size: refuse or resize.
    """

    task_seconds: Positive = 600
    sweep_seconds: float = 1.0
    lease_seconds: float = 5.0
    chunk_bytes: ChunkBytes = 1024 * 1024
    record_bytes: Positive = 4 * 1024 * 1024
    lanes: Positive = 16
    engine_rows: Positive = 256
    intra_op_threads: Positive = 1
    engines: str = ""
    picture_size: Literal["refuse", "resize"] = "refuse"
