"""FedBuff through the whole stack: nobody waits for a slow owner, and what it made still counts."""

import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from rondo.trainer import RoundTask
from rondo_core.aws import connect
from rondo_core.client_wire import Entered
from rondo_core.keys import ROUND_PREFIX, run_pk, version_key
from rondo_core.manifest import Manifest, decode_manifest
from rondo_core.model_store import manifest_key, weights_key
from rondo_core.rows import RoundRow, VersionRow, from_item
from rondo_core.weights import decode, digest, encode, layout_of_file
from rondo_local.stack import Stack
from tests.e2e.people import (
    PATIENCE_SECONDS,
    SoftmaxRegression,
    await_run,
    digits,
    people,
    start_run,
)
from tests.e2e.test_strategies import replay

pytestmark = pytest.mark.timeout(600)

MODEL, RUN, ROUNDS = "buffered", "buffered-1", 4


class Pace:
    """Who waits for whom before it trains.

    The slow owner still trains for the first round when the third is open, and the quick one waits
    in the third for as long as that lasts: so the slow one's update must count in it.
    """

    def __init__(self) -> None:
        self.slow_trains = threading.Event()
        self.third_is_open = threading.Event()
        self.third_is_over = threading.Event()

    def slow(self, task: RoundTask) -> None:
        if task.round == 1:
            self.slow_trains.set()
            assert self.third_is_open.wait(PATIENCE_SECONDS)

    def quick(self, task: RoundTask) -> None:
        if task.round == 1:
            assert self.slow_trains.wait(PATIENCE_SECONDS)
        if task.round == 3:
            assert self.third_is_over.wait(PATIENCE_SECONDS)


def test_a_slow_owners_update_counts_in_a_later_round_also_when_services_are_killed(
    stack: Stack, tmp_path: Path
) -> None:
    pace = Pace()
    trainers = {
        "quick": SoftmaxRegression(digits(1, 5), before=pace.quick),
        "brisk": SoftmaxRegression(digits(2, 5)),
        "slow": SoftmaxRegression(digits(3, 5), before=pace.slow),
    }
    owners = people(stack, tmp_path, trainers, model=MODEL)
    start_run(
        stack,
        RUN,
        model=MODEL,
        strategy="fedbuff",
        parameters={"buffer_size": 2, "max_staleness": 3},
        rounds=ROUNDS,
        target=3,
        quorum=2,
    )

    await_run(
        stack, RUN, lambda view: any((one.round, one.state) == (3, "OPEN") for one in view.attempts)
    )
    for name in ("gateway", "dispatcher", "aggregator-worker"):
        os.kill(stack.supervisor.pid(name), signal.SIGKILL)
    pace.third_is_open.set()
    await_run(stack, RUN, lambda view: view.head >= 3)
    pace.third_is_over.set()

    results = [owner.next_result() for owner in owners]
    slow = results[-1].rounds[0]
    assert (slow.round, slow.verdict) == (1, "accepted")
    assert slow.entered == Entered(round=3, attempt=1, staleness=2)
    assert {result.state for result in results} == {"FINISHED"}
    manifests = [check_round(stack, number) for number in range(1, ROUNDS + 1)]
    ages = [{one.client_id[:4]: one.staleness for one in each.updates} for each in manifests]
    assert ages[0] == ages[1] == {"quic": 0, "bris": 0}
    assert ages[2] == {"slow": 2, "bris": 0}
    counted = [one.sha256 for each in manifests for one in each.updates]
    assert len(set(counted)) == len(counted)
    assert all(replay(stack, f"{RUN}/{number}")["same"] is True for number in range(1, ROUNDS + 1))


def check_round(stack: Stack, number: int) -> Manifest:
    """Recompute a version from the raw uploads, by Algorithm 1; return what it was made of."""
    with closing(connect(stack.settings)) as ports:
        rows = ports.run_store.query(run_pk(RUN), f"{ROUND_PREFIX}{number:06d}")
        (committed,) = [
            row for row in (from_item(one, RoundRow) for one in rows) if row.state == "COMMITTED"
        ]
        manifest = decode_manifest(ports.model_store.get(manifest_key(committed.manifest or "")))
        base = ports.model_store.get(weights_key(manifest.base))
        layout = layout_of_file(base)
        total = np.zeros(layout.size, np.float64)
        for entry in manifest.updates:
            delta = decode(ports.model_store.get(entry.key), layout)
            total += delta.astype(np.float64) / np.sqrt(1 + entry.staleness)
        made = from_item(ports.run_store.get(version_key(RUN, number)) or {}, VersionRow)
    new = decode(base, layout).astype(np.float64) + total / len(manifest.updates)
    assert digest(encode(layout, new.astype(np.float32))) == made.sha256
    return manifest
