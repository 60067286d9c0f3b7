from datetime import timedelta
from typing import Any

import pytest

from rondo_core.events import RunRequested
from rondo_core.keys import gate_key, round_key
from rondo_core.run_store import Put
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import MODEL, RUN, START
from tests.unit.rondo_gateway.gateway_world import OPERATOR, World, refused

RUNS = "/v1/runs"


def test_a_run_that_is_asked_for_is_published(world: World, http: Http) -> None:
    world.registered()
    body = {"model": MODEL, "run_id": RUN, "rounds": 3, "training": {"epochs": 2}}

    response = http.post(RUNS, json=body, headers=OPERATOR)

    assert (response.status_code, response.json()) == (202, {"run_id": RUN})
    assert world.bus.published == [
        RunRequested(
            event_id=f"RunRequested/{RUN}",
            run_id=RUN,
            occurred_at=START,
            model=MODEL,
            rounds=3,
            training={"epochs": 2},
        )
    ]


def test_a_run_without_a_name_gets_one_that_is_not_given_twice(world: World, http: Http) -> None:
    world.registered()

    names = [
        http.post(RUNS, json={"model": MODEL}, headers=OPERATOR).json()["run_id"] for _ in range(2)
    ]

    assert names[0].startswith("digits-20260102-030405-")
    assert len(set(names)) == 2


def test_the_longest_model_name_still_makes_a_run_name(world: World, http: Http) -> None:
    model = "m" * 64
    world.registered(model)

    response = http.post(RUNS, json={"model": model}, headers=OPERATOR)

    assert len(response.json()["run_id"]) <= 64


def test_a_named_spec_must_be_the_models(world: World, http: Http) -> None:
    spec = world.registered().spec
    world.registered("hearts")

    right = http.post(RUNS, json={"model": MODEL, "spec": spec}, headers=OPERATOR)
    wrong = http.post(RUNS, json={"model": "hearts", "spec": spec}, headers=OPERATOR)

    assert right.status_code == 202
    refused(wrong, 404, "not-found")
    assert [event.run_id for event in world.bus.published] == [right.json()["run_id"]]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"rounds": 3}, "model"),
        ({"model": 7}, "$.model"),
        ({"model": MODEL, "rounds": 0}, "$.rounds"),
        ({"model": MODEL, "rounds": "3"}, "$.rounds"),
        ({"model": MODEL, "run_id": "a/b"}, "$.run_id"),
        ({"model": MODEL, "run_id": 7}, "$.run_id"),
        ({"model": MODEL, "spec": "newest"}, "$.spec"),
        ({"model": MODEL, "deadline_seconds": -1}, "$.deadline_seconds"),
        ({"model": MODEL, "parameters": {"mu": [1]}}, "$.parameters"),
        ({"model": MODEL, "target": 1, "quorum": 2}, "target 1 is below quorum 2"),
        ({"model": MODEL, "encoding": "int4"}, "unknown encoding 'int4'; known: bfloat16, float16"),
        (
            {"model": MODEL, "encoding": "top-k:0.1", "strategy": "median"},
            "column rule 'median' compares the clients' values",
        ),
        ({"model": MODEL, "strategy": "magic"}, "unknown strategy 'magic'; known: adaptive-clip"),
        ({"model": MODEL, "parameters": {"beta": 1}}, "'fedavg' has no parameter 'beta'; it takes"),
        (
            {"model": MODEL, "strategy": "trimmed-mean", "parameters": {"trim": 0.5}},
            "trim: Expected `float` < 0.5, found 0.5",
        ),
        (
            {"model": MODEL, "strategy": "krum", "target": 4, "quorum": 4},
            "target 4: krum with 1 attackers needs more than 2 x 1 + 2 updates, and there are 4",
        ),
        ({"model": MODEL, "strategy": "krum", "target": 5}, "quorum 1: krum with 1 attackers"),
        ({"model": MODEL, "training": {"epochs": 0}}, "training: $.training.epochs: "),
        ([MODEL], "array"),
    ],
)
def test_a_malformed_request_for_a_run_is_told_where_it_is_wrong(
    world: World, http: Http, body: object, where: str
) -> None:
    world.registered()

    response = http.post(RUNS, json=body, headers=OPERATOR)

    assert where in refused(response, 422, "invalid-body")["message"]
    assert world.bus.published == []


def test_a_spec_that_trains_with_adam_is_refused_where_steps_must_be_plain(
    world: World, http: Http
) -> None:
    old, _ = (
        world.registered(at=START + timedelta(seconds=k), training={"optimizer": name})
        for k, name in enumerate(("sgd", "adam"))
    )
    body = {"model": MODEL, "strategy": "fednova"}

    newest = http.post(RUNS, json=body, headers=OPERATOR)
    named = http.post(RUNS, json={**body, "spec": old.spec}, headers=OPERATOR)
    other = http.post(RUNS, json={**body, "strategy": "fedavg"}, headers=OPERATOR)

    rule = "training: optimizer 'adam': strategy 'fednova' needs plain steps"
    assert refused(newest, 422, "invalid-body")["message"] == rule
    assert (named.status_code, other.status_code) == (202, 202)


def test_what_the_envelope_says_cannot_be_said_by_the_body(world: World, http: Http) -> None:
    world.registered()
    body = {"model": MODEL, "run_id": RUN, "event_id": "mine", "occurred_at": "2000-01-01"}

    http.post(RUNS, json=body, headers=OPERATOR)

    event = world.bus.published[0]
    assert (event.event_id, event.occurred_at) == (f"RunRequested/{RUN}", START)


def test_a_run_of_an_unknown_model_is_refused_at_the_door(world: World, http: Http) -> None:
    response = http.post(RUNS, json={"model": MODEL}, headers=OPERATOR)

    refused(response, 404, "not-found")
    assert world.bus.published == []


def test_a_topic_that_does_not_answer_is_unavailable(world: World, http: Http) -> None:
    world.registered()
    world.topic_down = True

    response = http.post(RUNS, json={"model": MODEL}, headers=OPERATOR)

    assert "rondo-events" not in refused(response, 503, "unavailable")["message"]


def test_runs_are_listed_newest_first(world: World, http: Http) -> None:
    for number in range(3):
        world.begun(f"run-{number}", requested_at=START + timedelta(seconds=number))

    views = http.get(RUNS, params={"limit": "2"}, headers=OPERATOR).json()

    assert [view["run_id"] for view in views] == ["run-2", "run-1"]
    assert views[0]["attempts"] == views[0]["versions"] == []


def test_a_list_of_no_runs_is_empty(http: Http) -> None:
    assert http.get(RUNS, headers=OPERATOR).json() == []


@pytest.mark.parametrize("limit", ["0", "201", "all"])
def test_a_malformed_limit_is_refused(http: Http, limit: str) -> None:
    response = http.get(RUNS, params={"limit": limit}, headers=OPERATOR)

    refused(response, 422, "invalid-parameter")


def test_an_unknown_run_is_not_found(http: Http) -> None:
    refused(http.get(f"{RUNS}/{RUN}", headers=OPERATOR), 404, "not-found")


def test_a_run_shows_how_it_stands(world: World, http: Http) -> None:
    ended = START + timedelta(seconds=9)
    world.begun(state="FAILED", reason="no quorum", finished_at=ended, strategy="fedprox")

    view = http.get(f"{RUNS}/{RUN}", headers=OPERATOR).json()

    assert view == {
        "run_id": RUN,
        "model": MODEL,
        "spec": "a" * 64,
        "strategy": "fedprox",
        "state": "FAILED",
        "reason": "no quorum",
        "rounds": 3,
        "target": 2,
        "quorum": 1,
        "head": 0,
        "requested_at": "2026-01-02T03:04:05Z",
        "finished_at": "2026-01-02T03:04:14Z",
        "attempts": [],
        "versions": view["versions"],
    }
    assert [version["version"] for version in view["versions"]] == [0]


def test_a_run_that_failed_before_its_first_version_is_shown(world: World, http: Http) -> None:
    world.begun(state="FAILED")
    world.store.commit(*world.deletes("RUN#run-1", "VERSION#", "HEAD"))

    view = http.get(f"{RUNS}/{RUN}", headers=OPERATOR).json()

    assert (view["head"], view["versions"]) == (0, [])


def started(world: World) -> Any:
    """Write a run whose round 1 took two attempts and whose round 2 is open."""
    north, south = world.enrolled("north-00000001"), world.enrolled("south-00000002")
    world.begun()
    world.round(north, south, state="ABORTED")
    world.change(round_key(RUN, 1, 1), reason="1 of 2 updates at the deadline")
    world.update(north, state="ACCEPTED")
    world.update(south, state="REJECTED", code="not-finite", reason="NaN in dense/kernel")
    world.round(north, south, state="COMMITTED", attempt=2)
    world.version(1, updates=2, examples=30, metrics={"loss": 0.5})
    world.round(north, state="OPEN", number=2)
    world.store.commit(Put(gate_key(RUN, 1, 1, 3), {"state": "CLOSED", "n": 1}))
    return north, south


def test_a_run_shows_its_attempts_and_why_updates_were_rejected(world: World, http: Http) -> None:
    north, south = started(world)

    attempts = http.get(f"{RUNS}/{RUN}", headers=OPERATOR).json()["attempts"]

    shown = [(one["round"], one["attempt"], one["state"]) for one in attempts]
    assert shown == [(1, 1, "ABORTED"), (1, 2, "COMMITTED"), (2, 1, "OPEN")]
    assert attempts[0]["reason"] == "1 of 2 updates at the deadline"
    assert attempts[0]["clients"] == [north.client_id, south.client_id]
    assert attempts[0]["updates"] == {"ACCEPTED": 1, "REJECTED": 1}
    assert attempts[0]["rejections"] == {south.client_id: "NaN in dense/kernel"}
    assert attempts[2]["updates"] == attempts[2]["rejections"] == {}


def test_a_run_shows_its_versions_with_the_metrics_of_their_parents(
    world: World, http: Http
) -> None:
    started(world)

    view = http.get(f"{RUNS}/{RUN}", headers=OPERATOR).json()

    assert view["head"] == 1
    assert [one["version"] for one in view["versions"]] == [0, 1]
    assert view["versions"][1]["metrics"] == {"loss": 0.5}
    assert (view["versions"][1]["updates"], view["versions"][1]["examples"]) == (2, 30)


def test_whoever_watches_a_run_reads_only_the_rounds_that_still_change(
    world: World, http: Http
) -> None:
    started(world)

    response = http.get(f"{RUNS}/{RUN}", params={"since_round": "2"}, headers=OPERATOR)

    assert [one["round"] for one in response.json()["attempts"]] == [2]
    assert [what for what in world.store.reads if "ROUND" in what] == [
        "RUN#run-1#ROUND#000002#01/UPD#*"
    ]


def test_what_an_attempt_that_is_over_holds_is_read_once(world: World, http: Http) -> None:
    north, south = started(world)
    world.round(north, south, state="ABORTED", active=False)
    world.store.reads.clear()

    first, second = (http.get(f"{RUNS}/{RUN}", headers=OPERATOR).json() for _ in range(2))

    assert first == second
    assert first["attempts"][0]["updates"] == {"ACCEPTED": 1, "REJECTED": 1}
    assert world.store.reads.count("RUN#run-1#ROUND#000001#01/UPD#*") == 1
    assert world.store.reads.count("RUN#run-1#ROUND#000002#01/UPD#*") == 2
