import hashlib
import json

import pytest

from rondo_core.encodings import form_of
from rondo_core.initial_weights import layout_of_spec
from rondo_core.keys import UPDATE_PREFIX, attempt_pk, round_key, update_key
from rondo_core.model_spec import encode_model_spec
from rondo_core.model_store import spec_key
from rondo_core.rows import UpdateRow
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import OTHER_SHA, RUN, SHA, SIZE, START, Client
from tests.unit.rondo_gateway.gateway_world import (
    World,
    declaration,
    declare,
    refused,
    the_spec,
    update_url,
)

ROW = update_key(RUN, 1, 1, "north-00000001")
OBJECT = f"updates/{RUN}/000001/01/north-00000001/{SHA}"


@pytest.fixture
def client(world: World) -> Client:
    """Return a client that was chosen for round 1, which is open."""
    client = world.enrolled()
    world.begun()
    world.round(client)
    return client


def test_a_declaration_becomes_a_row_and_a_link_to_its_own_object(
    world: World, http: Http, client: Client
) -> None:
    answer = declare(http, client, steps=7.5)

    assert world.row(ROW, UpdateRow) == UpdateRow(
        client_id=client.client_id,
        state="DECLARED",
        sha256=SHA,
        size=SIZE,
        examples=10,
        metrics={"accuracy": 0.5},
        steps=7.5,
        key=OBJECT,
        declared_at=START,
    )
    assert answer["receipt"] == {
        "client_id": client.client_id,
        "run_id": RUN,
        "round": 1,
        "attempt": 1,
        "sha256": SHA,
        "state": "DECLARED",
        "code": None,
        "reason": None,
        "entered": None,
    }


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ("0.999", "`float` >= 1.0, found 0.999"),
        ("-5", ">= 1.0, found -5"),
        ("1e10", "<= 1000000000.0, found 1"),
        ("1e999", ""),
        ("NaN", ""),
        ("true", "found True"),
    ],
)
def test_steps_below_one_beyond_the_cap_or_not_a_number_are_refused(
    world: World, http: Http, client: Client, steps: str, rule: str
) -> None:
    body = json.dumps(declaration()).replace("{", f'{{"steps": {steps}, ', 1)

    response = http.put(update_url(), content=body, headers=client.headers())

    assert response.status_code in {400, 422}, response.text
    assert rule in response.text
    assert world.store.get(ROW) is None


@pytest.mark.parametrize("strategy", ["fednova", "scaffold"])
def test_a_strategy_that_divides_by_steps_takes_no_declaration_without_them(
    world: World, http: Http, client: Client, strategy: str
) -> None:
    parameters = {"population": 9} if strategy == "scaffold" else {}
    world.round(client, strategy=strategy, parameters=parameters)

    response = http.put(update_url(), json=declaration(), headers=client.headers())

    assert "needs the number of local steps" in refused(response, 422, "missing-steps")["message"]
    assert declare(http, client, steps=3)["receipt"]


def test_the_link_takes_exactly_the_declared_bytes_for_fifteen_minutes(
    world: World, http: Http, client: Client
) -> None:
    data = b"an update".ljust(SIZE)
    world.version(0, size=SIZE)
    digest = hashlib.sha256(data).hexdigest()
    upload = declare(http, client, sha256=digest)["upload"]
    assert isinstance(upload, dict)

    other_bytes = world.links.put(upload["url"], upload["headers"], b"other".ljust(SIZE))
    right_bytes = world.links.put(upload["url"], upload["headers"], data)
    world.clock.advance(901)
    late_bytes = world.links.put(upload["url"], upload["headers"], data)

    assert (other_bytes, right_bytes, late_bytes) == (400, 200, 403)
    assert world.objects.get(OBJECT.replace(SHA, digest)) == data


def test_the_same_declaration_again_gets_the_same_link(
    world: World, http: Http, client: Client
) -> None:
    first = declare(http, client)

    again = declare(http, client)

    assert again == first
    assert len(world.store.query(attempt_pk(RUN, 1, 1), UPDATE_PREFIX)) == 1


def test_another_declaration_replaces_one_that_was_not_reported(
    world: World, http: Http, client: Client
) -> None:
    declare(http, client)

    declare(http, client, sha256=OTHER_SHA, examples=11)

    row = world.row(ROW, UpdateRow)
    assert (row.sha256, row.examples, row.state) == (OTHER_SHA, 11, "DECLARED")
    assert row.key.endswith(OTHER_SHA)


@pytest.mark.parametrize("state", ["REPORTED", "ACCEPTED"])
def test_a_reported_update_is_not_replaced_but_its_receipt_is_repeated(
    world: World, http: Http, client: Client, state: str
) -> None:
    world.update(client, state=state)

    same = declare(http, client, examples=99)
    other = http.put(update_url(), json=declaration(sha256=OTHER_SHA), headers=client.headers())

    assert isinstance(same["receipt"], dict)
    assert same["receipt"]["state"] == state
    refused(other, 409, "already-reported")
    assert world.row(ROW, UpdateRow).examples == 10


def test_a_rejected_update_is_told_why_when_it_is_declared_again(
    world: World, http: Http, client: Client
) -> None:
    world.update(client, state="REJECTED", code="not-finite", reason="NaN in dense/kernel")

    answer = declare(http, client)

    assert isinstance(answer["receipt"], dict)
    assert answer["receipt"]["reason"] == "NaN in dense/kernel"


def test_an_encoded_update_has_the_length_of_its_encoding(world: World, http: Http) -> None:
    north = world.enrolled()
    world.begun()
    world.round(north, encoding="int8")
    world.objects.put(spec_key("a" * 64), encode_model_spec(the_spec()))
    size = form_of(layout_of_spec(the_spec()), "int8").size_bytes
    wrong = http.put(update_url(), json=declaration(), headers=north.headers())

    declare(http, north, size=size)

    message = refused(wrong, 422, "wrong-size")["message"]
    assert f"{SIZE} bytes; an update of this model in int8 has {size}" in message


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_a_size_that_is_not_the_layouts_is_refused(
    world: World, http: Http, client: Client, size: int
) -> None:
    response = http.put(update_url(), json=declaration(size=size), headers=client.headers())

    message = refused(response, 422, "wrong-size")["message"]
    assert str(size) in message
    assert "512" in message
    assert world.row(ROW, UpdateRow) is None


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (declaration(sha256="ABC"), "invalid-body", "$.sha256"),
        (declaration(size="many"), "invalid-body", "$.size"),
        (declaration(size=0), "invalid-body", "$.size"),
        (declaration(examples=0), "invalid-body", "$.examples"),
        (declaration(examples=1.5), "invalid-body", "$.examples"),
        (declaration(metrics={"loss": "NaN"}), "invalid-body", "$.metrics"),
        (declaration(metrics={"loss": None}), "invalid-body", "$.metrics"),
        (declaration(metrics={"loss": 1e200}), "invalid-metrics", "$.metrics.loss"),
        (declaration(metrics={"": 1.0}), "invalid-metrics", "$.metrics"),
        (declaration(metrics={"x" * 129: 1.0}), "invalid-metrics", "$.metrics"),
        (declaration(metrics={f"m{i}": 0.0 for i in range(65)}), "invalid-body", "$.metrics"),
        ({"size": SIZE, "examples": 1}, "invalid-body", "sha256"),
        ([1, 2], "invalid-body", "array"),
    ],
)
def test_a_declaration_that_breaks_a_rule_is_told_where(
    world: World, http: Http, client: Client, body: object, code: str, path: str
) -> None:
    response = http.put(update_url(), content=json.dumps(body), headers=client.headers())

    assert path in refused(response, 422, code)["message"]
    assert world.row(ROW, UpdateRow) is None


@pytest.mark.parametrize(
    "body", ["", "{", '{"size": NaN}', f"{json.dumps(declaration())} x", '{"a": ' + "[" * 100_000]
)
def test_what_is_not_json_is_refused(http: Http, client: Client, body: str) -> None:
    response = http.put(update_url(), content=body, headers=client.headers())

    refused(response, 400, "malformed-json")


def test_bytes_that_are_not_text_are_refused(http: Http, client: Client) -> None:
    response = http.put(update_url(), content=b'{"sha256": "\xff"}', headers=client.headers())

    refused(response, 400, "malformed-json")


def test_unknown_fields_are_skipped(http: Http, client: Client) -> None:
    answer = declare(http, client, colour="blue")

    assert isinstance(answer["receipt"], dict)
    assert answer["receipt"]["state"] == "DECLARED"


def test_a_client_that_was_not_chosen_may_not_declare(world: World, http: Http) -> None:
    world.begun()
    world.round(world.enrolled("south-00000002"))
    client = world.enrolled("north-00000001")

    response = http.put(update_url(), json=declaration(), headers=client.headers())

    refused(response, 403, "not-chosen")


@pytest.mark.parametrize("path", [update_url(number=2), update_url(run_id="run-2")])
def test_an_unknown_attempt_is_not_found(http: Http, client: Client, path: str) -> None:
    response = http.put(path, json=declaration(), headers=client.headers())

    refused(response, 404, "not-found")


def test_a_run_of_another_model_does_not_exist_for_a_client(
    world: World, http: Http, client: Client
) -> None:
    world.enrolled(client.client_id, model="hearts")
    stranger = world.enrolled("north-00000001", model="hearts")

    response = http.put(update_url(), json=declaration(), headers=stranger.headers())

    refused(response, 404, "not-found")


def test_nothing_is_declared_before_clients_are_chosen(world: World, http: Http) -> None:
    client = world.enrolled()
    world.begun()
    world.round(state="PENDING")

    response = http.put(update_url(), json=declaration(), headers=client.headers())

    refused(response, 409, "not-open")


@pytest.mark.parametrize("state", ["SEALED", "COMMITTED", "ABORTED"])
@pytest.mark.parametrize("declared", [False, True])
def test_a_late_declaration_is_refused(
    world: World, http: Http, client: Client, state: str, *, declared: bool
) -> None:
    if declared:
        declare(http, client)
    world.change(round_key(RUN, 1, 1), state=state, reason="no quorum")

    response = http.put(update_url(), json=declaration(), headers=client.headers())

    message = refused(response, 409, "late")["message"]
    assert state in message
    assert "no quorum" in message


def test_after_the_seal_whoever_was_in_time_still_gets_the_same_receipt(
    world: World, http: Http, client: Client
) -> None:
    world.update(client, state="ACCEPTED")
    world.sealed()

    declared = declare(http, client)
    reported = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    assert declared["receipt"] == reported.json()
    assert reported.json()["state"] == "ACCEPTED"
    assert world.bus.published == []


def test_an_update_that_was_found_late_is_late_for_ever(
    world: World, http: Http, client: Client
) -> None:
    world.update(client, state="REJECTED", code="late", reason="sealed before")
    world.sealed("COMMITTED")

    declared = http.put(update_url(), json=declaration(), headers=client.headers())
    reported = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    refused(declared, 409, "late")
    refused(reported, 409, "late")


@pytest.mark.parametrize(
    "path",
    [
        update_url(number=0),
        update_url(attempt=100),
        update_url(run_id="a b"),
        "/v1/runs/r/rounds/one/attempts/1/update",
    ],
)
def test_a_path_that_cannot_be_an_attempt_is_refused(http: Http, client: Client, path: str) -> None:
    response = http.put(path, json=declaration(), headers=client.headers())

    refused(response, 422, "invalid-parameter")
