"""What all routes share, and how a route gets hold of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, cast

from fastapi import Depends, Request

from rondo_core.bus import Publish
from rondo_core.clock import Clock
from rondo_core.model_store import ModelStore, UploadLinks
from rondo_core.run_store import RunStore
from rondo_core.telemetry import Metrics
from rondo_gateway.handlers.archive import Archive
from rondo_gateway.handlers.callers import KeyRing
from rondo_gateway.handlers.grouping import SharedReads
from rondo_gateway.web.watcher import Watcher

__all__ = ["Door", "Ports", "TheDoor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside world, as ``main`` or a test provides it.

    Attributes:
        new_secret: an unguessable URL-safe text without dots, another one at each call.
    """

    store: RunStore
    objects: ModelStore
    links: UploadLinks
    publish: Publish
    clock: Clock
    metrics: Metrics
    new_secret: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The ports, and what a process keeps between calls."""

    ports: Ports
    archive: Archive
    reads: SharedReads
    publish: Publish
    keys: KeyRing
    watcher: Watcher

    def now(self) -> datetime:
        """Return the time."""
        return self.ports.clock.now()


async def _door(request: Request) -> Door:
    return cast("Door", request.app.state.door)


TheDoor = Annotated[Door, Depends(_door)]
