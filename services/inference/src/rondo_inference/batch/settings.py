"""What the batch side reads from its environment, the same for intake and workers."""

from dataclasses import dataclass

from rondo_core.celery_worker import CelerySettings
from rondo_core.errors import SettingsInvalid

__all__ = ["BatchSettings"]

LEAST_CHUNK_BYTES = 1024


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

    task_seconds: int = 600
    sweep_seconds: float = 1.0
    lease_seconds: float = 5.0
    chunk_bytes: int = 1024 * 1024
    record_bytes: int = 4 * 1024 * 1024
    lanes: int = 16
    engine_rows: int = 256
    intra_op_threads: int = 1
    engines: str = ""
    picture_size: str = "refuse"

    def __post_init__(self) -> None:
        """Refuse what no job could run with.

        Raises:
            SettingsInvalid: a setting has a value that it cannot have.
        """
        faults = []
        if self.chunk_bytes < LEAST_CHUNK_BYTES:
            faults.append(f"CHUNK_BYTES={self.chunk_bytes} is less than {LEAST_CHUNK_BYTES}")
        faults += [
            f"{name.upper()}={getattr(self, name)} is less than 1"
            for name in ("record_bytes", "lanes", "engine_rows", "intra_op_threads")
            if getattr(self, name) < 1
        ]
        if self.picture_size not in {"refuse", "resize"}:
            faults.append(f"PICTURE_SIZE={self.picture_size!r} is neither refuse nor resize")
        if faults:
            raise SettingsInvalid(faults)
