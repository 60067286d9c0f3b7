"""Two dispatchers keep the promises, however they are interleaved, repeated and killed."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests.unit.rondo_dispatcher import stand_ins
from tests.unit.rondo_dispatcher.actors import Fault
from tests.unit.rondo_dispatcher.game import CLIENTS, FAULTS, TASKS, Everybody
from tests.unit.rondo_dispatcher.promises import check_promises
from tests.unit.rondo_dispatcher.whole_run import others_take_their_turn
from tests.unit.rondo_dispatcher.world import RUN

if TYPE_CHECKING:
    from collections.abc import Callable


class Dispatchers(Everybody):
    """Checks the promises after every move, and progress (P9) at the end."""

    @invariant()
    def every_promise_is_kept(self) -> None:
        check_promises(self)

    def further_moves(self, rng: np.random.Generator) -> list[tuple[int, "Callable[[], object]"]]:
        """Return moves, and how often each is made, that only this kind of run knows."""
        del rng
        return []

    def state_machine_gives_up_waiting_for_what_was_dead_lettered(self) -> None:
        """A request that met faults five times in a row is left to the net: its own timeout."""
        if self.world.workflow.status(RUN) is None:
            return
        token = self.world.workflow.token(RUN)
        if any(f'"{token}"' in body for body, _ in self.world.bus.dead_letters("dispatcher")):
            self.world.workflow.time_out(RUN)

    def late_updates_go_their_way(self) -> None:
        self.what_is_late_is_rejected()

    def teardown(self) -> None:
        """P9: when faults stop, the run ends, and nothing of it is left to do."""
        for actor in self.actors:
            while actor.busy:
                actor.step("crash before")
        world = self.world
        for _ in range(30):
            self.state_machine_gives_up_waiting_for_what_was_dead_lettered()
            world.bus.source("dispatcher").redeliver()
            world.deliver()
            world.sweep()
            self.late_updates_go_their_way()
            hints = others_take_their_turn(world, CLIENTS)
            self.note(hints)
            world.bus.publish(*hints)
            world.clock.advance(40)
        run = world.run()
        assert run.state in {"FINISHED", "FAILED"}
        assert world.workflow.status(RUN) == ("SUCCEEDED" if run.state == "FINISHED" else "FAILED")
        assert world.store.active("round") == world.store.active("run") == []
        assert all(row.task_tokens == frozenset() for row in self.attempts())
        assert stand_ins.outbox_is_empty(world.store)
        check_promises(self)


def test_random_interleavings_of_two_dispatchers_keep_every_promise() -> None:
    run_state_machine_as_test(
        Dispatchers,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def play(seed: int, game: Dispatchers, *, steps: int = 80) -> None:
    """Play a long random schedule, mostly of dispatchers' calls, and check after every step."""
    rng = np.random.default_rng(seed)
    quorum, wanted = int(rng.integers(1, 3)), int(rng.integers(2, 4))
    game.ask_for_a_run(quorum=quorum, wanted=wanted, begun=True)
    for _ in range(steps):
        _move(game, rng)
        game.every_promise_is_kept()


def _move(game: Dispatchers, rng: np.random.Generator) -> None:
    some = {client for client in CLIENTS if rng.random() < 0.6}
    moves: list[tuple[int, Callable[[], object]]] = [
        (10, lambda: game.act(int(rng.integers(2)), TASKS[rng.integers(4)], *_calls(rng))),
        (2, game.everything_comes_again),
        (2, lambda: game.time_passes(float(rng.choice([1, 30, 100])), set(CLIENTS))),
        (3, lambda: game.updates_are_judged(some, int(rng.integers(5)))),
        (1, game.what_is_late_is_rejected),
        (2, game.a_version_is_committed),
        (4, lambda: game.hints_are_heard_or_lost(heard=rng.random() < 0.8, twice=False)),
        (1, game.the_state_machine_asks_again),
        (1, game.somebody_asks_too_early_for_the_second_attempt),
        (1, game.the_evaluator_gives_its_verdict),
        *game.further_moves(rng),
    ]
    weights = np.array([weight for weight, _ in moves], dtype=float)
    moves[rng.choice(len(moves), p=weights / weights.sum())][1]()


def _calls(rng: np.random.Generator) -> tuple[int, Fault]:
    return int(rng.geometric(0.15)), FAULTS[rng.integers(len(FAULTS))]


@pytest.mark.parametrize("seed", range(16))
def test_a_long_random_schedule_keeps_every_promise_and_ends(seed: int) -> None:
    game = Dispatchers()

    play(seed, game)

    game.teardown()  # asserts that the run ends
