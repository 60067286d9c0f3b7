"""The numbers of one version as people and programs read them, put together from what was noted.

What is "by request" counts each once, however it was cut, with the time that it saw: whoever shared
a run saw all of it. So Triton counts (infer_stats.cc), and so its clients divide.
"""

from dataclasses import dataclass

from rondo_inference.stats import SECONDS, Duration, Histogram, Stats, Steps

__all__ = ["Tally", "tally"]

ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


@dataclass(frozen=True, slots=True)
class Tally:
    """At one moment.

    Attributes:
        request: seconds from a question to its outputs.
        queue: seconds until an engine began with a request, or with a part of one.
        infer: seconds of one run of the engine.
        batch_rows: rows of one run.
        rows: rows answered.
        success: requests that were answered.
        queued: time in the queue, by request.
        steps: of the runs, by request.
        run_steps: of all runs, each counted once.
        batches: rows of a run, ascending, and the steps of all runs of so many.
    """

    request: Histogram
    queue: Histogram
    infer: Histogram
    batch_rows: Histogram
    rows: int
    success: Duration
    queued: Duration
    steps: Steps
    run_steps: Steps
    batches: tuple[tuple[int, Steps], ...]


def tally(stats: Stats) -> Tally:
    """Return what was noted until now; may be called in any thread."""
    batches = tuple(sorted(stats.batches.items()))
    batch_rows, run_steps = Histogram(ROWS), Steps()
    for rows, steps in batches:
        batch_rows.add(rows, times=steps.count)
        run_steps.add(steps.seconds, count=steps.count)
    alone = stats.alone.count
    at_once = Histogram(SECONDS)
    at_once.add(0.0, times=alone)
    request = _both(stats.alone, stats.among_others)
    by_request = Steps(alone, computing=stats.alone.total)
    by_request.add(stats.shared.seconds, count=stats.shared.count)
    return Tally(
        request=request,
        queue=_both(at_once, stats.waited),
        infer=_both(stats.alone, stats.runs),
        batch_rows=batch_rows,
        rows=sum(rows * steps.count for rows, steps in batches),
        success=Duration(request.count, round(request.total * 1e9)),
        queued=Duration(alone + stats.queued.count, stats.queued.ns),
        steps=by_request,
        run_steps=run_steps,
        batches=batches,
    )


def _both(one: Histogram, other: Histogram) -> Histogram:
    found = Histogram(SECONDS)
    found.merge(one)
    found.merge(other)
    return found
