"""FedBuff: an update whose round is sealed is entered into the run's newest round."""

from typing import Any

import pytest

from rondo_core.keys import round_key, run_key, update_key
from rondo_core.model_store import update_key as object_key
from rondo_core.rows import UpdateRow
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import OTHER_SHA, RUN, SHA, Client
from tests.unit.rondo_gateway.gateway_world import (
    OPERATOR,
    World,
    declaration,
    poll,
    refused,
    update_url,
    wait_while,
)

BUFFERED: dict[str, Any] = {"strategy": "fedbuff"}


@pytest.fixture
def client(world: World) -> Client:
    """A client that was chosen for round 1 of a run that takes late updates."""
    client = world.enrolled()
    world.begun(**BUFFERED)
    world.round(client, **BUFFERED)
    return client


def goes_on(world: World, *clients: Client, number: int = 2, **changes: Any) -> None:
    """Seal and commit the round before, and open the next one."""
    world.change(round_key(RUN, number - 1, 1), state="COMMITTED")
    world.version(number - 1)
    world.round(*clients, number=number, **(BUFFERED | changes))


def row(world: World, client: Client, number: int = 1, attempt: int = 1) -> Any:
    return world.row(update_key(RUN, number, attempt, client.client_id), UpdateRow)


def declare(http: Http, client: Client) -> Any:
    response = http.put(update_url(), json=declaration(), headers=client.headers())
    assert response.status_code == 200, response.text
    return response.json()


def report(http: Http, client: Client, **body: str) -> Any:
    return http.post(update_url("/report"), json={"sha256": SHA} | body, headers=client.headers())


def test_a_late_declaration_is_entered_into_the_open_round_with_its_staleness(
    world: World, http: Http, client: Client
) -> None:
    goes_on(world)
    goes_on(world, number=3)

    answer = declare(http, client)

    assert answer["receipt"]["entered"] == {"round": 3, "attempt": 1, "staleness": 2}
    here, there = row(world, client), row(world, client, 3)
    assert (here.state, here.entered) == ("MOVED", (3, 1))
    assert (there.state, there.origin, there.staleness) == ("DECLARED", (1, 1), 2)
    assert there.key == object_key(RUN, 1, 1, client.client_id, SHA)


def test_a_late_declaration_that_comes_twice_is_entered_once(
    world: World, http: Http, client: Client
) -> None:
    goes_on(world)
    first = declare(http, client)

    again = declare(http, client)

    assert again["receipt"] == first["receipt"]
    assert row(world, client, 2).state == "DECLARED"


def test_a_late_report_is_entered_and_tells_of_the_round_that_it_counts_in(
    world: World, http: Http, client: Client
) -> None:
    declare(http, client)
    goes_on(world)

    answers = [report(http, client) for _ in range(2)]

    assert [one.status_code for one in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["state"] == "REPORTED"
    assert answers[0].json()["entered"] == {"round": 2, "attempt": 1, "staleness": 1}
    assert (row(world, client).state, row(world, client, 2).state) == ("MOVED", "REPORTED")
    assert {event.event_id for event in world.bus.published} == {
        f"UpdateSubmitted/{RUN}/2/1/{client.client_id}"
    }


def test_an_update_that_is_late_twice_goes_on_to_the_third_round(
    world: World, http: Http, client: Client
) -> None:
    goes_on(world)
    declare(http, client)
    goes_on(world, number=3)

    response = report(http, client)

    assert response.json()["entered"] == {"round": 3, "attempt": 1, "staleness": 2}
    states = [row(world, client, number).state for number in (1, 2, 3)]
    assert states == ["MOVED", "MOVED", "REPORTED"]
    assert row(world, client, 3).origin == (1, 1)


@pytest.mark.parametrize("state", ["ACCEPTED", "REPORTED"])
def test_a_late_update_that_counts_already_is_not_moved_again(
    world: World, http: Http, client: Client, state: str
) -> None:
    goes_on(world)
    declare(http, client)
    world.change(update_key(RUN, 2, 1, client.client_id), state=state)
    goes_on(world, number=3)

    answers = [declare(http, client)["receipt"], report(http, client).json()]

    assert [answer["state"] for answer in answers] == [state, state]
    assert row(world, client, 3) is None


@pytest.mark.parametrize("state", ["SEALED", "COMMITTED", "ABORTED"])
def test_a_late_update_waits_in_the_newest_attempt_while_no_round_is_open(
    world: World, http: Http, client: Client, state: Any
) -> None:
    world.sealed(state)
    if state == "COMMITTED":
        world.version(1)

    declared, reported = declare(http, client), report(http, client)

    assert declared["receipt"]["entered"] is None
    assert reported.status_code == 202
    assert row(world, client).state == "REPORTED"


def test_a_late_update_of_the_first_attempt_is_entered_into_the_second_and_is_not_stale(
    world: World, http: Http, client: Client
) -> None:
    world.sealed("ABORTED")
    world.round(attempt=2, state="PENDING", **BUFFERED)

    answer = declare(http, client)

    assert answer["receipt"]["entered"] == {"round": 1, "attempt": 2, "staleness": 0}


def test_a_late_update_meets_a_round_that_is_sealed_meanwhile_and_is_entered_into_the_next(
    world: World, http: Http, client: Client
) -> None:
    goes_on(world)
    world.store.before_commit = lambda: goes_on(world, number=3)

    answer = declare(http, client)

    assert answer["receipt"]["entered"]["round"] == 3
    assert row(world, client, 2) is None


def test_a_held_update_is_not_left_behind_when_the_next_round_begins_meanwhile(
    world: World, http: Http, client: Client
) -> None:
    world.sealed("COMMITTED")
    world.version(1)
    declare(http, client)
    world.store.before_commit = lambda: world.round(number=2, state="PENDING", **BUFFERED)

    response = report(http, client)

    assert response.json()["entered"] == {"round": 2, "attempt": 1, "staleness": 1}


def test_an_update_that_is_too_stale_is_refused_and_both_numbers_are_named(
    world: World, http: Http, client: Client
) -> None:
    world.change(round_key(RUN, 1, 1), parameters={"max_staleness": 1})
    goes_on(world)
    goes_on(world, number=3, parameters={"max_staleness": 1})

    response = http.put(update_url(), json=declaration(), headers=client.headers())

    problem = refused(response, 409, "late")
    assert "staleness 2 is more than max_staleness 1" in problem["message"]
    assert row(world, client) is None


@pytest.mark.parametrize(
    ("state", "rounds", "why"),
    [
        ("FINISHED", 1, "run run-1 is FINISHED"),
        ("FAILED", 3, "run run-1 is FAILED"),
        ("RUNNING", 1, "run run-1 has made its last version"),
    ],
)
def test_a_late_update_of_a_run_that_is_over_is_refused(
    world: World, http: Http, client: Client, state: str, rounds: int, why: str
) -> None:
    declare(http, client)
    world.sealed("COMMITTED")
    world.version(1)
    world.change(run_key(RUN), state=state, rounds=rounds)

    problem = refused(report(http, client), 409, "late")

    assert why in problem["message"]
    assert row(world, client).state == "DECLARED"


def test_a_run_that_ends_meanwhile_takes_no_late_update(
    world: World, http: Http, client: Client
) -> None:
    world.sealed("COMMITTED")
    world.version(1)
    world.store.before_commit = lambda: world.change(run_key(RUN), state="CANCELLED")

    response = http.put(update_url(), json=declaration(), headers=client.headers())

    refused(response, 409, "late")
    assert row(world, client) is None


def test_a_client_has_one_update_in_a_round(world: World, http: Http, client: Client) -> None:
    goes_on(world, client)
    own = update_url(number=2)
    response = http.put(own, json=declaration(sha256=OTHER_SHA), headers=client.headers())
    assert response.status_code == 200

    response = http.put(update_url(), json=declaration(), headers=client.headers())

    problem = refused(response, 409, "late")
    assert problem["message"] == f"round 2 has another update of {client.client_id}"
    assert row(world, client, 2).sha256 == OTHER_SHA


def test_a_late_report_of_other_bytes_is_refused(world: World, http: Http, client: Client) -> None:
    goes_on(world)
    declare(http, client)

    refused(report(http, client, sha256=OTHER_SHA), 409, "other-digest")

    assert row(world, client, 2).state == "DECLARED"


def test_a_late_report_without_a_declaration_is_refused(
    world: World, http: Http, client: Client
) -> None:
    goes_on(world)

    refused(report(http, client), 409, "not-declared")


def test_who_waits_for_a_verdict_is_told_of_the_round_that_the_update_went_on_to(
    world: World, http: Http, client: Client
) -> None:
    declare(http, client)
    report(http, client)

    def moves() -> None:
        goes_on(world)
        there = row(world, client)
        moved = {"state": "MOVED", "entered": [2, 1]}
        world.change(update_key(RUN, 1, 1, client.client_id), **moved)
        world.put(update_key(RUN, 2, 1, client.client_id), there)
        world.change(update_key(RUN, 2, 1, client.client_id), state="ACCEPTED")

    response = http.run(wait_while(http, world, poll(http, client, update_url()), moves))

    answer = response.json()
    assert (answer["state"], answer["round"]) == ("ACCEPTED", 1)
    assert answer["entered"] == {"round": 2, "attempt": 1, "staleness": 1}


def outcome(http: Http, client: Client, number: int = 1) -> Any:
    path = f"/v1/runs/{RUN}/rounds/{number}/attempts/1/outcome"
    return http.get(path, headers=client.headers()).json()


@pytest.mark.parametrize("state", ["OPEN", "COMMITTED", "ABORTED"])
def test_the_outcome_of_a_late_update_is_that_of_the_round_that_it_was_entered_into(
    world: World, http: Http, client: Client, state: str
) -> None:
    goes_on(world)
    declare(http, client)
    world.change(update_key(RUN, 2, 1, client.client_id), state="ACCEPTED")
    world.change(round_key(RUN, 2, 1), state=state)

    answer = outcome(http, client)

    assert answer == {"round_state": state, "update_state": "ACCEPTED"}


def test_an_update_whose_place_a_late_one_has_taken_has_no_outcome(
    world: World, http: Http, client: Client
) -> None:
    """What the client keeps beside its own update of that round does not go with the late one."""
    goes_on(world, client)
    declare(http, client)
    world.change(update_key(RUN, 2, 1, client.client_id), state="ACCEPTED")
    world.change(round_key(RUN, 2, 1), state="COMMITTED")

    answer = outcome(http, client, number=2)

    assert answer == {"round_state": "COMMITTED", "update_state": None}


def test_a_buffer_that_is_larger_than_the_round_is_refused(world: World, http: Http) -> None:
    spec = world.registered()
    body = {"model": spec.model, "strategy": "fedbuff", "parameters": {"buffer_size": 3}}

    response = http.post("/v1/runs", json=body | {"target": 2}, headers=OPERATOR)

    problem = refused(response, 422, "invalid-body")
    assert problem["message"].startswith("buffer_size 3 is more than target 2")
