"""Several engines of one version: each is timed, and the fastest computes."""

import math
import statistics
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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
    """Of the engines of one version, which all agree with its golden outputs.

    Engines take turns, so that whatever else the machine does slows all of them alike.

    Attributes:
        engines: name -> engine, the preferred one first; who fails in the contest is taken out.
        golden: what is computed.
        largest: rows of the largest batch.
        clock: seconds.
        limit_seconds: after this time nothing more is begun, and the preferred engine computes
            whatever was not measured.
        failures: engine -> why it was taken out.
        seconds: rows -> engine -> median of its runs.
    """

    engines: dict[str, Engine]
    golden: Golden
    largest: int
    clock: Callable[[], float]
    limit_seconds: float = 1.0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[int, dict[str, float]] = field(default_factory=dict)

    def by_rows(self) -> tuple[tuple[int, str], ...]:
        """Measure; return (rows, engine) ascending. Blocks.

        Raises:
            ExportInvalid: every engine failed.
        """
        sizes = buckets(self.largest)
        end = self.clock() + self.limit_seconds
        for rows in sizes:
            self._warm(rows, end)
            runs = self._runs(rows, end)
            if len(runs) >= _LEAST_ROUNDS:
                self.seconds[rows] = {
                    name: statistics.median(run[name] for run in runs) for name in self.engines
                }
        return merged((rows, self._winner(rows)) for rows in sizes)

    def _winner(self, rows: int) -> str:
        found = {n: s for n, s in self.seconds.get(rows, {}).items() if n in self.engines}
        return winner(found or dict.fromkeys(self.engines, 0.0))

    def _warm(self, rows: int, end: float) -> None:
        """Run each once: a runtime plans its memory by shape, and may fail with a larger one."""
        for name, engine in list(self.engines.items()):
            if self.clock() >= end:
                return
            try:
                self.golden.check(engine, rows, file=f"{name} with {rows} rows")
            except ExportInvalid as exc:
                self.failures[name] = str(exc)
                del self.engines[name]
                if not self.engines:
                    raise

    def _runs(self, rows: int, end: float) -> list[Mapping[str, float]]:
        batch = self.golden.batch(rows)
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
