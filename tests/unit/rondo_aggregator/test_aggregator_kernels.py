"""The kernels give the same bits as machine code and as plain Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from rondo_aggregator.strategies import kernels
from rondo_aggregator.strategies.column_rules.bulyan import near_median
from rondo_aggregator.strategies.column_rules.median import median
from rondo_aggregator.strategies.column_rules.trimmed_mean import trimmed_mean
from rondo_aggregator.strategies.column_rules.weighted_mean import add_weighted
from rondo_aggregator.strategies.kernels import compiled
from rondo_aggregator.strategies.sorting import pairs_for, sorting_network
from rondo_core.encodings import Halves, ScaledBytes, encode, form_of
from rondo_core.layout import Float32Array, Layout, TensorSpec
from rondo_core.strategy_parameters.column_rules import NearMedian, Nothing, TrimmedMean

KERNELS = sorted(set(kernels.__all__) - {"compiled", "warm"})
RNG = np.random.default_rng(8)


def values(*shape: int) -> Float32Array:
    """Return values of many sizes, among them the limits of float32."""
    found = (RNG.normal(size=shape) * 10.0 ** RNG.integers(-30, 30, shape)).astype(np.float32)
    found.flat[:4] = [3.4e38, -3.4e38, 1e-45, 0.0]
    return found


def both(kernel: Callable[..., None], *arguments: Any, written: int) -> tuple[bytes, bytes]:
    """Run a kernel in both ways; return the bytes of the argument that it writes."""
    results = []
    for one in (kernel, compiled(kernel)):
        copies = [item.copy() if isinstance(item, np.ndarray) else item for item in arguments]
        one(*copies)
        results.append(copies[written].tobytes())
    return results[0], results[1]


def test_sums_are_the_same() -> None:
    total, weights, deltas = RNG.normal(size=40), RNG.normal(size=4), tuple(values(4, 40))

    plain, fast = both(kernels.add_one, total, weights[1], deltas[0], written=0)
    assert fast == plain
    plain, fast = both(kernels.add_four, total, weights, deltas, written=0)
    assert fast == plain
    one_by_one = total.copy()
    for weight, delta in zip(weights, deltas, strict=True):
        kernels.add_one(one_by_one, weight, delta)
    assert plain == one_by_one.tobytes()


@pytest.mark.parametrize(("shift", "factor"), [(13, 2.0**112), (16, 1.0)])
def test_sums_of_halves_are_the_same_and_those_of_what_they_stand_for(
    shift: int, factor: float
) -> None:
    total, weights = RNG.normal(size=40), RNG.normal(size=4)
    codes = tuple(RNG.integers(0, 2**16, (4, 40), np.uint16) & np.uint16(0xBBFF))  # all finite
    kind = (np.uint32(shift), np.float32(factor))

    plain, fast = both(kernels.add_four_halves, total, weights, codes, *kind, written=0)

    for weight, one in zip(weights, codes, strict=True):
        kernels.add_one(total, weight, Halves(one, *kind)[:])
    assert fast == plain == total.tobytes()


def test_sums_of_bytes_are_the_same_and_those_of_what_they_stand_for() -> None:
    total, weights, scales = RNG.normal(size=40), RNG.normal(size=4), values(4)
    scales[:2] = [1e-45, 2.6e36]
    codes = tuple(RNG.integers(-128, 128, (4, 40), np.int8))

    plain, fast = both(kernels.add_four_bytes, total, weights, codes, scales, written=0)

    ends = np.array([40])
    for k, one in enumerate(codes):
        kernels.add_one(total, weights[k], ScaledBytes(one, scales[k : k + 1], ends)[:])
    assert fast == plain == total.tobytes()


@pytest.mark.parametrize("kernel", [kernels.add_products, kernels.add_squares])
def test_products_are_the_same_also_where_the_machine_fuses(kernel: Callable[..., None]) -> None:
    turned = values(8, 6).astype(np.float64)
    sums = np.zeros((6, 6) if kernel is kernels.add_products else 6)

    plain, fast = both(kernel, turned, sums, written=1)

    upper = [np.frombuffer(data).reshape(sums.shape) for data in (plain, fast)]
    assert np.triu(upper[0]).tobytes() == np.triu(upper[1]).tobytes()


def test_products_with_one_client_are_the_same_also_where_the_machine_fuses() -> None:
    turned = values(8, 6).astype(np.float64)
    pairs = np.zeros((6, 6))
    kernels.add_products(turned, pairs)

    plain, fast = both(kernels.add_products_with, turned, 0, np.zeros(6), written=2)

    assert plain == fast == pairs[0].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clients", [1, 2, 3, 7, 10, 16, 33])
def test_sorting_is_the_same_and_is_numpys(clients: int, dtype: type[Any]) -> None:
    block = values(max(clients, 2), 30)[:clients].astype(dtype)
    pairs = pairs_for(clients, 0, clients)

    plain, fast = both(kernels.sort_columns, block, pairs, written=0)

    assert fast == plain == np.sort(block, axis=0).tobytes()


@pytest.mark.parametrize("clients", [2, 5, 12, 31])
def test_a_network_cut_down_to_some_places_sorts_those(clients: int) -> None:
    block = RNG.normal(size=(clients, 20))
    middle = slice(clients // 3, clients - clients // 3)
    pairs = pairs_for(clients, middle.start, middle.stop)
    ordered = np.sort(block, axis=0)[middle]

    compiled(kernels.sort_columns)(block, pairs)

    assert len(pairs) <= len(sorting_network(clients))
    assert block[middle].tobytes() == ordered.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_last_steps_of_the_order_statistics_are_the_same(dtype: type[Any]) -> None:
    block = np.sort(values(9, 25), axis=0).astype(dtype)

    plain, fast = both(kernels.add_rows, block, np.zeros(25), written=1)
    assert fast == plain
    for near in (1, 4, 9):
        plain, fast = both(kernels.mean_near_median, block, near, np.zeros(25), written=2)
        assert fast == plain


def test_warming_compiles_everything_for_what_the_rules_pass() -> None:
    kernels.warm()
    before = {name: set(compiled(getattr(kernels, name)).signatures) for name in KERNELS}

    for block in (values(7, 3), values(7, 3).astype(np.float64)):
        median(block.copy(), np.ones(7), Nothing())
        trimmed_mean(block.copy(), np.ones(7), TrimmedMean(trim=0.2))
        near_median(block.copy(), np.ones(7), NearMedian())
    layout = Layout((TensorSpec("a/a", (3,)),))
    for encoding in ("float16", "bfloat16", "int8", "top-k:0.4"):
        data = memoryview(encode(layout, np.ones(3, np.float32), encoding, RNG))
        delta = form_of(layout, encoding).columns_of_file(data, 0, 3)
        add_weighted(np.zeros(3), [delta], np.ones(1))

    after = {name: set(compiled(getattr(kernels, name)).signatures) for name in KERNELS}
    assert all(before.values())
    assert after == before


def test_where_nothing_can_be_written_kernels_are_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    total = np.zeros(2)

    compiled.__wrapped__(kernels.add_rows)(np.ones((3, 2)), total)

    assert total.tolist() == [3.0, 3.0]
