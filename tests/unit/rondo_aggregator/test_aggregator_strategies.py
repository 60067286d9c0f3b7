"""Strategies as pure functions: the same bits however the work is cut, and what they refuse."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rondo_aggregator.strategies import combination, rounds
from rondo_aggregator.strategies.client_weights.adaptive_clip import adaptively_clipped
from rondo_aggregator.strategies.cohort import Cohort, Mix, decode_mix, encode_mix, mix_of
from rondo_aggregator.strategies.combination import BLOCK_COLUMNS, ColumnRule, order_columns
from rondo_aggregator.strategies.inputs import Inputs, in_turn
from rondo_aggregator.strategies.products import BLOCK_COLUMNS as LEAF
from rondo_aggregator.strategies.products import Kept, decode_nodes, joined, leaf, total
from rondo_aggregator.strategies.registry import named
from rondo_aggregator.strategies.rounds import columns_of, mix_of_round, products_of
from rondo_core.errors import EmptyRound, Invalid, StrategyInvalid
from rondo_core.events import Scalar
from rondo_core.layout import Float32Array
from rondo_core.strategy_names import STRATEGIES
from rondo_core.strategy_parameters.client_weights import AdaptiveClip
from tests.unit.rondo_aggregator.played_rounds import Played, columns, play

SETTINGS: dict[str, dict[str, Scalar]] = {
    "fltrust": {"root": "client-000"},
    "centred-clip": {"radius": 0.5, "clip_iterations": 3},
    "fedbuff": {"max_staleness": 3},
    "scaffold": {"population": 20},
}
ALL = sorted(STRATEGIES)
LINEAR = ("fedavg", "equal-mean", "geometric-median", "fedavgm", "fednova", "scaffold")


def played(name: str, deltas: list[Float32Array], **options: object) -> Played:
    return play(name, SETTINGS.get(name, {}), deltas, **options)  # type: ignore[arg-type]


def random_deltas(clients: int, size: int, seed: int = 3) -> list[Float32Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=size).astype(np.float32) for _ in range(clients)]


@pytest.mark.parametrize("name", ALL)
def test_any_number_of_shards_gives_the_same_bytes_also_of_the_state(name: str) -> None:
    size = 2 * LEAF + 77
    deltas = random_deltas(9, size)
    whole = [played(name, deltas)]
    whole.append(played(name, deltas, before=whole[0]))

    for shards in (2, 7, 64):
        cut = [played(name, deltas, shards=shards)]
        cut.append(played(name, deltas, before=cut[0], shards=shards))

        for one, other in zip(cut, whole, strict=True):
            assert one.weights.tobytes() == other.weights.tobytes()
            assert one.mix == other.mix
            assert {name: slot.tobytes() for name, slot in one.slots.items()} == {
                name: slot.tobytes() for name, slot in other.slots.items()
            }


def test_how_a_round_is_cut_into_stretches_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    deltas = random_deltas(11, 5000)
    names = ("fedavg", "trimmed-mean", "geometric-median", "clipped-mean")
    whole = {name: played(name, deltas).weights.tobytes() for name in names}
    monkeypatch.setattr(rounds, "_STRETCH_VALUES", 11 * 77)
    monkeypatch.setattr(combination, "_BLOCK_VALUES", 11 * 16)

    for name, expected in whole.items():
        found = played(name, deltas, group=3, stretch_columns=333)
        assert found.weights.tobytes() == expected


finite = st.floats(-(2.0**100), 2.0**100, width=32)
updates = st.integers(1, 40).flatmap(
    lambda size: st.lists(
        st.tuples(hnp.arrays(np.float32, size, elements=finite), st.integers(1, 10**9)),
        min_size=1,
        max_size=9,
    )
)
Updates = list[tuple[Float32Array, int]]


@given(updates)
def test_fedavg_is_the_textbook_formula_in_float64_bit_for_bit(given_round: Updates) -> None:
    summed = np.zeros(given_round[0][0].size, np.float64)
    for delta, number in given_round:
        summed += np.float64(number) * delta.astype(np.float64)
    mean = summed / np.float64(sum(number for _, number in given_round))
    deltas, examples = [one for one, _ in given_round], [number for _, number in given_round]

    version = play("fedavg", {}, deltas, examples=examples)

    assert version.weights.tobytes() == (0 + mean).astype(np.float32).tobytes()


@given(updates)
def test_the_median_is_numpys_bit_for_bit(given_round: Updates) -> None:
    deltas = [delta for delta, _ in given_round]
    low, high = (len(deltas) - 1) // 2, len(deltas) // 2
    ordered = np.sort(np.stack(deltas).astype(np.float64), axis=0)

    version = play("median", {}, deltas)

    expected = ordered[low] + (ordered[high] - ordered[low]) / 2
    assert version.weights.tolist() == expected.astype(np.float32).tolist()


modest = st.floats(-100, 100, width=32)
crowds = st.tuples(st.integers(1, 8), st.integers(7, 12)).flatmap(
    lambda shape: hnp.arrays(np.float32, (shape[1], shape[0]), elements=modest)
)


@pytest.mark.parametrize(
    "name", [name for name in ALL if name not in {"krum", "multi-krum", "bulyan", "fltrust"}]
)
@settings(max_examples=20)
@given(crowd=crowds, seed=st.integers(0, 1000))
def test_a_permutation_of_the_clients_moves_nothing(
    name: str, crowd: Float32Array, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(crowd))

    straight = played(name, list(crowd)).weights
    permuted = played(name, list(crowd[order])).weights

    np.testing.assert_allclose(permuted, straight, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["krum", "bulyan", "multi-krum"])
def test_selections_follow_the_clients_and_not_their_places(name: str) -> None:
    # With three attackers no pass of Bulyan comes down to one neighbour, where scores tie.
    deltas = random_deltas(15, 50)

    straight = play(name, {"attackers": 3}, deltas).weights
    reversed_ = play(name, {"attackers": 3}, deltas[::-1]).weights

    np.testing.assert_allclose(reversed_, straight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LINEAR)
def test_scaling_all_weights_by_a_power_of_two_moves_no_bit(name: str) -> None:
    deltas = random_deltas(5, 40)

    once = played(name, deltas, examples=[3, 1, 4, 1, 5])
    more = played(name, deltas, examples=[3 * 1024, 1024, 4 * 1024, 1024, 5 * 1024])

    assert once.weights.tobytes() == more.weights.tobytes()


@pytest.mark.parametrize(
    "name", [name for name in ALL if STRATEGIES[name].server_optimizer == "none"]
)
def test_identical_updates_are_their_own_combination(name: str) -> None:
    delta = columns(0.25, -0.5, 0.0, 0.0625)
    options = {"clip_norm": 10.0} if name == "clipped-mean" else SETTINGS.get(name, {})
    if name == "adaptive-clipped-mean":
        options = {"initial_clip_norm": 10.0}

    version = play(name, options, [delta] * 7)

    np.testing.assert_allclose(version.weights, delta, atol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_updates_of_zeros_leave_the_model_as_it_is(name: str) -> None:
    base = columns(1, -2, 3)

    version = played(name, [columns(0, 0, 0)] * 7, base=base)

    assert version.weights.tolist() == base.tolist()


@pytest.mark.parametrize(
    "name", [name for name in ALL if name not in {"krum", "multi-krum", "bulyan", "fltrust"}]
)
def test_one_survivor_is_combined_as_well_as_many(name: str) -> None:
    version = played(name, [columns(0.03125, 0)])

    assert version.weights[0] > 0
    assert version.weights[1] == 0


@pytest.mark.parametrize(
    ("name", "parameters", "clients", "rule"),
    [
        ("krum", {"attackers": 1}, 4, "krum with 1 attackers needs more than 2 x 1 \\+ 2 updates"),
        ("multi-krum", {"attackers": 2}, 6, "more than 2 x 2 \\+ 2 updates, and there are 6"),
        ("multi-krum", {"selected": 8}, 7, "selected 8 of 7"),
        ("bulyan", {"attackers": 1}, 6, "bulyan with 1 attackers needs at least 4 x 1 \\+ 3"),
        ("krum", {}, 1, "krum with 1 attackers"),
        ("bulyan", {}, 1, "bulyan with 1 attackers"),
        ("scaffold", {"population": 2}, 3, "3 updates in a round of a population of 2"),
        ("fltrust", {"root": "nobody"}, 3, "the root client 'nobody' has no update"),
        (
            "composed",
            {"client_weights": "clip", "column_rule": "centred-clip"},
            3,
            "centred-clip clips by itself",
        ),
        (
            "composed",
            {"client_weights": "krum", "column_rule": "bulyan"},
            7,
            "bulyan keeps 1 - 2 x 1 values",
        ),
    ],
)
def test_too_few_or_unfit_updates_are_refused_with_the_rule(
    name: str, parameters: dict[str, Scalar], clients: int, rule: str
) -> None:
    with pytest.raises(StrategyInvalid, match=rule):
        play(name, parameters, random_deltas(clients, 4))


def test_trimming_that_leaves_nobody_is_refused() -> None:
    with pytest.raises(EmptyRound, match="trimming 2 of 4 clients on each side leaves nobody"):
        play("trimmed-mean", {"trim": 0.4999999999}, random_deltas(4, 4))


def test_no_updates_and_no_weights_are_an_empty_round() -> None:
    with pytest.raises(EmptyRound, match="no example behind 2 updates"):
        play("fedavg", {}, random_deltas(2, 4), examples=[0, 0])
    with pytest.raises(EmptyRound, match="-1 examples"):
        play("fedavg", {}, random_deltas(2, 4), examples=[3, -1])
    with pytest.raises(EmptyRound, match="the weights of 0 clients sum to 0"):
        mix_of([])
    with pytest.raises(EmptyRound, match="none of 2 updates has a staleness of at most 3"):
        played("fedbuff", random_deltas(2, 4), staleness=[4, 5])
    with pytest.raises(EmptyRound, match="no client is there to average"):
        named("scaffold", {"population": 9}, owned=lambda _: None).mix(Cohort([], []))
    with pytest.raises(EmptyRound, match="no client is left for the column rule"):
        order_columns(ColumnRule(), [], [], [])


def test_an_examples_count_of_zero_counts_nothing_beside_others() -> None:
    version = play("fedavg", {}, [columns(9), columns(2)], examples=[0, 4])

    assert version.weights.tolist() == [2.0]


def test_fedbuff_leaves_out_and_does_not_count_what_is_too_old() -> None:
    version = played("fedbuff", [columns(1), columns(50)], staleness=[0, 4])

    assert version.weights.tolist() == [1.0]


def test_another_staleness_exponent_is_a_power() -> None:
    deltas = [columns(1), columns(8)]

    version = play("fedbuff", {"staleness_exponent": 1.0}, deltas, staleness=[0, 1])

    assert version.weights.tolist() == [2.5]


@pytest.mark.parametrize("name", ["fednova", "scaffold"])
@pytest.mark.parametrize("steps", [[2.0, None], [2.0, 0.5], [2.0, float("nan")]])
def test_who_does_not_say_how_many_steps_it_took_cannot_be_weighed(
    name: str, steps: list[float | None]
) -> None:
    with pytest.raises(StrategyInvalid, match=r"client-001 declared (None|0\.5|nan) local steps"):
        played(name, random_deltas(2, 4), steps=steps)


def test_fednova_caps_examples_and_with_equal_steps_it_is_fedavg() -> None:
    deltas, examples = random_deltas(3, 9), [3, 1, 9]

    nova = play("fednova", {"examples_cap": 5}, deltas, examples=examples, steps=[7.5] * 3)
    avg = play("fedavg", {"examples_cap": 5}, deltas, examples=examples)

    assert nova.weights.tobytes() == avg.weights.tobytes()


def test_the_control_variate_moves_by_the_share_of_all_clients_and_not_of_those_in_the_round() -> (
    None
):
    # N = 4. Round 1, c = 0: c_k' - c_k = -c - D/a = 2/1 and 8/2, so c = (2 + 4)/4.
    first = play("scaffold", {"population": 4}, [columns(-2), columns(-8)], steps=[1, 2])
    # Round 2, one client: c_k' - c_k = -1.5 + 4/2, so c = 1.5 + 0.5/4.
    second = play("scaffold", {"population": 4}, [columns(-4)], steps=[2], before=first)

    assert first.slots["control"].tolist() == [1.5]
    assert second.slots["control"].tolist() == [1.625]


@pytest.mark.parametrize(
    "parts",
    [
        {"column_rule": "median"},
        {"column_rule": "geometric-median"},
        {"column_rule": "centred-clip"},
        {"server_optimizer": "adam"},
    ],
)
def test_the_control_variate_is_the_same_beside_any_other_part(parts: dict[str, Scalar]) -> None:
    deltas, steps = random_deltas(5, 2 * LEAF + 3), [1.0, 2.0, 3.0, 4.0, 5.0]
    choice: dict[str, Scalar] = {"client_weights": "scaffold", "population": 9}
    alone, beside = (
        play(name, given_parameters, deltas, steps=steps)
        for name, given_parameters in (
            ("scaffold", {"population": 9}),
            ("composed", {**choice, **parts}),
        )
    )
    alone, beside = (
        play(name, given_parameters, deltas, steps=steps, before=before, shards=3)
        for name, given_parameters, before in (
            ("scaffold", {"population": 9}, alone),
            ("composed", {**choice, **parts}, beside),
        )
    )

    assert alone.slots["control"].tobytes() == beside.slots["control"].tobytes()
    assert alone.slots["control"].any()


@pytest.mark.parametrize("name", ["fedavg", "median", "krum", "geometric-median"])
def test_values_near_the_limit_of_float32_do_not_overflow_on_the_way(name: str) -> None:
    large = columns(3e38, -3e38)

    assert played(name, [large] * 5).weights.tolist() == large.tolist()


def test_a_result_beyond_float32_is_refused_and_names_the_column() -> None:
    large = columns(0, 3e38)

    with pytest.raises(Invalid, match="column 1 of the result is inf"):
        play("fedavg", {}, [large], base=large)


def test_a_state_beyond_float32_is_refused_and_names_it() -> None:
    with pytest.raises(Invalid, match="column 0 of the second is inf"):
        play("fedadam", {}, [columns(1e30)])


def test_a_refused_column_is_named_by_its_place_in_the_model() -> None:
    base = np.zeros(10, np.float32)
    base[7] = 3e38

    with pytest.raises(Invalid, match="column 7 of the result is inf"):
        play("fedavg", {}, [base], base=base, shards=2)


def test_values_that_are_not_finite_never_come_through() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(Invalid, match=r"is (nan|inf)"):
            play("fedavg", {}, [columns(bad), columns(1)])
        with pytest.raises(Invalid, match="beyond float64"):
            play("krum", {}, [columns(bad), *random_deltas(5, 1)])


def test_a_mix_that_is_not_finite_is_refused() -> None:
    with pytest.raises(EmptyRound, match="weight is inf, not a finite number"):
        Mix((1.0,), (np.inf,), 1.0)


@pytest.mark.parametrize(("norm", "length"), [(1e-38, 0.0), (3e38, 1e300)])
def test_a_clipping_norm_neither_vanishes_nor_overflows(norm: float, length: float) -> None:
    cohort = Cohort(["a", "b"], [1, 1], products=np.diag([length] * 2), scalars={"clip_norm": norm})

    mix = adaptively_clipped(cohort, AdaptiveClip(clip_learning_rate=10.0))

    assert np.finfo(np.float32).tiny <= mix.scalars["clip_norm"] <= np.finfo(np.float32).max


def test_a_mix_comes_back_from_its_bytes_to_the_last_bit() -> None:
    mix = Mix((0.1, 1 / 3), (1e-300, 2.0), 7.1, 0.3, {"clip_norm": 0.1})

    assert decode_mix(encode_mix(mix)) == mix
    with pytest.raises(Invalid, match="not a mix"):
        decode_mix(b"{}")


def test_a_rule_that_looks_at_products_says_so_when_there_are_none() -> None:
    with pytest.raises(Invalid, match="needs the inner products"):
        _ = Cohort(["a"], [1]).norms


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_tree_of_products_is_the_same_however_it_is_cut(
    leaves: int, first: int, second: int
) -> None:
    rng = np.random.default_rng(leaves)
    nodes = [
        leaf(index, [list(rng.normal(size=(3, 5)).astype(np.float32))], Kept(pairs=True))
        for index in range(leaves)
    ]
    cuts = sorted({0, min(first, leaves), min(second, leaves), leaves})
    shards = [joined(nodes[a:b]) for a, b in pairwise(cuts)]

    merged = total([node for shard in shards for node in shard])

    assert merged.tobytes() == total(nodes).tobytes()


@pytest.mark.parametrize("root", range(5))
def test_products_are_those_of_numpy_and_fewer_of_them_have_the_same_bits(root: int) -> None:
    deltas = random_deltas(5, 1500)
    stacked = np.stack(deltas).astype(np.float64)

    pairs = leaf(0, [deltas], Kept(pairs=True)).sums
    norms = leaf(0, [deltas], Kept()).sums
    rooted = leaf(0, [deltas], Kept(root=root)).sums

    np.testing.assert_allclose(pairs, stacked @ stacked.T, rtol=1e-12, atol=1e-10)
    assert (norms.shape, rooted.shape) == ((1, 5), (2, 5))
    assert norms[0].tobytes() == rooted[0].tobytes() == np.diag(pairs).tobytes()
    assert rooted[1].tobytes() == pairs[root].tobytes()


@pytest.mark.parametrize("name", ["clipped-mean", "adaptive-clipped-mean", "fltrust"])
def test_a_strategy_that_needs_few_products_decides_as_it_does_of_all(name: str) -> None:
    deltas = random_deltas(7, 2 * LEAF + 9)
    strategy = named(name, SETTINGS.get(name, {}), owned=lambda _: None)
    clients = [f"client-{k:03}" for k in range(7)]
    inputs = Inputs(
        columns=deltas[0].size,
        clients=clients,
        examples=[1] * 7,
        base=lambda start, stop: np.zeros(stop - start, np.float32),
        read=in_turn(lambda client, start, stop: deltas[client][start:stop]),
    )
    nodes = products_of(strategy, inputs, 0, inputs.columns)
    whole = products_of(replace(strategy, need="products"), inputs, 0, inputs.columns)

    few = mix_of_round(strategy, inputs, nodes)
    all_ = strategy.mix(Cohort(clients, inputs.examples, products=total(whole)))

    assert {node.sums.shape for node in nodes} == {(1 + (name == "fltrust"), 7)}
    assert encode_mix(few) == encode_mix(all_)


@pytest.mark.parametrize("data", [b"", b"\1" + bytes(7), b"\1" + bytes(99), bytes(8)])
def test_bytes_that_are_no_products_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="are not 3 x 3 products"):
        decode_nodes(data, (3, 3))


def test_of_clients_that_do_not_count_no_column_is_read() -> None:
    deltas, seen = random_deltas(3, 4), list[int]()

    def one(client: int, start: int, stop: int) -> Float32Array:
        seen.append(client)
        return deltas[client][start:stop]

    inputs = Inputs(
        columns=4,
        clients="abc",
        examples=[1, 1, 1],
        base=lambda start, stop: np.zeros(stop - start, np.float32),
        read=in_turn(one),
    )
    for name in ("fedavg", "median"):
        strategy = named(name, {}, owned=lambda _: None)
        found = columns_of(strategy, mix_of([0.0, 2.0, 0.0]), inputs, 0, 4)

        assert found.weights.tobytes() == deltas[1].tobytes()

    assert seen == [1, 1]


def test_blocks_leave_no_seam() -> None:
    size = 2 * BLOCK_COLUMNS + 3
    base, delta = np.ones(size, np.float32), np.arange(size, dtype=np.float32)

    version = play("fedavg", {}, [delta, -delta, delta], base=base)

    assert (
        version.weights.tolist() == (1 + delta.astype(np.float64) / 3).astype(np.float32).tolist()
    )


def test_an_unknown_strategy_is_refused_and_names_the_known() -> None:
    with pytest.raises(StrategyInvalid, match="unknown strategy 'best'; known: adaptive-clipped"):
        named("best", {}, owned=lambda _: None)
    with pytest.raises(StrategyInvalid, match=r"'acme\.best' is not installed where rounds are"):
        named("acme.best", {}, owned=lambda _: None)
