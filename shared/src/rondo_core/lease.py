"""A thread that shows that this process works on a round, as long as it does."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rondo_core.errors import RondoError

__all__ = ["keep_moving"]

log = logging.getLogger(__name__)


@contextmanager
def keep_moving(move: Callable[[], None], *, every_seconds: float) -> Iterator[None]:
    """Call ``move`` every so often from another thread while the block runs.

    A block that is done sooner never calls it. A process that hangs as a whole stops moving; one
    whose block hangs alone is ended by its task's time limit.

    Args:
        move: safe to call from another thread; what it raises of Rondo's own is logged.
        every_seconds: the pause before each call.
    """
    done = threading.Event()

    def work() -> None:
        while not done.wait(every_seconds):
            try:
                move()
            except RondoError as exc:
                log.warning("lease not moved", extra={"error": str(exc)})

    thread = threading.Thread(target=work, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
