"""Other strategies through the whole stack: state from round to round, a rule that refuses."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rondo_core.aws import connect
from rondo_core.keys import version_key
from rondo_core.manifest import decode_manifest
from rondo_core.model_store import manifest_key, state_key
from rondo_core.optimizer_state import decode_state
from rondo_core.rows import VersionRow, from_item
from rondo_local.stack import Stack
from tests.e2e.people import SoftmaxRegression, await_run, digits, people, start_run

pytestmark = pytest.mark.timeout(600)

MODEL = "strategies"


def replay(stack: Stack, *arguments: str) -> dict[str, object]:
    """Run ``rondo-aggregator replay`` where the store can be read."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "rondo-aggregator"), "replay", *arguments],
        env={
            **os.environ,
            "AWS_ENDPOINT_URL": str(stack.settings.aws_endpoint_url),
            "AWS_REGION": stack.settings.aws_region,
            "RONDO_PREFIX": stack.settings.rondo_prefix,
            "REDIS_URL": "redis://nobody",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def versions(stack: Stack, run_id: str, count: int) -> list[VersionRow]:
    with closing(connect(stack.settings)) as ports:
        items = [ports.run_store.get(version_key(run_id, number)) for number in range(1, count + 1)]
    return [from_item(item or {}, VersionRow) for item in items]


def test_a_state_goes_from_round_to_round_and_a_replay_finds_the_same_bytes(
    stack: Stack, tmp_path: Path
) -> None:
    trainers = {f"clinic-{k}": SoftmaxRegression(digits(k, 6)) for k in (1, 2, 3)}
    people(stack, tmp_path, trainers, runs=2, model=MODEL)
    parameters = {"column_rule": "median", "server_optimizer": "yogi", "tau": 0.01}

    start_run(
        stack,
        "state-1",
        model=MODEL,
        strategy="composed",
        parameters=parameters,
        rounds=2,
        target=3,
        quorum=3,
    )
    run = await_run(stack, "state-1", lambda view: view.state in {"FINISHED", "FAILED"})

    first, second = versions(stack, "state-1", 2)
    assert (run.state, run.head) == ("FINISHED", 2)
    assert first.optimizer_state != second.optimizer_state
    with closing(connect(stack.settings)) as ports:
        manifest = decode_manifest(ports.model_store.get(manifest_key(second.manifest or "")))
        state = decode_state(ports.model_store.get(state_key(second.optimizer_state or "")))
    assert manifest.optimizer_state == first.optimizer_state
    assert (state.step, sorted(state.slots)) == (2, ["moment", "second"])
    for number in (1, 2):
        assert replay(stack, f"state-1/{number}")["same"] is True
    left = min(entry.client_id for entry in manifest.updates)
    assert replay(stack, "state-1/2", "--without", left)["same"] is False

    start_run(stack, "refused-1", model=MODEL, strategy="acme.absent", rounds=1, target=3, quorum=3)
    refused = await_run(stack, "refused-1", lambda view: view.state == "FAILED")

    rule = "cannot be combined: strategy 'acme.absent' is not installed where rounds are combined"
    assert rule in (refused.reason or "") + str([one.reason for one in refused.attempts])
    assert refused.head == 0


def test_clients_send_top_k_and_int8_through_every_service(stack: Stack, tmp_path: Path) -> None:
    trainers = {f"lab-{k}": SoftmaxRegression(digits(k, 6)) for k in (1, 2)}
    people(stack, tmp_path, trainers, runs=2, model="encoded")

    for run_id, encoding in (("top-k-1", "top-k:0.1"), ("int8-1", "int8")):
        start_run(stack, run_id, model="encoded", encoding=encoding, rounds=2, target=2, quorum=2)
        run = await_run(stack, run_id, lambda view: view.state in {"FINISHED", "FAILED"})

        assert (run.state, run.head) == ("FINISHED", 2)
        second = versions(stack, run_id, 2)[1]
        with closing(connect(stack.settings)) as ports:
            manifest = decode_manifest(ports.model_store.get(manifest_key(second.manifest or "")))
            sizes = {len(ports.model_store.get(entry.key)) for entry in manifest.updates}
        assert manifest.encoding == encoding
        assert max(sizes) < second.size / 2
        assert replay(stack, f"{run_id}/2")["same"] is True
