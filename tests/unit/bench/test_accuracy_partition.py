"""Splits: every example to exactly one client, by the rule that the split is named after."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.accuracy.partition import Partition, by_dirichlet, by_labels, evenly
from rondo_core.errors import Invalid

SPLITS: dict[str, Partition] = {
    "evenly": evenly,
    "dirichlet": by_dirichlet(0.5),
    "labels": by_labels(2),
}


def labels_of(each: int, kinds: int = 10) -> NDArray[np.int32]:
    """Return so many examples of each label, mixed."""
    return np.tile(np.arange(kinds, dtype=np.int32), each)


@pytest.mark.parametrize("name", SPLITS)
@given(seed=st.integers(0, 1000), clients=st.integers(10, 14))
def test_every_example_goes_to_exactly_one_client(name: str, seed: int, clients: int) -> None:
    labels = labels_of(60)

    parts = SPLITS[name](labels, clients, np.random.default_rng(seed))

    assert len(parts) == clients
    assert sorted(np.concatenate(parts)) == list(range(600))


@pytest.mark.parametrize("name", SPLITS)
def test_the_same_seed_splits_alike_and_another_one_does_not(name: str) -> None:
    first, again, other = (
        np.concatenate(SPLITS[name](labels_of(60), 10, np.random.default_rng(seed)))
        for seed in (1, 1, 2)
    )

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_a_label_whose_drawn_clients_are_full_goes_to_those_that_are_not() -> None:
    parts = by_dirichlet(1e-4)(labels_of(60), 20, np.random.default_rng(0))

    assert sorted(np.concatenate(parts)) == list(range(600))


def test_an_even_split_has_parts_of_one_size_and_mixed_labels() -> None:
    labels = labels_of(60)

    parts = evenly(labels, 7, np.random.default_rng(0))

    assert {len(part) for part in parts} == {85, 86}
    assert all(len(np.unique(labels[part])) == 10 for part in parts)


@given(st.integers(0, 1000))
def test_a_dirichlet_split_leaves_nobody_below_ten(seed: int) -> None:
    parts = by_dirichlet(0.5)(labels_of(60), 10, np.random.default_rng(seed))

    assert min(map(len, parts)) >= 10


def test_a_small_concentration_skews_more_than_a_large_one() -> None:
    labels = labels_of(600)

    def largest_share(concentration: float) -> float:
        parts = by_dirichlet(concentration)(labels, 10, np.random.default_rng(3))
        counts = [np.bincount(labels[part], minlength=10) for part in parts]
        return float(np.mean([count.max() / count.sum() for count in counts]))

    assert largest_share(100.0) < 0.15
    assert largest_share(0.1) > 0.3


@given(st.integers(0, 1000), st.integers(1, 3))
def test_clients_have_so_many_labels_and_share_each_evenly(seed: int, number: int) -> None:
    labels = labels_of(60)

    parts = by_labels(number)(labels, 10, np.random.default_rng(seed))

    owned = [set(labels[part].tolist()) for part in parts]
    assert [len(mine) for mine in owned] == [number] * 10
    assert all(client in mine for client, mine in enumerate(owned))
    for label in range(10):
        sizes = [int((labels[part] == label).sum()) for part in parts]
        having = [size for size in sizes if size]
        assert max(having) - min(having) <= 1


@pytest.mark.parametrize(
    ("partition", "clients", "text"),
    [
        (evenly, 700, "without an example"),
        (by_dirichlet(0.5), 61, "61 times 10"),
        (by_dirichlet(0.5), 60, r"no split by Dir\(0.5\) leaves 60"),
        (by_labels(11), 10, "11 labels each"),
        (by_labels(0), 10, "0 labels each"),
        (by_labels(2), 9, "for 9 clients, of 10 labels"),
    ],
)
def test_a_split_that_cannot_be_is_refused(partition: Partition, clients: int, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        partition(labels_of(60), clients, np.random.default_rng(0))
