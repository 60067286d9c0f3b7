"""Strategies as pure functions: hand-worked numbers, and the same bits however the work is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rondo_aggregator.domain.shards import split
from rondo_aggregator.strategies.client_weights.examples import examples_weights
from rondo_aggregator.strategies.combination import BLOCK_COLUMNS, combine_columns, strategy_named
from rondo_core.errors import EmptyRound, Invalid, LayoutMismatch
from rondo_core.layout import Float32Array

FEDAVG = strategy_named("fedavg")


def columns(*values: float) -> Float32Array:
    return np.array(values, np.float32)


def test_fedavg_of_two_clients_is_their_mean_by_examples() -> None:
    base = columns(1, 1, 1)

    version = combine_columns(FEDAVG, base, [columns(4, 0, 1), columns(0, 8, 1)], [30, 10])

    assert version.tolist() == [4.0, 3.0, 2.0]
    assert base.tolist() == [1.0, 1.0, 1.0]


def test_fedavg_of_one_client_is_what_it_trained() -> None:
    assert combine_columns(FEDAVG, columns(1), [columns(0.5)], [7]).tolist() == [1.5]


def test_a_sum_beyond_float32_is_kept_in_float64() -> None:
    large = columns(3e38)

    version = combine_columns(FEDAVG, columns(0), [large, large, large], [1, 1, 1])

    assert version.tolist() == large.tolist()


def test_small_deltas_are_not_lost_beside_large_weights() -> None:
    # In float32 1e8 + 1 is 1e8; the mean of 1e8 ones and a single 1e8 would lose the ones.
    version = combine_columns(FEDAVG, columns(0), [columns(1), columns(1e8)], [10**8, 1])

    assert version.tolist() == [np.float32(2e8 / (1e8 + 1))]


def test_nothing_to_combine_is_an_empty_round_and_no_zero_model() -> None:
    with pytest.raises(EmptyRound, match="no example behind 0 updates"):
        combine_columns(FEDAVG, columns(1), [], [])


def test_a_total_weight_of_zero_is_an_empty_round() -> None:
    with pytest.raises(EmptyRound, match="no example behind 2 updates"):
        combine_columns(FEDAVG, columns(1), [columns(1), columns(2)], [0, 0])


def test_a_client_without_examples_counts_nothing_beside_others() -> None:
    assert combine_columns(FEDAVG, columns(0), [columns(9), columns(2)], [0, 4]).tolist() == [2.0]


def test_a_negative_number_of_examples_is_refused() -> None:
    with pytest.raises(EmptyRound, match="-1 examples"):
        examples_weights([3, -1])


def test_a_result_beyond_float32_is_refused_and_names_the_column() -> None:
    with pytest.raises(Invalid, match="column 1 of the result is inf"):
        combine_columns(FEDAVG, columns(0, 3e38), [columns(0, 3e38)], [1])


def test_an_update_of_another_length_is_refused() -> None:
    with pytest.raises(LayoutMismatch, match=r"update 1: shape \(1,\), expected \(2,\)"):
        combine_columns(FEDAVG, columns(1, 2), [columns(1, 2), columns(1)], [1, 1])


def test_an_unknown_strategy_is_refused_and_names_the_known() -> None:
    with pytest.raises(Invalid, match="'best' is none of fedavg"):
        strategy_named("best")


def test_blocks_leave_no_seam() -> None:
    size = 2 * BLOCK_COLUMNS + 3
    base, delta = np.ones(size, np.float32), np.arange(size, dtype=np.float32)

    version = combine_columns(FEDAVG, base, [delta, -delta, delta], [1, 1, 1])

    assert version.tolist() == (1 + delta.astype(np.float64) / 3).astype(np.float32).tolist()


finite = st.floats(-(2.0**100), 2.0**100, width=32)
rounds = st.integers(1, 40).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.float32, size, elements=finite),
        st.lists(
            st.tuples(hnp.arrays(np.float32, size, elements=finite), st.integers(1, 10**9)),
            min_size=1,
            max_size=5,
        ),
    )
)


@given(rounds, st.sampled_from([1, 2, 7]))
def test_any_number_of_shards_gives_the_same_bytes(
    given_round: tuple[Float32Array, list[tuple[Float32Array, int]]], shards: int
) -> None:
    base, updates = given_round
    deltas, examples = [delta for delta, _ in updates], [number for _, number in updates]

    whole = combine_columns(FEDAVG, base, deltas, examples)
    parts = [
        combine_columns(
            FEDAVG,
            base[shard.start : shard.stop],
            [delta[shard.start : shard.stop] for delta in deltas],
            examples,
        )
        for shard in split(base.size, -(-base.size // shards))
    ]

    assert b"".join(part.tobytes() for part in parts) == whole.tobytes()


@given(rounds)
def test_the_result_is_the_textbook_formula_in_float64_bit_for_bit(
    given_round: tuple[Float32Array, list[tuple[Float32Array, int]]],
) -> None:
    base, updates = given_round
    total = np.zeros(base.size, np.float64)
    for delta, examples in updates:
        total += np.float64(examples) * delta.astype(np.float64)
    mean = total / np.float64(sum(examples for _, examples in updates))

    version = combine_columns(FEDAVG, base, [one for one, _ in updates], [n for _, n in updates])

    assert version.tobytes() == (base.astype(np.float64) + mean).astype(np.float32).tobytes()
