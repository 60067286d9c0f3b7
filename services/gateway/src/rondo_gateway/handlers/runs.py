"""Runs, as operators ask for them and watch them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rondo_core.bus import Publish
from rondo_core.keys import RUNS_PK, head_key, round_prefix, run_key, run_pk
from rondo_core.rows import HeadRow, RunPointerRow, RunRow, from_item
from rondo_core.run_store import Item, RunStore
from rondo_core.wire import RunStarted, RunView
from rondo_gateway.domain.refusals import Missing
from rondo_gateway.domain.runs import run_requested
from rondo_gateway.domain.views import round_views, run_view, version_views
from rondo_gateway.handlers.models import check_model, check_spec

__all__ = ["list_runs", "request_run", "show_run"]

SUFFIX_CHARACTERS = 6


def request_run(
    body: dict[str, Any],
    *,
    store: RunStore,
    publish: Publish,
    new_secret: Callable[[], str],
    now: datetime,
) -> RunStarted:
    """Publish ``RunRequested``; the run's row follows, also when the dispatcher cannot run it.

    Raises:
        Unfit: the body is not one.
        Missing: no such model, or it has no such spec.
        Unavailable: table or topic did not answer.
    """
    event = run_requested(body, suffix=new_secret()[:SUFFIX_CHARACTERS], now=now)
    if event.spec is None:
        check_model(event.model, store=store)
    else:
        check_spec(event.model, event.spec, store=store)
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


def show_run(run_id: str, *, since_round: int, store: RunStore) -> RunView:
    """Show a run with its versions and its attempts from a round on.

    Raises:
        Missing: no such run.
        Unavailable: the table did not answer.
    """
    item = store.get(run_key(run_id))
    if item is None:
        raise Missing("not-found", f"there is no run {run_id!r}")
    head = _head(run_id, store=store)
    return run_view(
        from_item(item, RunRow),
        head,
        attempts=round_views(_round_rows(run_id, since_round, head, store=store)),
        versions=version_views(store.query(run_pk(run_id), "VERSION#")),
    )


def _head(run_id: str, *, store: RunStore) -> int:
    item = store.get(head_key(run_id))
    return 0 if item is None else from_item(item, HeadRow).version


def _round_rows(run_id: str, since_round: int, head: int, *, store: RunStore) -> list[Item]:
    """Read the rows of all attempts; those of rounds before ``since_round`` are not touched."""
    if since_round <= 1:
        return store.query(run_pk(run_id), "ROUND#")
    prefixes = (_all_attempts(round_) for round_ in range(since_round, head + 2))
    return [item for prefix in prefixes for item in store.query(run_pk(run_id), prefix)]


def _all_attempts(round_: int) -> str:
    """Cut the attempt off a round's prefix.

    >>> _all_attempts(12)
    'ROUND#000012#'
    """
    return round_prefix(round_, 0).removesuffix("00")
