"""Runs, as operators ask for them and watch them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rondo_core.bus import Publish
from rondo_core.keys import RUNS_PK, head_key, run_key, run_pk
from rondo_core.model_spec import parse_model_spec
from rondo_core.model_store import ModelStore, spec_key
from rondo_core.operator_wire import RunStarted, RunView
from rondo_core.rows import HeadRow, RoundRow, RunPointerRow, RunRow, from_item
from rondo_core.run_check import depends_on_spec, training_fault
from rondo_core.run_store import RunStore
from rondo_gateway.domain.refusals import Missing, Unfit
from rondo_gateway.domain.runs import run_requested
from rondo_gateway.domain.views import by_kind, round_view, run_view, version_views
from rondo_gateway.handlers.archive import Archive
from rondo_gateway.handlers.models import find_spec

__all__ = ["list_runs", "request_run", "show_run"]

SUFFIX_CHARACTERS = 6


def request_run(
    body: dict[str, Any],
    *,
    store: RunStore,
    objects: ModelStore,
    publish: Publish,
    new_secret: Callable[[], str],
    now: datetime,
) -> RunStarted:
    """Publish ``RunRequested``; the run's row follows, also when the dispatcher cannot run it.

    Raises:
        Unfit: the body is not one, or nobody can do such a run.
        Missing: no such model, or it has no such spec.
        Unavailable: table, bucket or topic did not answer.
    """
    event = run_requested(body, suffix=new_secret()[:SUFFIX_CHARACTERS], now=now)
    spec = find_spec(event.model, event.spec, store=store)
    if depends_on_spec(event):
        training = parse_model_spec(objects.get(spec_key(spec))).training
        if (fault := training_fault(event, training)) is not None:
            raise Unfit("invalid-body", fault)
    publish(event)
    return RunStarted(run_id=event.run_id)


def list_runs(*, limit: int, store: RunStore) -> list[RunView]:
    """Show the newest runs, newest first, without their rounds and versions.

    Raises:
        Unavailable: the table did not answer.
    """
    pointers = [from_item(item, RunPointerRow) for item in store.query(RUNS_PK)]
    newest = pointers[: -limit - 1 : -1]
    rows = [(store.get(run_key(one.run_id)), _head(one.run_id, store=store)) for one in newest]
    return [run_view(from_item(item, RunRow), head) for item, head in rows if item is not None]


def show_run(run_id: str, *, since_round: int, store: RunStore, archive: Archive) -> RunView:
    """Show a run with its versions and its attempts from a round on.

    One query, and one for each attempt that is not over or was never asked for.

    Raises:
        Missing: no such run.
        Unavailable: the table did not answer.
    """
    rows = by_kind(store.query(run_pk(run_id)))
    if not rows["META"]:
        raise Missing("not-found", f"there is no run {run_id!r}")
    attempts = [from_item(item, RoundRow) for item in rows["ROUND"]]
    return run_view(
        from_item(rows["META"][0], RunRow),
        from_item(rows["HEAD"][0], HeadRow).version if rows["HEAD"] else 0,
        attempts=[
            round_view(row, archive.tally(row)) for row in attempts if row.round >= since_round
        ],
        versions=version_views(rows["VERSION"]),
    )


def _head(run_id: str, *, store: RunStore) -> int:
    item = store.get(head_key(run_id))
    return 0 if item is None else from_item(item, HeadRow).version
