"""A client's update: declared, uploaded past us, reported, judged by others."""

from datetime import datetime

from rondo_core.bus import Publish
from rondo_core.client_wire import Declaration, Declared, Outcome, Receipt
from rondo_core.encodings import form_of
from rondo_core.encodings.names import FLOAT32
from rondo_core.errors import Unavailable
from rondo_core.keys import round_key, update_key
from rondo_core.late_updates import find_update, takes_late
from rondo_core.model_rows import ClientRow
from rondo_core.model_store import UploadLinks
from rondo_core.model_store import update_key as object_key
from rondo_core.rows import RoundRow, UpdateRow, from_item
from rondo_core.run_store import Change, CommitConflict, RunStore
from rondo_core.wire import Upload
from rondo_gateway.domain.attempts import AttemptId
from rondo_gateway.domain.refusals import Missing
from rondo_gateway.domain.updates import (
    check_chosen,
    check_declaration,
    declare_change,
    declared_row,
    known_update,
    receipt,
    report_change,
    reported,
    update_submitted,
)
from rondo_gateway.handlers.archive import Archive
from rondo_gateway.handlers.grouping import SharedReads
from rondo_gateway.handlers.late import declare_late, report_late
from rondo_gateway.handlers.models import LINK_SECONDS

__all__ = ["declare", "read_outcome", "read_receipt", "report"]


def declare(
    where: AttemptId,
    client: ClientRow,
    body: Declaration,
    *,
    store: RunStore,
    reads: SharedReads,
    archive: Archive,
    links: UploadLinks,
    now: datetime,
) -> Declared:
    """Write down what will be uploaded, and hand out the link. A repeat gets a fresh link.

    Raises:
        Refusal: see `rondo_gateway.domain.updates`.
        Unavailable: the table did not answer.
    """
    round_ = _load_round(where, client, reads=reads)
    check_declaration(body, round_, size_bytes=_update_bytes(round_, archive=archive))
    key = object_key(*where, client.client_id, body.sha256)
    row = declared_row(client.client_id, body, key=key, now=now)
    at = where
    if not _written(declare_change(where, row), round_, store=store):
        if takes_late(round_):
            at, row = declare_late(where, row, store=store)
        else:
            row = known_update(_load_update(where, client, store=store), body.sha256, round_)
    link = links.for_upload(row.key, size=row.size, sha256=row.sha256, expires_seconds=LINK_SECONDS)
    upload = Upload(url=link.url, headers=dict(link.headers))
    return Declared(upload=upload, receipt=receipt(where, row, at=at))


def report(
    where: AttemptId,
    client: ClientRow,
    sha256: str,
    *,
    store: RunStore,
    reads: SharedReads,
    publish: Publish,
    now: datetime,
) -> Receipt:
    """Write down that the upload is done, and tell the aggregator. A repeat tells it again.

    Raises:
        Refusal: see `rondo_gateway.domain.updates`.
        Unavailable: table or topic did not answer; the sweep finds a report that was written.
    """
    round_ = _load_round(where, client, reads=reads)
    change, at = report_change(where, client.client_id, sha256, now=now), where
    if _written(change, round_, store=store):
        answer = reported(where, client.client_id, sha256)
    elif takes_late(round_):
        at, row = report_late(where, client.client_id, sha256, store=store, now=now)
        answer = receipt(where, row, at=at)
    else:
        row = known_update(_load_update(where, client, store=store), sha256, round_)
        answer = receipt(where, row)
    if answer.state == "DECLARED":
        raise Unavailable(f"update of {client.client_id} for {where} changed meanwhile")
    if answer.state == "REPORTED":
        publish(update_submitted(at, client.client_id, sha256, now=now))
    return answer


def read_receipt(where: AttemptId, client: ClientRow, *, store: RunStore) -> Receipt:
    """Say how a client's update stands, wherever it was entered.

    Raises:
        Missing: it declared none for this attempt.
        Unavailable: the table did not answer.
    """
    found = find_update(where.run_id, (where.round, where.attempt), client.client_id, store=store)
    if found.row is None:
        raise Missing("not-found", f"{client.client_id} declared nothing for attempt {where}")
    return receipt(where, found.row, at=AttemptId(where.run_id, *found.where))


def read_outcome(
    where: AttemptId, client: ClientRow, *, store: RunStore, reads: SharedReads
) -> Outcome:
    """Say how a client's update of an attempt stands, and the attempt that it was entered into.

    A late update that has the place of the client's own in an attempt is not the attempt's.

    Raises:
        Refusal: there is no such attempt, or the client was not chosen for it.
        Unavailable: the table did not answer.
    """
    round_ = _load_round(where, client, reads=reads)
    found = find_update(where.run_id, where[1:], client.client_id, store=store)
    if found.where != where[1:]:
        round_ = from_item(reads.get(round_key(where.run_id, *found.where)) or {}, RoundRow)
    row = found.row if found.origin == where[1:] else None
    return Outcome(round_state=round_.state, update_state=None if row is None else row.state)


def _update_bytes(round_: RoundRow, *, archive: Archive) -> int:
    """Return the length of every update of a round; in float32 that is a version's."""
    if round_.encoding == FLOAT32:
        return archive.version(round_.run_id, round_.base).size
    layout = archive.layout(round_.model, round_.spec)
    return form_of(layout, round_.encoding).size_bytes


def _written(change: Change, round_: RoundRow, *, store: RunStore) -> bool:
    """Commit a change of an open attempt; False if it is not open, or the row does not allow it."""
    if round_.state != "OPEN":
        return False
    try:
        store.commit(change)
    except CommitConflict:
        return False
    return True


def _load_round(where: AttemptId, client: ClientRow, *, reads: SharedReads) -> RoundRow:
    item = reads.get(round_key(*where))
    round_ = None if item is None else from_item(item, RoundRow)
    return check_chosen(round_, where, client.client_id, client.model)


def _load_update(where: AttemptId, client: ClientRow, *, store: RunStore) -> UpdateRow | None:
    item = store.get(update_key(*where, client.client_id))
    return None if item is None else from_item(item, UpdateRow)
