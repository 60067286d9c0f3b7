"""T7: one transaction makes the version, whatever was tried before."""

import logging
from datetime import datetime
from typing import Literal

from rondo_aggregator.domain.attempt import SERVICE, Attempt
from rondo_aggregator.domain.metrics import combine_metrics
from rondo_aggregator.domain.result import Result, commit_changes, version_committed
from rondo_aggregator.handlers.reading import Source, round_of
from rondo_aggregator.handlers.writing import Written
from rondo_core.bus import Publish
from rondo_core.errors import Unavailable
from rondo_core.outbox import outbox_put, publish_now
from rondo_core.rows import RoundRow, UpdateRow, from_item
from rondo_core.run_store import Change, CommitConflict, RunStore

__all__ = ["Committed", "commit_version"]

log = logging.getLogger(__name__)

Committed = Literal["committed", "fenced"]

_TRIES = 3


def commit_version(
    attempt: Attempt,
    claimed: RoundRow,
    source: Source,
    written: Written,
    *,
    store: RunStore,
    publish: Publish,
    now: datetime,
) -> Committed:
    """Commit a version whose object is in the store, and publish ``VersionCommitted``.

    Returns:
        ``committed``, also when the same version was committed before; ``fenced`` when the claim
        was taken over or the attempt was aborted: nothing of this try is visible then.

    Raises:
        Unavailable: the table or the bus did not answer, or others kept being in the way.
    """
    sha256, measured = written.sha256, _measured(attempt, source, store)
    result = Result(
        sha256, source.layout.size_bytes, measured, written.optimizer_state, written.control
    )
    event = version_committed(attempt, claimed.base + 1, result, now)
    changes = commit_changes(attempt, claimed, source.manifest, result, now)
    if not _apply(attempt, claimed, sha256, [*changes, outbox_put(event, service=SERVICE)], store):
        return "fenced"
    publish_now([event], service=SERVICE, store=store, publish=publish)
    return "committed"


def _measured(attempt: Attempt, source: Source, store: RunStore) -> dict[str, float]:
    """Combine what the clients of the manifest measured on the base version, and on no older one.

    What stale updates say was measured on a version whose point in the run's curve is made already.
    """
    items = store.query(*attempt.updates)
    updates = {row.client_id: row for row in (from_item(item, UpdateRow) for item in items)}
    clients = [entry.client_id for entry in source.manifest.updates if entry.staleness == 0]
    return combine_metrics(updates[client].metrics for client in clients if client in updates)


def _apply(
    attempt: Attempt, claimed: RoundRow, sha256: str, changes: list[Change], store: RunStore
) -> bool:
    """Commit; say whether this version is the round's result, after reading back where needed."""
    for _ in range(_TRIES):
        try:
            store.commit(*changes)
            return True
        except (CommitConflict, Unavailable) as exc:
            row = round_of(attempt, store)
            if row is not None and row.state == "COMMITTED" and row.result == sha256:
                return True
            if row is None or (row.state, row.epoch) != ("SEALED", claimed.epoch):
                log.warning(
                    "commit refused: the claim is not this worker's any more",
                    extra={"run_id": attempt.run_id, "round": attempt.round, "outcome": "fenced"},
                )
                return False
            if isinstance(exc, Unavailable):
                raise
    raise Unavailable(f"commit of {attempt}: others were in the way {_TRIES} times")
