"""Which clients are there, and which of them a round takes."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from rondo_core.model_rows import ClientRow
from rondo_dispatcher.domain.clients import available, choose, training_seed
from tests.unit.rondo_dispatcher.world import START

CLIENTS = st.sets(st.text("abcdefgh", min_size=1, max_size=4), max_size=12)


def client(name: str, *, seconds_ago: float) -> ClientRow:
    return ClientRow(
        client_id=name,
        model="digits",
        name=name,
        public_key=b"k",
        enrolled_at=START,
        last_seen=START - timedelta(seconds=seconds_ago),
    )


def test_available_is_who_polled_within_sixty_seconds() -> None:
    rows = [
        client("c", seconds_ago=60),
        client("b", seconds_ago=60.001),
        client("a", seconds_ago=0),
    ]

    assert available(rows, now=START) == ("a", "c")


def test_available_takes_a_client_whose_gateway_has_a_clock_that_is_ahead() -> None:
    assert available([client("a", seconds_ago=-5)], now=START) == ("a",)


@given(CLIENTS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_choose_does_not_depend_on_the_order_of_the_candidates(
    clients: set[str], count: int, random: object
) -> None:
    shuffled = sorted(clients)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random

    chosen = choose(shuffled, run_id="run", round_=3, count=count)

    assert chosen == choose(sorted(clients), run_id="run", round_=3, count=count)
    assert len(chosen) == min(count, len(clients))
    assert list(chosen) == sorted(set(chosen) & clients)


@given(CLIENTS.filter(bool), st.integers(1, 5))
def test_choose_replaces_at_most_one_client_when_one_more_is_there(
    clients: set[str], count: int
) -> None:
    before = set(choose(clients, run_id="run", round_=1, count=count))

    after = set(choose(clients | {"newcomer"}, run_id="run", round_=1, count=count))

    assert len(before - after) <= 1
    assert after - before <= {"newcomer"}


def test_choose_takes_every_client_about_equally_often() -> None:
    clients = [f"client-{number}" for number in range(10)]

    taken = Counter(
        client
        for round_ in range(1, 1001)
        for client in choose(clients, run_id="run", round_=round_, count=3)
    )

    assert sum(taken.values()) == 3000
    assert all(240 < taken[client] < 360 for client in clients)


def test_choose_always_takes_who_is_always_chosen_and_leaves_the_other_places_as_they_were() -> (
    None
):
    clients = [f"client-{number}" for number in range(50)]

    for round_ in range(20):
        plain = choose(clients, run_id="run", round_=round_, count=5)
        chosen = choose(clients, run_id="run", round_=round_, count=5, always="client-7")

        assert "client-7" in chosen
        assert len(chosen) == 5
        assert len(set(plain) - set(chosen)) <= 1


def test_choose_takes_others_in_another_run() -> None:
    clients = [f"client-{number}" for number in range(50)]

    assert choose(clients, run_id="a", round_=1, count=10) != choose(
        clients, run_id="b", round_=1, count=10
    )


def test_training_seed_differs_by_client_and_round_and_fits_a_signed_integer() -> None:
    seeds = {
        training_seed("run", round_, client) for round_ in range(20) for client in ("a", "b", "c")
    }

    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)
