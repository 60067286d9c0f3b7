"""FedBuff: late updates keep the promises too, however everything is interleaved."""

from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.rondo_dispatcher.game import CLIENTS
from tests.unit.rondo_dispatcher.late_game import Late, check_late_promises
from tests.unit.rondo_dispatcher.test_dispatcher_interleavings import Dispatchers, play
from tests.unit.rondo_dispatcher.whole_run import updates


class LateDispatchers(Late, Dispatchers):
    """Checks the promises after every move."""

    def every_promise_is_kept(self) -> None:
        super().every_promise_is_kept()
        check_late_promises(self)

    def further_moves(self, rng: np.random.Generator) -> list[tuple[int, Callable[[], object]]]:
        client = CLIENTS[rng.integers(len(CLIENTS))]
        return [
            (3, lambda: self.a_client_comes_late_with_all_that_it_ever_made(client)),
            (1, self.some_report_and_are_not_judged_in_time),
            (4, self.what_was_read_is_written),
            (3, self.the_dispatchers_come_to_an_end),
        ]

    def late_updates_go_their_way(self) -> None:
        super().late_updates_go_their_way()
        self.what_was_read_is_written()

    def teardown(self) -> None:
        """Nothing that was reported stays without a verdict when the run is over."""
        super().teardown()
        for row in self.attempts():
            of = (row.run_id, row.round, row.attempt)
            assert all(one.state != "REPORTED" for one in updates(self.world, of))


def test_random_interleavings_with_late_updates_keep_every_promise() -> None:
    run_state_machine_as_test(
        LateDispatchers,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_long_random_schedules_with_late_updates_keep_every_promise_and_end() -> None:
    moves = 0
    for seed in range(16):
        game = LateDispatchers()

        play(seed, game, steps=160)

        game.teardown()  # asserts that the run ends
        moves += game.moves
    assert moves > 8
