"""Follows the aliases: every replica reads the rows itself, so all of them learn of a promotion."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from rondo_core.clock import Clock
from rondo_core.errors import Invalid, RondoError, Unavailable
from rondo_core.keys import CHAMPION
from rondo_core.model_rows import AliasRow
from rondo_core.run_store import Key
from rondo_core.telemetry import Metrics
from rondo_inference.domain.backoff import backoff_seconds
from rondo_inference.registry.aliases import Aliases, key_of
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import Failure, Slot

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
        aliases: what is to be served.
        catalogue: what is served.
        bring: loads the version of an alias and lets it answer; see ``Memory.bring``.
        retire: lets go of the version that answered before; see ``Memory.retire``.
        clock: times the retries.
        metrics: counts swaps and failures.
    """

    def __init__(
        self,
        *,
        aliases: Aliases,
        catalogue: Catalogue,
        bring: Callable[[AliasRow], object],
        retire: Callable[[ServedModel], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._aliases = aliases
        self._catalogue = catalogue
        self._bring = bring
        self._retire = retire
        self._clock = clock
        self._metrics = metrics
        self._retries: dict[Key, _Retry] = {}

    def scan(self) -> None:
        """Read every alias and load what changed.

        Raises:
            Unavailable: the aliases could not be read; what is served stays.
        """
        known = {_key(slot) for slot in self._catalogue.slots()}
        for key, found in self._aliases.scan(known):
            if found is None:
                self._forget(key)
            elif isinstance(found, Invalid):
                self._count("bad row", found, key=list(key))
            else:
                self._follow(key, found)
        self._catalogue.settle(self._aliases.traffic())

    def _forget(self, key: Key) -> None:
        slot = self._slot(key)
        if slot is not None:
            self._catalogue.drop(slot.wanted.model, slot.wanted.label)
        self._retries.pop(key, None)

    def _follow(self, key: Key, alias: AliasRow) -> None:
        slot, retry = self._slot(key), self._retries.get(key)
        if slot is not None and slot.wanted == alias and (slot.is_current or slot.lazy):
            return
        if retry is not None and retry.alias != alias:
            retry = None  # another version deserves its own first try
        if retry is not None and self._clock.monotonic() < retry.at:
            return
        old = slot.served if slot else None
        if old is None and self._aliases.is_lazy(alias):
            self._catalogue.store(Slot(alias, self._catalogue.loaded(alias), lazy=True))
            return
        waiting = Slot(alias, old)
        self._catalogue.store(waiting)
        self._load(key, waiting, retry)

    def _load(self, key: Key, waiting: Slot, retry: _Retry | None) -> None:
        alias, start = waiting.wanted, self._clock.monotonic()
        try:
            self._bring(alias)
        except RondoError as exc:
            self._failed(key, waiting, retry, exc)
        except Exception as exc:  # the outermost loop of a load: it must not stop the others
            log.exception("load broke")
            self._failed(key, waiting, retry, exc)
        else:
            self._retries.pop(key, None)
            if waiting.served is not None:
                self._retire(waiting.served)
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
        if alias.label == CHAMPION:  # one number a model, and the other labels have their own
            self._metrics.gauge("rondo_served_version", alias.model_version, kind=alias.model)
        log.info("version served", extra=_fields(alias) | {"seconds": round(seconds, 6)})

    def _count(self, message: str, exc: Exception, **fields: object) -> None:
        kind = str(fields.get("model", ""))
        self._metrics.count("rondo_load_failures_total", kind=kind, outcome="error")
        log.warning(message, extra=fields | {"outcome": "error", "error": str(exc)})


def _key(slot: Slot) -> Key:
    return key_of(slot.wanted)


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
