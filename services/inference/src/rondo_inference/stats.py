"""What happened to the requests of one version: plain numbers, read by metrics and statistics.

Written by the event loop alone, so nothing is locked; a reader in another thread may see a number
that is one request old.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

__all__ = ["Duration", "Histogram", "Stats", "StatsBook", "Steps"]

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

    def add(self, value: float, *, times: int = 1) -> None:
        """Count one value, or as often as told."""
        self._counts[bisect_left(self._bounds, value)] += times
        self.total += value * times

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
class Steps:
    """Seconds of merging, computing and cutting apart, and how often that was done."""

    count: int = 0
    merging: float = 0.0
    computing: float = 0.0
    cutting: float = 0.0

    @property
    def durations(self) -> tuple[Duration, Duration, Duration]:
        """Each of the three, as Triton tells of them: input, inference, output."""
        merging, computing, cutting = (
            Duration(self.count, round(seconds * 1e9))
            for seconds in (self.merging, self.computing, self.cutting)
        )
        return merging, computing, cutting


@dataclass(slots=True)
class Stats:
    """Of one version of one model, since the process started.

    What is "by request" counts each once, however it was cut, with the time that it saw: whoever
    shared a run saw all of it. So Triton counts (infer_stats.cc), and so its clients divide.

    Attributes:
        request: from the parsed request to its outputs.
        queue: until an engine began with it.
        infer: one run of the engine.
        fail: requests that were not answered.
        queued: time in the queue, by request.
        steps: of the runs, by request.
        batches: rows of a run -> steps of the runs of so many.
        rows: rows answered.
        last_ms: wall-clock time of the last run, milliseconds since 1970.
        reasons: why requests failed.
        shadowed: copies of requests to other versions that this one computed.
        beyond: numbers beyond the bounds of their columns that were answered all the same.
    """

    request: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    queue: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    infer: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    fail: Duration = field(default_factory=Duration)
    queued: Duration = field(default_factory=Duration)
    steps: Steps = field(default_factory=Steps)
    batches: dict[int, Steps] = field(default_factory=dict)
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
        self, rows: int, steps: tuple[float, float, float], now_ms: int, *, parts: int, first: int
    ) -> None:
        """Note one run of the engine.

        Args:
            rows: of the batch.
            steps: seconds of merging, computing and cutting apart.
            now_ms: the wall-clock time.
            parts: how many requests, or parts of large ones, are in the batch.
            first: of how many of them no other part of their request came before.
        """
        merging, computing, cutting = steps
        self.infer.add(computing)
        self.rows += rows
        self.last_ms = now_ms
        total, of_size = self.steps, self.batches.get(rows)
        if of_size is None:
            of_size = self.batches[rows] = Steps()
        total.count += first
        total.merging += merging * parts
        total.computing += computing * parts
        total.cutting += cutting * parts
        of_size.count += 1
        of_size.merging += merging
        of_size.computing += computing
        of_size.cutting += cutting

    def ran_at_once(self, rows: int, seconds: float, now_ms: int) -> None:
        """Note a request that was computed alone and without waiting, from its first moment on."""
        self.queue.add(0.0)
        self.queued.count += 1
        self.ran(rows, (0.0, seconds, 0.0), now_ms, parts=1, first=1)
        self.request.add(seconds)

    def answered(self, seconds: float) -> None:
        """Note a request that has its outputs."""
        self.request.add(seconds)

    def failed(self, seconds: float, reason: str) -> None:
        """Note a request that ended with an error."""
        self.fail.add(seconds)
        self.reasons[reason] += 1

    @property
    def success(self) -> Duration:
        """Requests that were answered."""
        return Duration(self.request.count, round(self.request.total * 1e9))

    @property
    def batch_rows(self) -> Histogram:
        """Rows of one run."""
        found = Histogram(ROWS)
        for rows, steps in list(self.batches.items()):
            found.add(rows, times=steps.count)
        return found

    @property
    def run_steps(self) -> Steps:
        """Of all runs, each counted once."""
        found = Steps()
        for steps in list(self.batches.values()):
            found.count += steps.count
            found.merging += steps.merging
            found.computing += steps.computing
            found.cutting += steps.cutting
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
