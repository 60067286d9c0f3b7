"""Files that are whole or absent, whatever kills the program."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rondo_core.errors import Conflict, Invalid

__all__ = ["check_private", "locked", "write_whole"]

PRIVATE = 0o600
_OTHERS = 0o077


def write_whole(path: Path, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Create or replace a file that only its owner can read, atomically.

    A program that is killed leaves the old file or the new one; with ``durable`` so does a machine
    that loses its power.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)


def check_private(path: Path) -> None:
    """Refuse a secret that others can read.

    Raises:
        Invalid: names the file, its mode and the remedy.
    """
    mode = path.stat().st_mode
    if os.name == "posix" and mode & _OTHERS:
        raise Invalid(f"{path} can be read by others (mode {mode & 0o777:04o}): chmod 600 {path}")


@contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Let one program at a time do ``purpose``; the lock ends with the program, also when killed.

    Raises:
        Conflict: another program holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        _lock(file.fileno(), f"another program is {purpose} (lock {path})")
        yield


def _lock(descriptor: int, complaint: str) -> None:
    try:
        import fcntl  # noqa: PLC0415  (not on Windows, where two programs are not kept apart)
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(complaint) from None
