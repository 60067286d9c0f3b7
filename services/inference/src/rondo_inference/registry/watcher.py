"""Follows the aliases: every replica reads the rows itself, so all of them learn of a promotion."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from rondo_core.clock import Clock
from rondo_core.errors import Invalid, RondoError, Unavailable
from rondo_core.keys import CHAMPION, alias_key, model_pk
from rondo_core.model_rows import AliasRow
from rondo_core.run_store import Key
from rondo_core.telemetry import Metrics
from rondo_inference.domain.backoff import backoff_seconds
from rondo_inference.registry.aliases import Aliases, key_of
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import Slot

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
        tidy: returns freed memory to the system. Called at the scan after, for requests hold the
            version for a moment yet.
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
        tidy: Callable[[], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._aliases = aliases
        self._catalogue = catalogue
        self._bring = bring
        self._retire = retire
        self._tidy = tidy
        self._has_retired = False
        self._clock = clock
        self._metrics = metrics
        self._retries: dict[Key, _Retry] = {}
        self._faults: dict[Key, str] = {}

    def scan(self) -> None:
        """Read every alias and load what changed.

        Raises:
            Unavailable: the aliases could not be read; what is served stays.
        """
        if self._has_retired:
            self._has_retired = False
            self._tidy()
        known = {_key(slot) for slot in self._catalogue.slots()}
        faults: dict[Key, str] = {}
        for key, found in self._aliases.scan(known):
            if found is None:
                self._forget(key)
            elif isinstance(found, Invalid):
                faults[key] = str(found)
                if self._faults.get(key) != str(found):  # once, and not every second
                    self._count("cannot be read", found, **_about(key))
            else:
                self._follow(key, found)
        self._faults = faults
        self._catalogue.settle(self._aliases.traffic(), self._unread())

    def _unread(self) -> dict[str, str]:
        """Return what is wrong with a model, or with all of them, in words that all may read."""
        found = {_about(key).get("model", ""): text for key, text in self._faults.items()}
        return {
            model: f"model {model!r} cannot be read" if model else text
            for model, text in found.items()
        }

    def _forget(self, key: Key) -> None:
        slot = self._slot(key)
        if slot is not None:
            self._catalogue.drop(slot.wanted.model, slot.wanted.label)
            log.info("label gone", extra={**_about(key), "version": slot.wanted.model_version})
        self._retries.pop(key, None)

    def _follow(self, key: Key, alias: AliasRow) -> None:
        slot, retry = self._slot(key), self._retries.get(key)
        if slot is not None and slot.wanted == alias and _rests(slot):
            return
        if retry is not None and retry.alias != alias:
            retry = None  # another version deserves its own first try
        if retry is not None and self._clock.monotonic() < retry.at:
            return
        answers = slot is not None and slot.served is not None
        slot = self._catalogue.want(alias, lazy=not answers and self._aliases.is_lazy(alias))
        if not _rests(slot):
            self._load(key, slot, retry)

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
                self._has_retired = True
            self._note(alias, self._clock.monotonic() - start)

    def _failed(self, key: Key, waiting: Slot, retry: _Retry | None, exc: Exception) -> None:
        failures = retry.failures + 1 if retry else 1
        at = self._clock.monotonic() + backoff_seconds(failures)
        self._retries[key] = _Retry(waiting.wanted, failures, at)
        self._catalogue.fail(waiting.wanted, str(exc) or type(exc).__name__)
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


def _rests(slot: Slot) -> bool:
    """Whether there is nothing to load of it now."""
    return slot.is_current or slot.lazy or slot.unloaded


def _about(key: Key) -> dict[str, str]:
    """Return the model, and the label where it is of one, in the words of people."""
    every, one = model_pk(""), alias_key("", "").sk
    model = {"model": key.pk.removeprefix(every)} if key.pk.startswith(every) else {}
    label = {"label": key.sk.removeprefix(one)} if key.sk.startswith(one) else {}
    return {**model, **label}


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
    told = ""
    while not stop.is_set():
        try:
            watcher.scan()
            told = ""
        except Unavailable as exc:
            metrics.count("rondo_loop_failures_total", kind="watcher", outcome="retry")
            if told != str(exc):  # once, and not every second
                log.warning("scan failed", extra={"outcome": "retry", "error": str(exc)})
            told = str(exc)
        except Exception:  # the outermost loop of this thread: it must not die
            metrics.count("rondo_loop_failures_total", kind="watcher", outcome="error")
            log.exception("scan failed")
        stop.wait(seconds)
