"""Follows the aliases: every replica reads the rows itself, so all of them learn of a promotion."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from rondo_core.clock import Clock
from rondo_core.errors import Invalid, RondoError, Unavailable
from rondo_core.keys import alias_key
from rondo_core.model_rows import AliasRow
from rondo_core.rows import from_item
from rondo_core.run_store import Key, RunStore
from rondo_core.telemetry import Metrics
from rondo_inference.domain.backoff import backoff_seconds
from rondo_inference.registry.catalogue import Catalogue, Failure, Slot
from rondo_inference.registry.served import ServedModel

__all__ = ["Watcher", "watch"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Retry:
    alias: AliasRow
    failures: int
    at: float


class Watcher:
    """Brings a catalogue up to date; used by one thread.

    Args:
        rows: where the alias rows are.
        catalogue: what is served.
        load: makes an alias a served model; see ``load_version``.
        clock: times the retries.
        metrics: counts swaps and failures.
    """

    def __init__(
        self,
        *,
        rows: RunStore,
        catalogue: Catalogue,
        load: Callable[[AliasRow], ServedModel],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._rows = rows
        self._catalogue = catalogue
        self._load = load
        self._clock = clock
        self._metrics = metrics
        self._retries: dict[Key, _Retry] = {}

    def scan(self) -> None:
        """Read every alias and load what changed.

        The index may lack a row or be stale, so it only says which rows there are; each is then
        read by key, strongly consistent, as are those that are known already.

        Raises:
            Unavailable: the rows could not be read; what is served stays.
        """
        known = {_key(slot) for slot in self._catalogue.slots()}
        listed = {Key(str(item["PK"]), str(item["SK"])) for item in self._rows.active("alias")}
        for key in sorted(known | listed):
            item = self._rows.get(key)
            if item is None:
                self._forget(key)
                continue
            try:
                alias = from_item(item, AliasRow)
            except Invalid as exc:  # a row that a later release wrote must not stop the others
                self._count("bad row", exc, key=list(key))
            else:
                self._follow(key, alias)
        self._catalogue.settle()

    def _forget(self, key: Key) -> None:
        slot = self._slot(key)
        if slot is not None:
            self._catalogue.drop(slot.wanted.model, slot.wanted.label)
        self._retries.pop(key, None)

    def _follow(self, key: Key, alias: AliasRow) -> None:
        slot, retry = self._slot(key), self._retries.get(key)
        if slot is not None and slot.is_current and slot.wanted == alias:
            return
        if retry is not None and retry.alias != alias:
            retry = None  # another version deserves its own first try
        if retry is not None and self._clock.monotonic() < retry.at:
            return
        waiting = Slot(alias, slot.served if slot else None)
        self._catalogue.store(waiting)
        start = self._clock.monotonic()
        try:
            served = self._load(alias)
        except RondoError as exc:
            self._failed(key, waiting, retry, exc)
        except Exception as exc:  # the outermost loop of a load: it must not stop the others
            log.exception("load broke")
            self._failed(key, waiting, retry, exc)
        else:
            self._retries.pop(key, None)
            self._catalogue.store(Slot(alias, served))
            self._note(alias, self._clock.monotonic() - start)

    def _failed(self, key: Key, waiting: Slot, retry: _Retry | None, exc: Exception) -> None:
        failures = retry.failures + 1 if retry else 1
        at = self._clock.monotonic() + backoff_seconds(failures)
        self._retries[key] = _Retry(waiting.wanted, failures, at)
        failure = Failure(str(exc), final=not isinstance(exc, Unavailable))
        self._catalogue.store(replace(waiting, failure=failure))
        self._count("load failed", exc, **_fields(waiting.wanted) | {"failures": failures})

    def _slot(self, key: Key) -> Slot | None:
        return next((slot for slot in self._catalogue.slots() if _key(slot) == key), None)

    def _note(self, alias: AliasRow, seconds: float) -> None:
        self._metrics.count("rondo_swaps_total", kind=alias.model)
        self._metrics.gauge("rondo_served_version", alias.model_version, kind=alias.model)
        log.info("version served", extra=_fields(alias) | {"seconds": round(seconds, 6)})

    def _count(self, message: str, exc: Exception, **fields: object) -> None:
        kind = str(fields.get("model", ""))
        self._metrics.count("rondo_load_failures_total", kind=kind, outcome="error")
        log.warning(message, extra=fields | {"outcome": "error", "error": str(exc)})


def _key(slot: Slot) -> Key:
    return alias_key(slot.wanted.model, slot.wanted.label)


def _fields(alias: AliasRow) -> dict[str, object]:
    return {
        "event": "VersionPromoted",
        "model": alias.model,
        "label": alias.label,
        "version": alias.model_version,
        "run_id": alias.run_id,
        "round": alias.version,
        "outcome": "ok",
    }


def watch(watcher: Watcher, *, stop: threading.Event, seconds: float, metrics: Metrics) -> None:
    """Scan until ``stop`` is set; a scan that fails is counted, and the next one tries again."""
    while not stop.is_set():
        try:
            watcher.scan()
        except Unavailable as exc:
            metrics.count("rondo_loop_failures_total", kind="watcher", outcome="retry")
            log.warning("scan failed", extra={"outcome": "retry", "error": str(exc)})
        except Exception:  # the outermost loop of this thread: it must not die
            metrics.count("rondo_loop_failures_total", kind="watcher", outcome="error")
            log.exception("scan failed")
        stop.wait(seconds)
