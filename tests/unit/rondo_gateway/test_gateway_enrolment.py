import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rondo_core.keys import client_key, invite_key
from rondo_core.model_rows import ClientRow, InviteRow
from rondo_gateway.domain.enrolment import MAX_NAME
from rondo_gateway.handlers.enrolment import TRIES
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import MODEL, START
from tests.unit.rondo_gateway.gateway_world import OPERATOR, World, enrolment, refused

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
CLIENT_ID = "north-139e3940"
"""Name and the first digits of SHA-256 of KEY's public half."""


def test_an_invite_makes_a_client_that_may_call(world: World, http: Http) -> None:
    code = world.invited(uses=2)

    response = http.post("/v1/enrolments", json=enrolment(code, KEY))

    assert response.json() == {"client_id": CLIENT_ID, "model": MODEL}
    row = world.row(client_key(MODEL, CLIENT_ID), ClientRow)
    assert row.public_key == KEY.public_key().public_bytes_raw()
    assert row.last_seen == START
    assert world.row(invite_key(MODEL, code), InviteRow).uses_left == 1


def test_the_same_key_again_gets_the_same_answer_and_spends_nothing(
    world: World, http: Http
) -> None:
    body = enrolment(world.invited(uses=1), KEY)
    first = http.post("/v1/enrolments", json=body)
    world.clock.advance(1000)

    again = http.post("/v1/enrolments", json=body)

    assert again.json() == first.json()
    assert world.row(invite_key(MODEL, body["invite"]), InviteRow).uses_left == 0


@pytest.mark.parametrize("code", ["digits.wrong-secret", "no-dot-in-it", ".secret-only"])
def test_an_unknown_invite_is_refused(world: World, http: Http, code: str) -> None:
    world.invited()

    response = http.post("/v1/enrolments", json=enrolment(code, KEY))

    refused(response, 404, "invite-unknown")


def test_an_invite_of_one_model_does_not_open_another(world: World, http: Http) -> None:
    secret = world.invited(model="digits").rpartition(".")[2]

    response = http.post("/v1/enrolments", json=enrolment(f"hearts.{secret}", KEY))

    refused(response, 404, "invite-unknown")


def test_an_expired_invite_is_refused(world: World, http: Http) -> None:
    code = world.invited(seconds=60)
    world.clock.advance(60)

    response = http.post("/v1/enrolments", json=enrolment(code, KEY))

    refused(response, 403, "invite-expired")


def test_a_used_up_invite_is_refused_to_another_key(world: World, http: Http) -> None:
    code = world.invited(uses=1)
    http.post("/v1/enrolments", json=enrolment(code, KEY))

    response = http.post("/v1/enrolments", json=enrolment(code, Ed25519PrivateKey.generate()))

    refused(response, 403, "invite-used-up")


def test_two_who_spend_one_invite_at_once_are_both_counted(world: World, http: Http) -> None:
    code = world.invited(uses=5)
    world.store.before_commit = lambda: world.change(invite_key(MODEL, code), uses_left=4)

    response = http.post("/v1/enrolments", json=enrolment(code, KEY))

    assert response.status_code == 200
    assert world.row(invite_key(MODEL, code), InviteRow).uses_left == 3


def test_an_invite_that_others_always_spend_first_is_a_matter_of_trying_again(
    world: World, http: Http
) -> None:
    code = world.invited(uses=1000)

    def spend() -> None:
        left = world.row(invite_key(MODEL, code), InviteRow).uses_left
        world.change(invite_key(MODEL, code), uses_left=left - 1)
        world.store.before_commit = spend

    world.store.before_commit = spend
    response = http.post("/v1/enrolments", json=enrolment(code, KEY))
    world.store.before_commit = None

    refused(response, 503, "unavailable")
    assert response.headers["Retry-After"] == "1"
    assert world.row(invite_key(MODEL, code), InviteRow).uses_left == 1000 - TRIES


def test_another_key_with_the_same_first_digits_cannot_take_over_a_name(
    world: World, http: Http
) -> None:
    code = world.invited()
    world.enrolled(CLIENT_ID)

    response = http.post("/v1/enrolments", json=enrolment(code, KEY))

    refused(response, 409, "name-taken")


def test_a_name_leaves_room_for_the_digits_of_the_key(world: World, http: Http) -> None:
    code = world.invited()

    longest = http.post("/v1/enrolments", json=enrolment(code, KEY, name="n" * MAX_NAME))
    longer = http.post("/v1/enrolments", json=enrolment(code, KEY, name="n" * (MAX_NAME + 1)))

    assert len(longest.json()["client_id"]) == 64
    assert "`$.name`" in refused(longer, 422, "name-too-long")["message"]


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("public_key", "AAAA", "$.public_key"),
        ("public_key", "no base64 !", "$.public_key"),
        ("name", "a/b", "$.name"),
        ("invite", 7, "$.invite"),
    ],
)
def test_a_malformed_enrolment_is_told_where_it_is_wrong(
    http: Http, field: str, value: object, path: str
) -> None:
    body = {**enrolment("digits.secret", KEY), field: value}

    response = http.post("/v1/enrolments", json=body)

    assert path in refused(response, 422, "invalid-body")["message"]


def test_invites_are_shown_once_and_kept_as_hashes(world: World, http: Http) -> None:
    world.registered()

    response = http.post(
        "/v1/models/digits/invites",
        json={"count": 2, "uses": 3, "expires_seconds": 600},
        headers=OPERATOR,
    )

    assert response.json() == {
        "model": MODEL,
        "codes": ["digits.1-secret", "digits.2-secret"],
        "expires_at": "2026-01-02T03:14:05Z",
    }
    rows = world.store.query("MODEL#digits", "INVITE#")
    assert [row["uses_left"] for row in rows] == [3, 3]
    assert "1-secret" not in str(rows)


def test_many_invites_are_all_written(world: World, http: Http) -> None:
    world.registered()

    http.post("/v1/models/digits/invites", json={"count": 101}, headers=OPERATOR)

    assert len(world.store.query("MODEL#digits", "INVITE#")) == 101


def test_an_invite_that_was_just_made_can_be_spent(world: World, http: Http) -> None:
    world.registered()
    made = http.post("/v1/models/digits/invites", json={}, headers=OPERATOR).json()

    response = http.post("/v1/enrolments", json=enrolment(made["codes"][0], KEY))

    assert response.json()["client_id"] == CLIENT_ID


def test_invites_need_a_model(http: Http) -> None:
    response = http.post("/v1/models/digits/invites", json={}, headers=OPERATOR)

    assert "digits" in refused(response, 404, "not-found")["message"]
