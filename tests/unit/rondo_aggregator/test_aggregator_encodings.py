"""Rounds of encoded updates: the bytes of the same round of what the files stand for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rondo_aggregator.handlers import inputs
from rondo_aggregator.strategies.column_rules.weighted_mean import add_weighted
from rondo_aggregator.strategies.products import BLOCK_COLUMNS
from rondo_core.encodings import decode, encode, form_of
from rondo_core.events import Scalar
from rondo_core.layout import Float32Array, Layout, TensorSpec
from tests.unit.rondo_aggregator.aggregator_world import World
from tests.unit.rondo_aggregator.played_rounds import play
from tests.unit.rondo_aggregator.round_rows import ATTEMPT, CLIENTS, LAYOUT

LARGE = Layout(
    (
        TensorSpec("dense/kernel", (BLOCK_COLUMNS + 5,)),
        TensorSpec("dense/bias", (11,)),
        TensorSpec("out/kernel", (BLOCK_COLUMNS - 3,)),
    )
)
ENCODINGS = ["float16", "bfloat16", "int8", "top-k:0.02"]
DELTAS = np.random.default_rng(3).normal(size=(3, LARGE.size)).astype(np.float32)
DELTAS[:, : LARGE.tensors[0].size] *= 30  # so that tensors have different scales
EXAMPLES = [3, 1, 4]


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def stood_for(encoding: str) -> list[Float32Array]:
    """What the clients' files stand for."""
    return [
        decode(encode(LARGE, delta, encoding, rng(number)), LARGE, encoding)
        for number, delta in enumerate(DELTAS)
    ]


def sealed(world: World, encoding: str, strategy: str, parameters: dict[str, Scalar]) -> World:
    world.encoding = encoding
    world.open_round()
    for client, delta, examples in zip(CLIENTS, DELTAS, EXAMPLES, strict=True):
        world.submit(client, delta, examples=examples)
    world.judge(*CLIENTS)
    assert set(world.states.values()) == {"ACCEPTED"}
    world.seal()
    world.write_manifest(strategy, parameters)
    return world


def combined(world: World) -> bytes:
    world.jobs.combine(ATTEMPT)
    world.run_tasks()
    assert world.round().reason is None
    return world.weights().tobytes()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shards", [1, 2, 7, 64])
@pytest.mark.parametrize("whole_bytes", [inputs.WHOLE_BYTES, 0])
def test_a_round_has_the_bytes_of_what_its_files_stand_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, shards: int, whole_bytes: int
) -> None:
    monkeypatch.setattr(inputs, "WHOLE_BYTES", whole_bytes)
    world = World(tmp_path, layout=LARGE, shard_columns=-(-LARGE.size // shards))
    sealed(world, encoding, "fedavg", {})

    found = combined(world)

    assert found == play("fedavg", {}, stood_for(encoding), examples=EXAMPLES).weights.tobytes()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("strategy", "parameters"),
    [("krum", {"attackers": 0}), ("geometric-median", {}), ("clipped-mean", {}), ("median", {})],
)
def test_rules_that_look_at_the_deltas_see_what_the_files_stand_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    strategy: str,
    parameters: dict[str, Scalar],
) -> None:
    monkeypatch.setattr(inputs, "WHOLE_BYTES", 0)
    world = World(tmp_path, layout=LARGE, shard_columns=BLOCK_COLUMNS)
    sealed(world, encoding, strategy, parameters)

    found = combined(world)

    played = play(strategy, parameters, stood_for(encoding), examples=EXAMPLES)
    assert found == played.weights.tobytes()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_worker_that_has_seen_no_file_fetches_each_byte_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(inputs, "WHOLE_BYTES", 0)
    shard = LARGE.size // 8 + 1
    world = World(tmp_path, layout=LARGE, shard_columns=shard)
    sealed(world, encoding, "fedavg", {})
    world.ports = world.worker("worker-2")
    form = form_of(LARGE, encoding)

    world.models.fetched.clear()
    world.jobs.combine(ATTEMPT)
    world.run_tasks()

    fetched = {update.key: world.models.fetched[update.key] for update in world.updates().values()}
    assert all(sum(sizes) == form.size_bytes - form.head[0] for sizes in fetched.values())
    assert max(max(sizes) for sizes in fetched.values()) <= max(
        form.codec.item_bytes * shard, form.codec.head_bytes
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("clients", [1, 2, 4, 5, 9])
def test_a_weighted_sum_has_the_bits_of_the_sum_over_decoded_columns(
    encoding: str, clients: int
) -> None:
    form = form_of(LARGE, encoding)
    start, stop = 17, LARGE.size - 3
    draw = rng(clients)
    weights = draw.normal(size=clients) * 1e3
    deltas = [
        (draw.normal(size=LARGE.size) * 10.0 ** draw.integers(-8, 3, LARGE.size)).astype(np.float32)
        for _ in range(clients)
    ]
    files = [memoryview(form.encode(delta, draw)) for delta in deltas]
    encoded, plain = np.zeros(stop - start), np.zeros(stop - start)

    add_weighted(encoded, [form.columns_of_file(file, start, stop) for file in files], weights)

    add_weighted(plain, [form.decode(file)[start:stop] for file in files], weights)
    assert encoded.tobytes() == plain.tobytes()


# --- mixed encodings, and what is wrong in one ----------------------------------------------------


GOOD = np.ones(LAYOUT.size, np.float32)


def file_in(encoding: str) -> bytes:
    return encode(LAYOUT, GOOD, encoding, rng(0))


def broken(encoding: str, change: Callable[[bytearray, int], None]) -> bytes:
    """A file whose data were changed, from the given place on."""
    data = bytearray(file_in(encoding))
    change(data, form_of(LAYOUT, encoding).head[0])
    return bytes(data)


def put(offset: int, value: bytes) -> Callable[[bytearray, int], None]:
    def change(data: bytearray, start: int) -> None:
        data[start + offset : start + offset + len(value)] = value

    return change


FAULTS = {
    "bfloat16 in float16": (
        "float16",
        file_in("bfloat16") + bytes(len(file_in("float16")) - len(file_in("bfloat16"))),
        "wrong-encoding",
        "an update in bfloat16, but those of the run are in float16",
    ),
    "float32 in int8": (
        "int8",
        file_in("float32"),
        "wrong-size",
        f"{len(file_in('float32'))} bytes declared, an update of this model in int8 has",
    ),
    "an infinite float16": (
        "float16",
        broken("float16", put(2, b"\x00\x7c")),
        "not-finite",
        "dense/kernel at [0, 1] is inf, not a finite number",
    ),
    "a scale that is no number": (
        "int8",
        broken("int8", put(4, np.float32(np.nan).tobytes())),
        "wrong-scale",
        "the scale of dense/bias is nan",
    ),
    "an index out of order": (
        "top-k:0.4",
        broken("top-k:0.4", put(0, np.array([2, 1], "<u4").tobytes())),
        "wrong-index",
        "entry 1 is column 1, after column 2: columns ascend, each once",
    ),
    "an index out of range": (
        "top-k:0.4",
        broken("top-k:0.4", put(8, np.array([7], "<u4").tobytes())),
        "wrong-index",
        "column 7, but the model has 7",
    ),
    "another number of entries": (
        "top-k:0.4",
        file_in("top-k:0.2"),
        "wrong-size",
        "an update of this model in top-k has",
    ),
    "a header bomb": (
        "int8",
        (2**40).to_bytes(8, "little") + file_in("int8")[8:],
        "wrong-header",
        "is over the limit of",
    ),
    "another dtype": (
        "int8",
        file_in("int8").replace(b'"I8"', b'"U8"', 1),
        "wrong-header",
        "dense/kernel: dtype U8, expected I8",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_update_that_is_not_as_the_run_asks_is_refused_and_the_round_goes_on(
    world: World, fault: str
) -> None:
    encoding, data, code, rule = FAULTS[fault]
    world.encoding = encoding
    world.open_round()
    world.submit("ada", data=data)
    world.submit("bob", data=file_in(encoding))
    world.judge("ada", "bob")

    rejected = world.updates()["ada"]
    assert (rejected.state, rejected.code) == ("REJECTED", code)
    assert rule in str(rejected.reason)
    world.seal()
    world.write_manifest()
    combined(world)
    assert world.head == 1
