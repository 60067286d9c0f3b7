"""A gateway as a process of its own, with a real HTTP server, table, bucket, topic and queues."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rondo_core.aws import AwsPorts, connect
from rondo_core.cloud_events import decode_event
from rondo_core.events import Event, RunRequested, UpdateSubmitted
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.keys import update_key
from rondo_core.model_store import weights_key
from rondo_core.run_store import Update
from rondo_core.settings import AwsSettings
from rondo_core.testing import ManualClock
from rondo_core.weights import encode
from rondo_local.bootstrap import bootstrap
from rondo_local.environments import checkout
from rondo_local.processes import Program, Supervisor
from rondo_local.readiness import await_ready, free_port, http_answers
from tests.emulators import Aws
from tests.unit.rondo_gateway.gateway_rows import MODEL, SPEC, Client, Others
from tests.unit.rondo_gateway.gateway_world import enrolment, the_spec

PREFIX = "gateway"
DATA = b"an update".ljust(512)
SHA = hashlib.sha256(DATA).hexdigest()


@dataclass(frozen=True)
class Gateway:
    """A running gateway.

    Attributes:
        ports: the same table, bucket and topic, for whoever plays the other services.
        http: for clients, who sign each call.
        operator: sends the operators' token with each call.
    """

    url: str
    ports: AwsPorts
    http: httpx.Client
    operator: httpx.Client
    supervisor: Supervisor

    def others(self) -> Others:
        return Others(self.ports.run_store, self.ports.model_store, ManualClock(datetime.now(UTC)))

    def received(self, service: str, kind: type[Event], count: int) -> list[Any]:
        """Take so many events of a kind out of a service's queue; the test's time limit ends it."""
        source = self.ports.event_source(service)
        found: list[Any] = []
        while len(found) < count:
            deliveries = source.receive(wait_seconds=2)
            source.acknowledge(deliveries)
            events = [decode_event(delivery.body) for delivery in deliveries]
            found += [event for event in events if isinstance(event, kind)]
        return found


def program(aws: Aws, name: str, port: int, **environment: str) -> Program:
    script = checkout() / ".venv" / "bin" / "rondo-gateway"
    own = {"PORT": str(port), "RONDO_PREFIX": PREFIX, "PATH": os.environ["PATH"]}
    return Program(name, (str(script),), {**aws.environment, **own, **environment})


@pytest.fixture(scope="module")
def gateway(ministack: Aws, supervisor: Supervisor) -> Iterator[Gateway]:
    settings = AwsSettings(
        aws_endpoint_url=ministack.endpoint_url, aws_region=ministack.region, rondo_prefix=PREFIX
    )
    token = bootstrap(settings, operator_token="operators", session=ministack.session)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    supervisor.start(program(ministack, "gateway", port))
    await_ready("gateway", http_answers(f"{url}/readyz"), supervisor)
    headers = {"Authorization": f"Bearer {token.operator_token}"}
    with (
        httpx.Client(base_url=url, timeout=60) as http,
        httpx.Client(base_url=url, headers=headers, timeout=60) as operator,
    ):
        yield Gateway(url, connect(settings, ministack.session), http, operator, supervisor)
    supervisor.stop("gateway")


@pytest.fixture
def run_id() -> str:
    return f"run-{uuid4().hex[:8]}"


def signed(client: Client) -> dict[str, str]:
    return client.headers(datetime.now(UTC))


def declaration(data: bytes = DATA) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {"sha256": digest, "size": len(data), "examples": 10, "metrics": {"accuracy": 0.5}}


def put(upload: dict[str, Any], data: bytes) -> int:
    """Send bytes to the store, with the length that they really have."""
    headers = {**upload["headers"], "Content-Length": str(len(data))}
    return httpx.put(upload["url"], headers=headers, content=data).status_code


def update_path(run_id: str) -> str:
    return f"/v1/runs/{run_id}/rounds/1/attempts/1/update"


def chosen(gateway: Gateway, run_id: str, count: int = 1) -> list[Client]:
    """Write an open round, and return the clients that were chosen for it."""
    others = gateway.others()
    clients = [others.enrolled(f"client-{uuid4().hex[:8]}") for _ in range(count)]
    others.begun(run_id)
    others.round(*clients, run_id=run_id)
    return clients


def test_operators_register_invite_and_start_by_http_alone(gateway: Gateway, run_id: str) -> None:
    layout = layout_of_spec(the_spec())
    weights, holdout = encode(layout, initial_weights(the_spec())), os.urandom(1000)
    body = {
        "spec": SPEC,
        "header": layout.header.decode(),
        "initial": {"sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights)},
        "holdout": {"sha256": hashlib.sha256(holdout).hexdigest(), "size": len(holdout)},
    }

    links = gateway.operator.post(f"/v1/models/{MODEL}/specs", json=body).json()
    uploaded = put(links["initial"], weights), put(links["holdout"], holdout)
    again = gateway.operator.post(f"/v1/models/{MODEL}/specs", json=body).json()
    invites = gateway.operator.post(f"/v1/models/{MODEL}/invites", json={"uses": 2}).json()
    key = Ed25519PrivateKey.generate()
    enrolled = gateway.http.post("/v1/enrolments", json=enrolment(invites["codes"][0], key))
    client = Client(enrolled.json()["client_id"], key=key)
    spec = gateway.http.get(f"/v1/models/{MODEL}/specs/{links['spec']}", headers=signed(client))
    started = gateway.operator.post("/v1/runs", json={"model": MODEL, "run_id": run_id})

    assert uploaded == (200, 200)
    assert again == {"spec": links["spec"], "initial": None, "holdout": None}
    assert gateway.ports.model_store.get(weights_key(body["initial"]["sha256"])) == weights  # type: ignore[index]  # JSON
    assert spec.json()["model"] == MODEL
    assert started.status_code == 202
    assert [event.run_id for event in gateway.received("dispatcher", RunRequested, 1)] == [run_id]
    views = gateway.operator.get("/v1/models").json()
    assert [view["model"] for view in views] == [MODEL]
    assert client.client_id in views[0]["clients"]


def test_a_client_that_waits_is_told_what_to_do_and_can_read_the_base_version(
    gateway: Gateway, run_id: str
) -> None:
    others, base = gateway.others(), os.urandom(512)
    digest = hashlib.sha256(base).hexdigest()
    client = others.enrolled(f"client-{uuid4().hex[:8]}")
    gateway.ports.model_store.put(weights_key(digest), base)
    others.begun(run_id)
    others.version(0, run_id=run_id, sha256=digest)

    with ThreadPoolExecutor() as threads:
        query = {"wait": "30", "run": run_id}
        waiting = threads.submit(gateway.http.get, "/v1/work", params=query, headers=signed(client))
        time.sleep(0.3)
        others.round(client, run_id=run_id)
        opened = time.monotonic()
        assignment = waiting.result().json()["assignment"]
        seconds = time.monotonic() - opened

    assert (assignment["run_id"], assignment["base"]["sha256"]) == (run_id, digest)
    assert httpx.get(assignment["base"]["url"]).content == base
    assert seconds < 5, "the watcher did not see the round open"


def test_an_update_goes_straight_to_the_store_and_is_judged(gateway: Gateway, run_id: str) -> None:
    (client,) = chosen(gateway, run_id)
    http, path = gateway.http, update_path(run_id)

    upload = http.put(path, json=declaration(), headers=signed(client)).json()["upload"]
    statuses = [put(upload, data) for data in (b"x" * len(DATA), DATA + b"x", DATA, DATA)]
    report = http.post(f"{path}/report", json={"sha256": SHA}, headers=signed(client))
    (submitted,) = gateway.received("aggregator", UpdateSubmitted, 1)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(http.get, path, params={"wait": "30"}, headers=signed(client))
        row = update_key(run_id, 1, 1, client.client_id)
        gateway.ports.run_store.commit(Update(row, assign={"state": "ACCEPTED"}))
        verdict = waiting.result().json()

    assert statuses == [400, 403, 200, 412], "other bytes, longer, right, again"
    assert report.status_code == 202
    assert (submitted.run_id, submitted.client_id) == (run_id, client.client_id)
    assert verdict["state"] == "ACCEPTED"


def test_ten_clients_at_once_are_all_written_and_told(gateway: Gateway, run_id: str) -> None:
    clients = chosen(gateway, run_id, count=10)
    path = update_path(run_id)

    def whole_round(client: Client) -> int:
        gateway.http.put(path, json=declaration(), headers=signed(client))
        body, headers = {"sha256": SHA}, signed(client)
        return gateway.http.post(f"{path}/report", json=body, headers=headers).status_code

    with ThreadPoolExecutor(10) as threads:
        statuses = list(threads.map(whole_round, clients))

    assert statuses == [202] * 10
    submitted = gateway.received("aggregator", UpdateSubmitted, 10)
    assert {event.client_id for event in submitted} == {one.client_id for one in clients}
    view = gateway.operator.get(f"/v1/runs/{run_id}").json()
    assert view["attempts"][0]["updates"] == {"REPORTED": 10}


def test_a_gateway_that_is_killed_loses_nothing_that_it_answered(
    gateway: Gateway, run_id: str
) -> None:
    (client,) = chosen(gateway, run_id)
    http, path = gateway.http, update_path(run_id)
    upload = http.put(path, json=declaration(), headers=signed(client)).json()["upload"]

    os.kill(gateway.supervisor.pid("gateway"), signal.SIGKILL)
    uploaded = put(upload, DATA)
    await_ready("gateway", http_answers(f"{gateway.url}/readyz"), gateway.supervisor)
    report = http.post(f"{path}/report", json={"sha256": SHA}, headers=signed(client))

    assert (uploaded, report.status_code) == (200, 202)
    item = gateway.ports.run_store.get(update_key(run_id, 1, 1, client.client_id))
    assert item is not None
    assert item["state"] == "REPORTED"
    gateway.received("aggregator", UpdateSubmitted, 1)


def test_a_gateway_that_is_told_to_stop_answers_who_waits_and_ends_well(
    gateway: Gateway, ministack: Aws, tmp_path: Path
) -> None:
    client = gateway.others().enrolled(f"client-{uuid4().hex[:8]}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Supervisor(tmp_path) as supervisor, ThreadPoolExecutor() as threads:
        supervisor.start(program(ministack, "stopping", port))
        await_ready("stopping", http_answers(f"{url}/readyz"), supervisor)
        headers, query = signed(client), {"wait": "30"}
        waiting = threads.submit(
            httpx.get, f"{url}/v1/work", params=query, headers=headers, timeout=60
        )
        time.sleep(0.5)

        began = time.monotonic()
        supervisor.stop("stopping")
        seconds = time.monotonic() - began

        assert waiting.result().json() == {"assignment": None, "run_state": None, "reason": None}
    assert seconds < 9, "it was killed, or waited for the poll to end"
    last = supervisor.log_path("stopping").read_text().splitlines()[-1]
    assert "Finished server process" in last


def test_presigned_links_lead_to_the_address_that_clients_know(
    gateway: Gateway, ministack: Aws, run_id: str, tmp_path: Path
) -> None:
    (client,) = chosen(gateway, run_id)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Supervisor(tmp_path) as supervisor:
        outside = {"UPLOAD_ENDPOINT_URL": "https://store.example.org"}
        supervisor.start(program(ministack, "outside", port, **outside))
        await_ready("outside", http_answers(f"{url}/readyz"), supervisor)

        answer = httpx.put(
            f"{url}{update_path(run_id)}", json=declaration(), headers=signed(client)
        ).json()

    assert answer["upload"]["url"].startswith("https://store.example.org/")


def test_the_docs_and_the_clock_are_there_for_everybody(gateway: Gateway) -> None:
    page = gateway.http.get("/docs")

    assert "Rondo gateway" in page.text
    assert "Date" in page.headers, "a client with a wrong clock sets it by this"
    assert "Server" not in page.headers


def test_no_token_and_no_link_stands_in_the_log(gateway: Gateway, run_id: str) -> None:
    (client,) = chosen(gateway, run_id)
    headers = signed(client)

    gateway.http.put(update_path(run_id), json=declaration(), headers=headers)

    path = gateway.supervisor.log_path("gateway")
    await_ready("gateway", lambda: run_id in path.read_text(), gateway.supervisor)
    log = path.read_text()
    assert headers["Authorization"].removeprefix("Bearer ") not in log
    assert "X-Amz-Signature" not in log
