"""What happened to the requests of one version: plain numbers, read by metrics and statistics.

Written by the event loop alone, so nothing is locked; a reader in another thread may see a number
that is one request old.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add

__all__ = ["Duration", "Histogram", "Stats", "StatsBook", "Steps"]

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)


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

    def add(self, value: float, *, times: int = 1) -> None:
        """Count one value, or as often as told."""
        self._counts[bisect_left(self._bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def merge(self, other: "Histogram") -> None:
        """Count what another one with the same bounds has counted, too."""
        self._counts = list(map(add, self._counts, other.counts))
        self.total += other.total

    @property
    def counts(self) -> tuple[int, ...]:
        """Values in each bucket; those beyond the last bound come last."""
        return tuple(self._counts)

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
class Steps:
    """Seconds of merging, computing and cutting apart, and how often that was done."""

    count: int = 0
    merging: float = 0.0
    computing: float = 0.0
    cutting: float = 0.0

    def add(self, seconds: tuple[float, float, float], *, count: int = 1, times: int = 1) -> None:
        """Add seconds of each, ``times`` over, and count them as often as told."""
        self.count += count
        self.merging += seconds[0] * times
        self.computing += seconds[1] * times
        self.cutting += seconds[2] * times

    @property
    def seconds(self) -> tuple[float, float, float]:
        """Of each of the three."""
        return self.merging, self.computing, self.cutting

    @property
    def durations(self) -> tuple[Duration, Duration, Duration]:
        """Each of the three, as Triton tells of them: input, inference, output."""
        merging, computing, cutting = (
            Duration(self.count, round(seconds * 1e9)) for seconds in self.seconds
        )
        return merging, computing, cutting


@dataclass(slots=True)
class Stats:
    """Of one version of one model, since the process started; `tally` makes them what people read.

    A request that is computed alone and at once is by far the most frequent where somebody waits
    for each answer, so it is noted in few places.

    Attributes:
        alone: requests that were computed alone, without waiting: from the question to its outputs.
        among_others: all others, from the question to the outputs.
        waited: of these, or of parts of them, seconds in the queue.
        queued: of these, the time in the queue, by request.
        runs: of these, seconds of one run of the engine.
        shared: of these, the steps of their runs, by request.
        fail: requests that were not answered.
        batches: rows of a run -> steps of all runs of so many.
        last_ms: wall-clock time of the last run, milliseconds since 1970.
        reasons: why requests failed.
        shadowed: copies of requests to other versions that this one computed.
        beyond: numbers beyond the bounds of their columns that were answered all the same.
    """

    alone: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    among_others: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    waited: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    queued: Duration = field(default_factory=Duration)
    runs: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    shared: Steps = field(default_factory=Steps)
    fail: Duration = field(default_factory=Duration)
    batches: dict[int, Steps] = field(default_factory=dict)
    last_ms: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    shadowed: int = 0
    beyond: int = 0

    def ran_alone(self, rows: int, seconds: float, now_ms: int) -> None:
        """Note a request that was computed alone, without waiting.

        Args:
            rows: of the request.
            seconds: that the engine took.
            now_ms: the wall-clock time.
        """
        self.alone.add(seconds)
        steps = self._of_size(rows)
        steps.count += 1
        steps.computing += seconds
        self.last_ms = now_ms

    def began(self, seconds: float, *, first: bool = True) -> None:
        """Note how long a request, or a part of one that may not be the first, was in the queue."""
        self.waited.add(seconds)
        self.queued.add(seconds, count=int(first))

    def ran(
        self, rows: int, steps: tuple[float, float, float], now_ms: int, *, parts: int, first: int
    ) -> None:
        """Note one run of the engine for what was in the queue.

        Args:
            rows: of the batch.
            steps: seconds of merging, computing and cutting apart.
            now_ms: the wall-clock time.
            parts: how many requests, or parts of large ones, are in the batch.
            first: of how many of them no other part of their request came before.
        """
        self.runs.add(steps[1])
        self.last_ms = now_ms
        self._of_size(rows).add(steps)
        self.shared.add(steps, count=first, times=parts)

    def answered(self, seconds: float) -> None:
        """Note a request that waited and has its outputs."""
        self.among_others.add(seconds)

    def failed(self, seconds: float, reason: str) -> None:
        """Note a request that ended with an error."""
        self.fail.add(seconds)
        self.reasons[reason] += 1

    def _of_size(self, rows: int) -> Steps:
        found = self.batches.get(rows)
        if found is None:
            found = self.batches[rows] = Steps()
        return found


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
