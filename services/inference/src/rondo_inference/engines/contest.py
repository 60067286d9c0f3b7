"""Several engines of one version: each is timed, and the fastest computes."""

import math
import statistics
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from traceback import clear_frames

from rondo_core.errors import Invalid, NotFound
from rondo_core.exports import ExportInvalid
from rondo_inference.domain.engine_choice import buckets, merged, winner
from rondo_inference.domain.tensors import Signature, Tensors, rows_of
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.golden import Golden

__all__ = ["ByRows", "Contest"]

_ROUNDS = 9
_LEAST_ROUNDS = 3


class ByRows:
    """An ``Engine`` that hands each batch to the one that was fastest with so many rows.

    Args:
        parts: (rows, engine): computes batches of up to so many rows; ascending, not empty.
    """

    def __init__(self, parts: Sequence[tuple[int, Engine]]) -> None:
        self._bounds = [rows for rows, _ in parts[:-1]]
        self._engines = [engine for _, engine in parts]

    @property
    def signature(self) -> Signature:
        """See ``Engine``."""
        return self._engines[0].signature

    def run(self, inputs: Tensors) -> Tensors:
        """See ``Engine``."""
        return self._engines[bisect_left(self._bounds, rows_of(inputs))].run(inputs)


@dataclass
class Contest:
    """Of the engines of one version, which come one after the other.

    In memory are those that compute something so far, and the one that is tried: whoever computes
    nothing any more is let go before the next is opened. They take turns, so that whatever else
    the machine does slows all of them alike.

    Attributes:
        golden: what is computed; None: nothing can be compared, and the first engine stays.
        largest: rows of the largest batch.
        clock: seconds.
        limit_seconds: so long after an engine came nothing more is begun, and who computed before
            goes on with whatever was not measured.
        engines: name -> engine, of those that compute something.
        errors: engine -> why it computes nothing, of those that failed.
        seconds: rows -> engine -> median of its runs when it was measured last.
    """

    golden: Golden | None
    largest: int
    clock: Callable[[], float]
    limit_seconds: float = 1.0
    engines: dict[str, Engine] = field(default_factory=dict)
    errors: dict[str, Invalid | NotFound] = field(default_factory=dict)
    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    _entered: list[str] = field(default_factory=list)
    _winners: dict[int, str] = field(default_factory=dict)

    def enter(self, name: str, engine: Engine) -> None:
        """Try an engine beside those that compute something. Blocks.

        Args:
            name: of the engine; the preferred one comes first.
            engine: agrees with the golden outputs as they are.
        """
        if self.golden is None and self.engines:
            return
        self._entered.append(name)
        self.engines[name] = engine
        measured: dict[int, dict[str, float]] = {}
        if self.golden is not None and len(self._entered) > 1:
            measured = self._measured(self.golden)
        for rows, found in measured.items():
            self.seconds[rows] = self.seconds.get(rows, {}) | found
        if self.engines:
            sizes = buckets(self.largest)
            self._winners = {rows: self._winner(rows, measured.get(rows, {})) for rows in sizes}
        for beaten in self.engines.keys() - self._winners.values():
            del self.engines[beaten]

    def drop(self, name: str, error: Invalid | NotFound) -> None:
        """Note why an engine computes nothing. What it was is let go: the error would keep it."""
        self.errors[name] = error
        cause: BaseException | None = error
        while cause is not None:
            clear_frames(cause.__traceback__)
            cause = cause.__cause__

    def by_rows(self) -> tuple[tuple[int, str], ...]:
        """Return (rows, engine) ascending.

        Raises:
            Invalid, NotFound: every engine failed; the error is that of the first one.
        """
        if not self.engines:
            raise next(iter(self.errors.values()))
        return merged(self._winners.items())

    def _winner(self, rows: int, measured: Mapping[str, float]) -> str:
        found = {name: seconds for name, seconds in measured.items() if name in self.engines}
        if found:
            return winner(found, next(one for one in self._entered if one not in self.errors))
        before = self._winners.get(rows)
        return before if before in self.engines else next(iter(self.engines))

    def _measured(self, golden: Golden) -> dict[int, dict[str, float]]:
        found = {}
        end = self.clock() + self.limit_seconds
        for rows in buckets(self.largest):
            self._warm(golden, rows, end)
            runs = self._runs(golden.batch(rows), end)
            if len(runs) >= _LEAST_ROUNDS:
                found[rows] = {
                    name: statistics.median(run[name] for run in runs) for name in self.engines
                }
        return found

    def _warm(self, golden: Golden, rows: int, end: float) -> None:
        """Run each once: a runtime plans its memory by shape, and may fail with a larger one."""
        for name, engine in list(self.engines.items()):
            if self.clock() >= end:
                return
            try:
                golden.check(engine, rows, file=f"{name} with {rows} rows")
            except ExportInvalid as exc:
                self.drop(name, exc)
                del self.engines[name]

    def _runs(self, batch: Tensors, end: float) -> list[Mapping[str, float]]:
        runs: list[Mapping[str, float]] = []
        while len(self.engines) > 1 and len(runs) < _ROUNDS and self.clock() < end:
            runs.append({name: self._timed(one, batch) for name, one in self.engines.items()})
        return runs

    def _timed(self, engine: Engine, batch: Tensors) -> float:
        start = self.clock()
        try:
            engine.run(batch)
        except ExportInvalid:
            return math.inf
        return self.clock() - start
