"""RoundRequested: begin an attempt, or join it with one more token, or answer at once."""

from collections.abc import Sequence
from functools import partial

from rondo_core.events import RoundRequested
from rondo_core.keys import head_key, run_key, version_key
from rondo_core.rows import HeadRow, RoundRow, RunRow, VersionRow
from rondo_dispatcher.domain.asking import answer_at_once, attempt_id, join
from rondo_dispatcher.domain.opening import begin, pending_row
from rondo_dispatcher.handlers.advancing import give, surroundings
from rondo_dispatcher.handlers.ports import Ports, find, require
from rondo_dispatcher.handlers.saving import look_until_done, publish_left, save

__all__ = ["on_round_requested"]


def on_round_requested(events: Sequence[RoundRequested], *, ports: Ports) -> None:
    """Let each task's token wait in the row of its attempt, unless it can be answered at once.

    Raises:
        NotFound: there is no such run.
        Invalid: the run cannot ask for this round now.
        CommitConflict: others were faster, too often in a row.
        Unavailable: a port did not answer.
    """
    for event in events:
        look = partial(_look, event, ports)
        look_until_done(look, ports=ports, hopeful=partial(_look_hopefully, event, ports))


def _look(event: RoundRequested, ports: Ports) -> bool:
    of, store = attempt_id(event), ports.store
    run = require(store, run_key(of.run_id), RunRow)
    row = find(store, of.key, RoundRow)
    head = require(store, head_key(of.run_id), HeadRow).version  # after the row: see ``answer``
    told = answer_at_once(event, run, head=head, row=row)
    if told is not None:
        give(told, [event.task_token], ports=ports)
    elif row is None:
        base = require(store, version_key(of.run_id, head), VersionRow)
        _begin(event, run, base, ports)
    else:
        save(join(event), ports=ports)
        publish_left(ports=ports)  # of whoever began the attempt and did not come to it
    return False


def _look_hopefully(event: RoundRequested, ports: Ports) -> bool:
    """Begin a first attempt whose base exists.

    HEAD and the attempt's own row are not read: that they are as hoped is the commit's condition.
    """
    of = attempt_id(event)
    run = find(ports.store, run_key(of.run_id), RunRow)
    base = find(ports.store, version_key(of.run_id, of.round - 1), VersionRow)
    if run is None or base is None or of.attempt > 1 or of.round > run.rounds:
        return _look(event, ports)
    _begin(event, run, base, ports)
    return False


def _begin(event: RoundRequested, run: RunRow, base: VersionRow, ports: Ports) -> None:
    around = surroundings(attempt_id(event), run, base.version, ports=ports)
    now = ports.clock.now()
    save(begin(pending_row(event, run, base, now=now), around, now=now), ports=ports)
