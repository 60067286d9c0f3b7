"""What happened to the requests of one version: plain numbers, read by metrics and statistics.

Written by the event loop alone, so nothing is locked; a reader in another thread may see a number
that is one request old.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

__all__ = ["Duration", "Histogram", "Stats", "StatsBook"]

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Histogram:
    """Counts by bucket, as Prometheus wants them.

    Example:
        >>> histogram = Histogram((1.0, 2.0))
        >>> histogram.add(1.5)
        >>> histogram.cumulative()
        [('1.0', 0.0), ('2.0', 1.0), ('+Inf', 1.0)]
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Return upper bound -> values up to it."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


@dataclass(slots=True)
class Duration:
    """How often something took how long."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float, *, count: int = 1) -> None:
        """Count once more, or as often as told."""
        self.count += count
        self.ns += int(seconds * 1e9)


@dataclass(slots=True)
class Stats:
    """Of one version of one model, since the process started.

    What is "by request" counts each once, however it was cut, with the time that it saw: whoever
    shared a run saw all of it. So Triton counts (infer_stats.cc), and so its clients divide.

    Attributes:
        request: from the parsed request to its outputs.
        queue: until an engine began with it.
        infer: one run of the engine.
        batch_rows: rows of one run.
        success: requests that were answered.
        fail: requests that were not.
        queued: time in the queue, by request.
        compute_input: merging requests into one batch, by request.
        compute_infer: the engine, by request.
        compute_output: cutting the outputs apart, by request.
        batches: rows of a run -> (input, infer, output).
        rows: rows answered.
        last_ms: wall-clock time of the last run, milliseconds since 1970.
        reasons: why requests failed.
        shadowed: copies of requests to other versions that this one computed.
        beyond: numbers beyond the bounds of their columns that were answered all the same.
    """

    request: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    queue: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    infer: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queued: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, tuple[Duration, Duration, Duration]] = field(default_factory=dict)
    rows: int = 0
    last_ms: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    shadowed: int = 0
    beyond: int = 0

    def waited(self, seconds: float, *, first: bool = True) -> None:
        """Note how long a request, or a part of one that may not be the first, was in the queue."""
        self.queue.add(seconds)
        self.queued.add(seconds, count=int(first))

    def ran(
        self, rows: int, steps: tuple[float, float, float], now_ms: int, first: Sequence[bool]
    ) -> None:
        """Note one run of the engine.

        Args:
            rows: of the batch.
            steps: seconds of merging, computing and cutting apart.
            now_ms: the wall-clock time.
            first: of each request or part in the batch, whether it is the first of its request.
        """
        self.batch_rows.add(rows)
        self.infer.add(steps[1])
        self.rows += rows
        self.last_ms = now_ms
        totals = (self.compute_input, self.compute_infer, self.compute_output)
        of_size = self.batches.get(rows)
        if of_size is None:
            of_size = self.batches[rows] = (Duration(), Duration(), Duration())
        for total, part, seconds in zip(totals, of_size, steps, strict=True):
            total.add(seconds * len(first), count=sum(first))
            part.add(seconds)

    def run_seconds(self, step: int) -> float:
        """Return how long all runs took: merging (0), computing (1) or cutting apart (2)."""
        return sum(parts[step].ns for parts in self.batches.values()) / 1e9

    def answered(self, seconds: float) -> None:
        """Note a request that has its outputs."""
        self.request.add(seconds)
        self.success.add(seconds)

    def failed(self, seconds: float, reason: str) -> None:
        """Note a request that ended with an error."""
        self.fail.add(seconds)
        self.reasons[reason] += 1


@dataclass(frozen=True, slots=True)
class StatsBook:
    """The numbers of every version that was ever loaded: they outlive an eviction.

    Attributes:
        pages: (model, version) -> numbers.
        events: what happened to models as such: (event, model) -> how often.
        dropped: (engine, model) -> how often a version was loaded without the engine.
        answers: (route, status) -> seconds of the answers over HTTP.
    """

    pages: dict[tuple[str, int], Stats] = field(default_factory=dict)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: dict[tuple[str, int], Histogram] = field(default_factory=dict)

    def of(self, model: str, version: int) -> Stats:
        """Return the numbers of a version, from zero if it is new."""
        return self.pages.setdefault((model, version), Stats())

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer over HTTP."""
        histogram = self.answers.get((route, status))
        if histogram is None:
            histogram = self.answers[route, status] = Histogram(SECONDS)
        histogram.add(seconds)

    def note(self, event: str, model: str) -> None:
        """Count a hit, a miss, an eviction, a swap."""
        self.events[event, model] += 1
