"""The one way to a prediction, whatever door it came in by."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from msgspec import Struct

from rondo_core.errors import NotFound, RondoError, Unavailable
from rondo_core.input_bounds import Beyond
from rondo_core.keys import CHAMPION
from rondo_core.telemetry import Metrics
from rondo_inference.domain.tensors import Tensors
from rondo_inference.domain.traffic import EVERYTHING_TO_CHAMPION
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.loading import Loading
from rondo_inference.registry.memory import Memory
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import unavailable
from rondo_inference.stats import StatsBook

__all__ = ["Inference", "Target"]

log = logging.getLogger(__name__)

_TRIES = 100
"""How often a version may be evicted between its load and its lease; never seen more than once."""


class Target(Struct, frozen=True):
    """Which version a request wants.

    Attributes:
        model: its name; None for the only model.
        label: an alias; None for whatever the traffic rule says.
        version: its number; then the label is not looked at.
        key: requests with the same key go to the same version, whatever the traffic rule.
    """

    model: str | None = None
    label: str | None = None
    version: int | None = None
    key: str = ""


@dataclass(slots=True)
class Inference:
    """The core: every contract asks it, and it alone asks the engines. Used by one event loop.

    Attributes:
        catalogue: what is served.
        memory: what is loaded.
        loading: loads what is asked for.
        book: numbers of every version.
        metrics: counts the predictions in flight, on which replicas are scaled.
    """

    catalogue: Catalogue
    memory: Memory
    loading: Loading
    book: StatsBook
    metrics: Metrics
    _in_flight: int = 0
    _shadows: set["asyncio.Task[None]"] = field(default_factory=set)
    _requests: int = 0
    _passed_over: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Let replicas be scaled on what is in flight."""
        self.metrics.read("rondo_predictions_in_flight", lambda: self._in_flight)

    @asynccontextmanager
    async def lease(self, target: Target) -> AsyncIterator[ServedModel]:
        """Hold the version that answers, loaded first if it has to be; see `take`."""
        served = await self.take(target)
        try:
            yield served
        finally:
            self.memory.give(served)

    async def take(self, target: Target) -> ServedModel:
        """Hold the version that answers; the caller gives it back to ``memory``.

        Raises:
            NotFound: no such model, version or label.
            Invalid: no model is named, and there are several.
            Unavailable: it is not there yet, cannot be loaded or does not fit.
        """
        if target.label is None and target.version is None:
            name = target.model if target.model is not None else self.catalogue.only_name()
            label = self._chosen(name, target.key)
            if label != CHAMPION:
                served = await self._sent(name, label)
                if served is not None:
                    return served
        slot = self.catalogue.resolve(target.model, label=target.label, version=target.version)
        if slot.served is not None and self.memory.take(slot.served):
            return slot.served
        return await self._taken(target)

    async def _taken(self, target: Target) -> ServedModel:
        for _ in range(_TRIES):
            slot = self.catalogue.resolve(target.model, label=target.label, version=target.version)
            served = slot.served
            if served is not None and self.memory.take(served):
                return served
            if served is None and not slot.loadable:
                raise unavailable(slot)
            self.book.note("miss", slot.wanted.model)  # never loaded, or evicted a moment ago
            served = await self.loading.load(slot)
            if self.memory.take(served):
                return served
        raise Unavailable("too many models are asked for at once; try again")

    def _chosen(self, model: str, key: str) -> str:
        """Return the label that the traffic rule has for a request."""
        traffic = self.catalogue.traffic(model)
        if traffic is EVERYTHING_TO_CHAMPION:
            return CHAMPION
        self._requests += 1
        return traffic.label(key or str(self._requests))

    async def _sent(self, model: str, label: str) -> ServedModel | None:
        """Hold what a label of the traffic rule names; None where it does not answer.

        Who named no version is not refused because of a rule: the champion answers then.
        """
        try:
            slot = self.catalogue.resolve(model, label=label)
            if slot.served is None and slot.reason:  # or every request would try to load it
                raise unavailable(slot)
            served = await self._taken(Target(model, label))
        except (NotFound, Unavailable) as exc:
            self.book.note("fallback", model)
            if (model, label) not in self._passed_over:
                self._passed_over.add((model, label))
                log.warning(
                    "champion answers for another label",
                    extra={"model": model, "label": label, "outcome": "error", "error": str(exc)},
                )
            return None
        self._passed_over.discard((model, label))
        return served

    async def predict(
        self,
        served: ServedModel,
        inputs: Tensors,
        *,
        beyond: Sequence[Beyond] = (),
        alone: bool = False,
    ) -> Tensors:
        """Return the outputs for inputs that the version takes.

        Args:
            served: held for the whole call, so a swap meanwhile changes nothing.
            inputs: checked by ``checks.checked``, or decoded by what checks.
            beyond: what ``checks.beyond_bounds`` found in them; counted here.
            alone: no other request was read in this turn of the loop.

        Raises:
            Unavailable: the queue is full, or no engine was free in time.
            ExportInvalid: the engine refused.
        """
        if beyond:
            served.batcher.stats.beyond += sum(one.rows for one in beyond)
        self._in_flight += 1
        try:
            outputs = await served.batcher.run(inputs, alone=alone)
        finally:
            self._in_flight -= 1
        shadow = self.catalogue.traffic(served.name).shadow
        if shadow is not None:
            self._copy(served, shadow, inputs)
        return outputs

    def _copy(self, served: ServedModel, label: str, inputs: Tensors) -> None:
        """Send a copy to another version, unless that one is busy or takes other inputs."""
        try:
            other = self.catalogue.find(served.name, label=label)
        except RondoError:
            return
        if other is served or not other.batcher.idle or not self.memory.take(other):
            return
        if other.signature != served.signature:
            self.memory.give(other)
            return
        task = asyncio.get_running_loop().create_task(self._shadow(other, inputs))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(self, served: ServedModel, inputs: Tensors) -> None:
        try:
            with suppress(RondoError):  # the batcher counts it, and nobody waits for this answer
                await served.batcher.run(inputs)
                served.batcher.stats.shadowed += 1
        finally:
            self.memory.give(served)
