"""The ports that a handler needs, and typed reads through them."""

from dataclasses import dataclass

from rondo_core.bus import Publish
from rondo_core.clock import Clock
from rondo_core.errors import NotFound
from rondo_core.model_store import ModelStore
from rondo_core.rows import Row, from_item
from rondo_core.run_store import Key, RunStore
from rondo_core.telemetry import Metrics
from rondo_core.workflow import Workflow

__all__ = ["SERVICE", "Ports", "find", "require"]

SERVICE = "dispatcher"


@dataclass(frozen=True, slots=True)
class Ports:
    """One argument in place of six: every step of a round may lead to any other step."""

    store: RunStore
    model_store: ModelStore
    publish: Publish
    workflow: Workflow
    clock: Clock
    metrics: Metrics


def find(store: RunStore, key: Key, kind: type[Row]) -> Row | None:
    """Read one row, or None when it does not exist."""
    item = store.get(key)
    return None if item is None else from_item(item, kind)


def require(store: RunStore, key: Key, kind: type[Row]) -> Row:
    """Read a row that must exist.

    Raises:
        NotFound: it does not; the text names its key.
    """
    row = find(store, key, kind)
    if row is None:
        raise NotFound(f"row {'/'.join(key)}")
    return row
