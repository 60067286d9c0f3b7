"""The numbers of all versions as Prometheus reads them, made when it asks."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rondo_inference.registry.memory import Memory
from rondo_inference.stats import Histogram, Stats, StatsBook
from rondo_inference.tally import Tally, tally

__all__ = ["StatsCollector"]

_LABELS = ("model", "version")
_HISTOGRAMS: tuple[tuple[str, str, Callable[[Tally], Histogram]], ...] = (
    ("rondo_inference_request_seconds", "from question to outputs", lambda t: t.request),
    ("rondo_inference_queue_seconds", "until an engine began with a request", lambda t: t.queue),
    ("rondo_inference_compute_seconds", "one run of the engine", lambda t: t.infer),
    ("rondo_inference_batch_rows", "rows of one run", lambda t: t.batch_rows),
)  # fmt: skip
_COUNTERS: tuple[tuple[str, str, Callable[[Tally, Stats], float]], ...] = (
    ("rondo_inference_rows", "rows answered", lambda t, _: t.rows),
    ("rondo_inference_merge_seconds", "merging requests", lambda t, _: t.run_steps.merging),
    ("rondo_inference_cut_seconds", "cutting outputs", lambda t, _: t.run_steps.cutting),
    ("rondo_inference_out_of_range", "numbers beyond bounds, answered", lambda _, s: s.beyond),
    ("rondo_inference_shadowed", "copies of others' requests", lambda _, s: s.shadowed),
)  # fmt: skip


class StatsCollector(Collector):
    """Reads a book.

    Args:
        book: what happened.
        memory: what is loaded.
    """

    def __init__(self, book: StatsBook, memory: Memory) -> None:
        self._book = book
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        noted = list(self._book.pages.items())
        pages = [([model, str(version)], tally(stats), stats) for (model, version), stats in noted]
        for name, text, histogram_of in _HISTOGRAMS:
            family = HistogramMetricFamily(name, text, labels=_LABELS)
            for labels, told, _ in pages:
                histogram = histogram_of(told)
                family.add_metric(labels, histogram.cumulative(), histogram.total)
            yield family
        for name, text, value_of in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            for labels, told, stats in pages:
                counter.add_metric(labels, value_of(told, stats))
            yield counter
        failures = CounterMetricFamily(
            "rondo_inference_failures", "requests that failed", labels=(*_LABELS, "reason")
        )
        for labels, _, stats in pages:
            for reason, count in stats.reasons.items():
                failures.add_metric([*labels, reason], count)
        yield failures
        yield from self._of_http()
        yield from self._of_models()

    def _of_http(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "rondo_inference_http_seconds",
            "answers over HTTP, by route and status",
            labels=("route", "status"),
        )
        for (route, status), histogram in list(self._book.answers.items()):
            family.add_metric([route, str(status)], histogram.cumulative(), histogram.total)
        yield family

    def _of_models(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "rondo_inference_models", "loads, misses, evictions", labels=("event", "model")
        )
        for (event, model), count in list(self._book.events.items()):
            events.add_metric([event, model], count)
        yield events
        yield from self._of_engines()
        yield GaugeMetricFamily(
            "rondo_inference_memory_bytes", "of all loaded versions", self._memory.used_bytes
        )

    def _of_engines(self) -> Iterator[Metric]:
        chosen = GaugeMetricFamily(
            "rondo_inference_engine_rows",
            "up to how many rows a batch is that the engine computes",
            labels=(*_LABELS, "engine"),
        )
        for served in self._memory.loaded:
            for rows, engine in served.choice.by_rows:
                chosen.add_metric([served.name, str(served.version), engine], rows)
        yield chosen
        dropped = CounterMetricFamily(
            "rondo_inference_engines_dropped",
            "engines that failed or disagreed while a version was loaded",
            labels=("engine", "model"),
        )
        for (engine, model), count in list(self._book.dropped.items()):
            dropped.add_metric([engine, model], count)
        yield dropped
