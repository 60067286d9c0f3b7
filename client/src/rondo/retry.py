"""The one owner of retries on the client's side: again after a growing, jittered pause."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from rondo.errors import GatewayError
from rondo_core.clock import Clock, SystemClock
from rondo_core.errors import Unavailable

__all__ = ["Patience", "persevere"]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, and how often, to try again.

    Attributes:
        seconds: after this long the last error is raised.
        first_seconds: the first pause is up to this long, each further one up to twice the last.
        longest_seconds: no pause is longer, unless the gateway asks for it.
    """

    seconds: float = 15.0
    first_seconds: float = 0.2
    longest_seconds: float = 10.0
    clock: Clock = field(default_factory=SystemClock)
    rng: np.random.Generator = field(default_factory=np.random.default_rng)


def persevere(call: Callable[[], Answer], patience: Patience) -> Answer:
    """Call until something else than `Unavailable` comes of it, or patience ends.

    The pauses have full jitter: many clients that lost one gateway do not come back together.

    Raises:
        Unavailable: the last one, when the next pause would end after ``patience.seconds``.

    Source: Brooker, 2015, "Exponential Backoff and Jitter" (AWS Architecture Blog).
    """
    end = patience.clock.monotonic() + patience.seconds
    ceiling = patience.first_seconds
    while True:
        try:
            return call()
        except Unavailable as exc:
            pause = max(patience.rng.uniform(0, ceiling), _asked_for(exc))
            if patience.clock.monotonic() + pause > end:
                raise
        patience.clock.sleep(pause)
        ceiling = min(2 * ceiling, patience.longest_seconds)


def _asked_for(exc: Unavailable) -> float:
    return exc.retry_after_seconds if isinstance(exc, GatewayError) else 0.0
