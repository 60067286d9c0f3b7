"""What must hold after every step, whatever happened: read from the rows and the events.

P1 counted once, P2 atomic, P4 nothing lost, P6 gapless (docs/protocol.md).
"""

from rondo_core.events import RoundAborted, RoundOpened, RoundSealed
from rondo_core.manifest import decode_manifest
from rondo_core.model_store import manifest_key
from tests.unit.rondo_dispatcher.game import Stage
from tests.unit.rondo_dispatcher.world import RUN


def check_promises(game: Stage) -> None:
    assert game.lies == []
    every_acknowledged_update_counts_once_or_its_round_was_aborted(game)
    versions_have_no_gap_and_one_commit_each(game)
    one_attempt_of_a_run_goes_on_at_a_time(game)
    a_row_and_its_gates_move_together(game)
    no_event_comes_before_its_row(game)
    a_run_is_over_only_when_its_rounds_are(game)


def every_acknowledged_update_counts_once_or_its_round_was_aborted(game: Stage) -> None:
    """P1 and P4."""
    for row in game.attempts():
        of = (row.run_id, row.round, row.attempt)
        if row.manifest is not None:
            manifest = decode_manifest(game.world.models.get(manifest_key(row.manifest)))
            found = [entry.client_id for entry in manifest.updates]
            assert found == sorted(game.acknowledged.get(of, set()))
        if row.state == "COMMITTED":
            assert row.manifest is not None
        if row.state == "ABORTED":
            assert row.reason


def versions_have_no_gap_and_one_commit_each(game: Stage) -> None:
    """P2 and P6."""
    versions = game.world.store.query(f"RUN#{RUN}", "VERSION#")
    if versions:
        assert [row["version"] for row in versions] == list(range(game.world.head() + 1))
    made = [row.round for row in game.attempts() if row.state == "COMMITTED"]
    assert made == list(range(1, len(versions)))


def one_attempt_of_a_run_goes_on_at_a_time(game: Stage) -> None:
    going_on = [row for row in game.attempts() if row.state in {"OPEN", "SEALED"}]
    assert len(going_on) <= 1
    assert all(row.base == game.world.head() for row in going_on)


def a_row_and_its_gates_move_together(game: Stage) -> None:
    of_state = {"PENDING": {None}, "OPEN": {"OPEN"}, "SEALED": {"SEALED"}}
    of_state |= {"COMMITTED": {"SEALED"}}
    for row in game.attempts():
        gates = game.world.gates(row.round, row.attempt)
        opened = {"CLOSED"} if row.opened_at else {None}
        assert gates == of_state.get(row.state, opened)


def no_event_comes_before_its_row(game: Stage) -> None:
    rows = {(row.round, row.attempt): row for row in game.attempts()}
    for event in game.world.bus.published:
        if isinstance(event, RoundOpened):
            assert rows[event.round, event.attempt].opened_at is not None
        if isinstance(event, RoundSealed):
            assert rows[event.round, event.attempt].manifest == event.manifest
        if isinstance(event, RoundAborted):
            assert rows[event.round, event.attempt].state == "ABORTED"


def a_run_is_over_only_when_its_rounds_are(game: Stage) -> None:
    if not game.world.store.query(f"RUN#{RUN}", "META"):
        return
    run = game.world.run()
    if run.state == "FINISHED":
        assert game.world.head() == game.rounds
    if run.state == "FAILED":
        assert any(row.attempt == 2 and row.state == "ABORTED" for row in game.attempts())
    assert (run.active is None) == (run.state != "RUNNING")
