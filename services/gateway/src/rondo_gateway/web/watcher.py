"""The one watcher of a process: it looks at the table while anybody waits, and wakes them.

However many clients wait, a look costs the same. Nobody waiting means no look at all.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from starlette.concurrency import run_in_threadpool

from rondo_core.errors import Unavailable
from rondo_core.telemetry import Metrics
from rondo_gateway.domain.snapshot import EMPTY, Interests, Snapshot, Waiter

__all__ = ["Observe", "Pause", "Watcher", "pause_after"]

log = logging.getLogger(__name__)

Observe = Callable[[Interests, Snapshot], Snapshot]
Answer = TypeVar("Answer")

QUIET_SECONDS = 0.5
"""Between looks while nothing is active, and after one that failed."""
STAYS_BUSY_SECONDS = 10.0
"""A run is between two rounds for a moment; only after this long is it quiet."""
FRESH_SECONDS = 0.25
"""A newcomer may be answered from a look that began this long before it came."""
GRACE_SECONDS = 5.0
"""How long a newcomer waits for its first look, even if it does not want to wait."""
SHARE = 4.0
"""A pause is at least so many times as long as the look before it: a fifth of a core at most."""


class Pause(NamedTuple):
    """How long to wait between two looks; ``longest`` unless somebody new comes."""

    shortest: float
    longest: float


class Watcher:
    """Lets requests wait for what they want to see. All but the looks runs in the event loop.

    Args:
        observe: looks at the table; blocks, so it is called in a thread.
        tick_seconds: shortest pause between two looks.
        metrics: counts who waits, and looks that failed.
    """

    def __init__(self, observe: Observe, *, tick_seconds: float, metrics: Metrics) -> None:
        self._observe = observe
        self._tick_seconds = tick_seconds
        self._metrics = metrics
        self.waiting: Counter[Waiter] = Counter()
        self._snapshot = EMPTY
        self._looked_at = float("-inf")
        self._active_at = float("-inf")
        self._looked = asyncio.Event()
        self._changed = asyncio.Event()
        self._needed = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """Let all waiters be answered at once, now and from now on, and end ``run``."""
        self.closed = True
        self._fire(self._snapshot)
        self._needed.set()

    async def wait_for(
        self, waiter: Waiter, answer: Callable[[Snapshot], Answer | None], *, seconds: float
    ) -> Answer | None:
        """Return what ``answer`` makes of a snapshot, as soon as that is not None.

        Args:
            waiter: what the snapshot must show.
            answer: pure and quick; it is called again at every change.
            seconds: after this long, None. At least one look is made.

        Raises:
            Unavailable: no look succeeded.
        """
        self._enter(waiter)
        try:
            return await self._wait(answer, seconds=seconds)
        finally:
            self._leave(waiter)

    async def run(self) -> None:
        """Look at the table while anybody waits, until ``close``."""
        while not self.closed:
            self._needed.clear()
            if self.waiting:
                await self._pause(await self._look())
            else:
                await self._needed.wait()

    async def _wait(
        self, answer: Callable[[Snapshot], Answer | None], *, seconds: float
    ) -> Answer | None:
        loop = asyncio.get_running_loop()
        came = loop.time()
        while not self.closed:
            looked, changed = self._looked, self._changed
            if self._looked_at >= came - FRESH_SECONDS:
                found = answer(self._snapshot)
                if found is not None:
                    return found
            if self._looked_at >= came:
                if not await _until(changed, came + seconds):
                    return None
            elif not await _until(looked, came + max(seconds, GRACE_SECONDS)):
                raise Unavailable("the table did not answer")
        return None

    async def _look(self) -> Pause:
        """Look once; return how long to pause."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            snapshot = await run_in_threadpool(self._observe, self._interests(), self._snapshot)
        except Exception:  # the outermost loop: waiters hear that the table does not answer
            log.exception("look failed")
            self._metrics.count("rondo_loop_failures_total", kind="watcher", outcome="error")
            return Pause(QUIET_SECONDS, QUIET_SECONDS)
        self._looked_at = began
        self._fire(snapshot)
        now = loop.time()
        if snapshot.active_runs or self._interests().verdicts:
            self._active_at = now
        quiet = now - self._active_at > STAYS_BUSY_SECONDS
        return pause_after(now - began, tick_seconds=self._tick_seconds, quiet=quiet)

    async def _pause(self, pause: Pause) -> None:
        """Wait; a newcomer ends a long pause, but not the shortest one."""
        ends_at = asyncio.get_running_loop().time() + pause.longest
        await asyncio.sleep(pause.shortest)
        if pause.longest > pause.shortest:
            await _until(self._needed, ends_at)

    def _fire(self, snapshot: Snapshot) -> None:
        """Wake the newcomers, and everybody if there is anything new."""
        before, self._snapshot = self._snapshot, snapshot
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()
        if self.closed or snapshot != before:
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
        self._metrics.gauge("rondo_active_rounds", len(snapshot.attempts))

    def _interests(self) -> Interests:
        waiters = list(self.waiting)
        return Interests(
            work=any(waiter.verdict is None for waiter in waiters),
            runs=frozenset(waiter.run for waiter in waiters if waiter.run is not None),
            verdicts=frozenset(waiter.verdict for waiter in waiters if waiter.verdict is not None),
        )

    def _enter(self, waiter: Waiter) -> None:
        self.waiting[waiter] += 1
        self._needed.set()
        self._metrics.gauge("rondo_waiting_clients", self.waiting.total())

    def _leave(self, waiter: Waiter) -> None:
        self.waiting[waiter] -= 1
        if not self.waiting[waiter]:
            del self.waiting[waiter]
        self._metrics.gauge("rondo_waiting_clients", self.waiting.total())


def pause_after(cost: float, *, tick_seconds: float, quiet: bool) -> Pause:
    """Say how long to wait after a look that took ``cost`` seconds."""
    shortest = max(tick_seconds, SHARE * cost)
    return Pause(shortest, max(shortest, QUIET_SECONDS) if quiet else shortest)


async def _until(event: asyncio.Event, deadline: float) -> bool:
    """Wait for an event until a time of the loop's clock; tell whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await event.wait()
    return event.is_set()
