"""Rounds through the aggregator's real processes: Celery on Redis, and an AWS emulator."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import redis

from rondo_aggregator.settings import MIN_SHARD_COLUMNS
from rondo_core.encodings import decode as decode_update
from rondo_core.encodings import form_of
from rondo_core.layout import Float32Array, Layout, TensorSpec
from rondo_core.model_store import partial_key, products_key, slot_key, state_key
from rondo_core.optimizer_state import decode_state
from rondo_core.weights import decode
from tests.emulators import Aws
from tests.integration.aggregator_stack import Stack, aggregator_stack, recomputed, until
from tests.unit.rondo_aggregator.played_rounds import play
from tests.unit.rondo_aggregator.round_rows import CLIENTS, LAYOUT

if TYPE_CHECKING:
    from rondo_core.events import Scalar

LARGE = Layout((TensorSpec("dense/kernel", (4_000_000,)),))
SHARDED = Layout((TensorSpec("dense/kernel", (2 * MIN_SHARD_COLUMNS + 1000,)),))


@pytest.fixture
def stack(ministack: Aws, redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    with aggregator_stack(ministack, redis_url, tmp_path) as running:
        yield running


def deltas(layout: Layout = LAYOUT) -> dict[str, Float32Array]:
    rng = np.random.default_rng(3)
    return {client: rng.normal(size=layout.size).astype(np.float32) for client in CLIENTS}


def test_a_batch_of_updates_becomes_a_version_bit_for_bit_and_a_bad_one_is_told_why(
    stack: Stack,
) -> None:
    stack.start("intake")
    worker = stack.start("worker")
    rows = stack.rows()
    rows.open_round(base=np.linspace(-1, 1, LAYOUT.size, dtype=np.float32))
    for number, (client, delta) in enumerate(deltas().items()):
        poisoned = delta if client != "bob" else np.where(delta > 0, np.inf, delta)
        metrics: dict[str, object] = {"examples": 10 + number, "accuracy": 0.5}
        rows.submit(client, poisoned.astype(np.float32), examples=7 * number + 1, metrics=metrics)

    stack.submitted(*CLIENTS)
    until(lambda: all(row.state in {"ACCEPTED", "REJECTED"} for row in rows.updates().values()))
    rows.seal()
    manifest = rows.write_manifest()
    stack.sealed(str(rows.round().manifest))
    until(lambda: rows.round().state == "COMMITTED")

    bob, version = rows.updates()["bob"], rows.version()
    assert (bob.state, bob.code) == ("REJECTED", "not-finite")
    assert [entry.client_id for entry in manifest.updates] == ["ada", "cyd"]
    assert rows.weights().tobytes() == recomputed(rows, manifest).tobytes()
    assert version is not None
    assert (version.updates, version.examples, rows.head) == (2, 16, 1)
    assert version.metrics == {"accuracy": 0.5, "examples": 22}
    assert stack.heard() == {
        "UpdateAccepted/run-1/1/1/ada",
        "UpdateRejected/run-1/1/1/bob",
        "UpdateAccepted/run-1/1/1/cyd",
        "VersionCommitted/run-1/1/1",
    }
    accepted = 'rondo_updates_judged_total{kind="",outcome="accepted"} 2.0'
    assert accepted in worker.metrics()


@pytest.mark.parametrize("encoding", ["float16", "bfloat16", "int8", "top-k:0.01"])
def test_encoded_updates_become_the_version_of_what_they_stand_for(
    stack: Stack, encoding: str
) -> None:
    stack.start("intake")
    stack.start("worker", SHARD_COLUMNS=str(MIN_SHARD_COLUMNS))
    rows = stack.rows(SHARDED)
    rows.encoding = encoding
    rows.open_round()
    for client, delta in deltas(SHARDED).items():
        rows.submit(client, delta)

    stack.submitted(*CLIENTS)
    until(lambda: rows.counted() == 3)
    rows.seal()
    manifest = rows.write_manifest()
    stack.sealed(str(rows.round().manifest))
    until(lambda: rows.round().state == "COMMITTED")

    files = [rows.models.get(entry.key) for entry in manifest.updates]
    stood_for = [decode_update(file, SHARDED, encoding) for file in files]
    assert {len(file) for file in files} == {form_of(SHARDED, encoding).size_bytes}
    assert rows.weights().tobytes() == play("fedavg", {}, stood_for).weights.tobytes()


def test_a_large_version_is_made_by_tasks_of_its_shards_and_assembled_in_the_store(
    stack: Stack,
) -> None:
    stack.start("intake")
    stack.start("worker", SHARD_COLUMNS=str(MIN_SHARD_COLUMNS))
    rows = stack.rows(SHARDED)
    rows.open_round()
    for client, delta in deltas(SHARDED).items():
        rows.submit(client, delta)

    stack.submitted(*CLIENTS)
    until(lambda: rows.counted() == 3)
    rows.seal()
    manifest = rows.write_manifest()
    stack.sealed(str(rows.round().manifest))
    until(lambda: rows.round().state == "COMMITTED")

    first = partial_key(str(rows.round().manifest), 0, MIN_SHARD_COLUMNS)
    assert rows.models.head(first) is not None
    assert rows.weights().tobytes() == recomputed(rows, manifest).tobytes()


def test_a_worker_killed_while_it_combines_is_followed_by_another_that_counts_each_update_once(
    stack: Stack,
) -> None:
    stack.start("intake")
    worker = stack.start("worker")
    rows = stack.rows(LARGE)
    rows.open_round()
    for client, delta in deltas(LARGE).items():
        rows.submit(client, delta)
    stack.submitted(*CLIENTS)
    until(lambda: rows.counted() == 3)
    rows.seal()
    manifest = rows.write_manifest()

    stack.sealed(str(rows.round().manifest))
    until(lambda: rows.round().epoch == 1, pause_seconds=0.0)
    worker.kill()
    assert (rows.round().state, rows.head) == ("SEALED", 0)
    stack.start("worker")
    until(lambda: rows.round().state == "COMMITTED")

    version = rows.version()
    assert version is not None
    assert (version.updates, rows.counted(), rows.head) == (3, 3, 1)
    assert rows.round().epoch >= 2
    assert len(list(stack.folder.glob("rondo-cache-*"))) == 1, "the dead worker's files are gone"
    assert rows.weights().tobytes() == recomputed(rows, manifest).tobytes()
    assert sum(name.startswith("VersionCommitted") for name in stack.heard()) == 1


def test_three_workers_one_of_them_killed_make_the_bytes_of_the_pure_functions(
    stack: Stack,
) -> None:
    stack.start("intake")
    size = str(MIN_SHARD_COLUMNS)
    first, *_ = [stack.start("worker", SHARD_COLUMNS=size) for _ in range(3)]
    rows, updates = stack.rows(SHARDED), deltas(SHARDED)
    rows.open_round()
    for client, delta in updates.items():
        rows.submit(client, delta)
    stack.submitted(*CLIENTS)
    until(lambda: rows.counted() == 3)
    rows.seal()
    parts: dict[str, Scalar] = {"column_rule": "geometric-median", "server_optimizer": "adam"}
    rows.write_manifest("composed", parts)
    manifest = str(rows.round().manifest)

    stack.sealed(manifest)
    whole = products_key("products", manifest, 0, MIN_SHARD_COLUMNS)
    until(lambda: stack.ports.model_store.head(whole) is not None, pause_seconds=0.0)
    first.kill()
    until(lambda: rows.round().state == "COMMITTED")

    expected, version = play("composed", parts, list(updates.values())), rows.version()
    assert rows.weights().tobytes() == expected.weights.tobytes()
    assert version is not None
    assert version.optimizer_state is not None
    state = decode_state(rows.models.get(state_key(version.optimizer_state)))
    for name, slot in expected.slots.items():
        assert (
            decode(rows.models.get(slot_key(state.slots[name])), SHARDED).tobytes()
            == slot.tobytes()
        )


def test_tasks_that_redis_loses_are_asked_for_again(stack: Stack, redis_url: str) -> None:
    stack.start("intake")
    rows = stack.rows()
    rows.open_round()
    rows.submit("ada")
    queue = f"{stack.environment['RONDO_PREFIX']}-aggregator"
    with redis.Redis.from_url(redis_url) as broker:
        stack.submitted("ada")
        until(lambda: broker.llen(queue) == 1)
        broker.delete(queue)

    stack.start("worker")
    until(lambda: rows.counted() == 1)

    assert rows.updates()["ada"].state == "ACCEPTED"


def test_a_pickled_task_is_refused_and_the_worker_goes_on(stack: Stack, redis_url: str) -> None:
    stack.start("intake")
    worker = stack.start("worker")
    rows = stack.rows()
    rows.open_round()
    rows.submit("ada")
    queue = f"{stack.environment['RONDO_PREFIX']}-aggregator"
    pickled = (
        '{"body": "gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAVmYWxzZZSFlFKULg==",'
        ' "content-encoding": "binary", "content-type": "application/x-python-serialize",'
        ' "headers": {"task": "rondo.combine", "id": "1"}, "properties": {"correlation_id": "1",'
        ' "body_encoding": "base64", "delivery_mode": 2, "delivery_tag": "1",'
        f' "delivery_info": {{"exchange": "", "routing_key": "{queue}"}}}}}}'
    )

    with redis.Redis.from_url(redis_url) as broker:
        broker.lpush(queue, pickled)
        until(lambda: broker.llen(queue) == 0)
    stack.submitted("ada")
    until(lambda: rows.counted() == 1)

    assert worker.running()
    assert "Refusing to deserialize" in worker.log.read_text()


def test_a_worker_finishes_what_it_began_when_it_is_asked_to_end(stack: Stack) -> None:
    intake, worker = stack.start("intake"), stack.start("worker")
    rows = stack.rows(LARGE)
    rows.open_round()
    rows.submit("ada")
    stack.submitted("ada")
    until(lambda: rows.counted() == 1)
    rows.seal()
    rows.write_manifest()
    stack.sealed(str(rows.round().manifest))
    until(lambda: rows.round().epoch == 1, pause_seconds=0.0)

    codes = [worker.stop(), intake.stop()]

    assert codes == [0, 0]
    assert rows.round().state == "COMMITTED"
    assert list(stack.folder.glob("rondo-cache-*")) == []
