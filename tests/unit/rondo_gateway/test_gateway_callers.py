import hmac
import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rondo_core.keys import OPERATOR_KEY, client_key
from rondo_core.model_rows import ClientRow
from rondo_core.run_store import Delete
from rondo_gateway.domain.tokens import LEEWAY_SECONDS
from rondo_gateway.handlers import callers
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import MODEL, START, Client
from tests.unit.rondo_gateway.gateway_world import OPERATOR, World, refused

WORK = "/v1/work"
OPERATOR_CALLS = [
    ("POST", "/v1/models/digits/specs"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/digits"),
    ("POST", "/v1/models/digits/invites"),
    ("POST", "/v1/runs"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/run-1"),
]
CLIENT_CALLS = [
    ("GET", WORK),
    ("PUT", "/v1/runs/run-1/rounds/1/attempts/1/update"),
    ("GET", "/v1/runs/run-1/rounds/1/attempts/1/update"),
    ("POST", "/v1/runs/run-1/rounds/1/attempts/1/update/report"),
]
SPEC_CALL = ("GET", f"/v1/models/digits/specs/{'a' * 64}")


def encoded(*parts: dict[str, object]) -> list[bytes]:
    return [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]


def test_a_client_is_let_in_by_a_token_it_signed_itself(world: World, http: Http) -> None:
    client = world.enrolled()

    response = http.get(WORK, headers=client.headers())

    assert response.status_code == 200


@pytest.mark.parametrize(("method", "path"), [*OPERATOR_CALLS, *CLIENT_CALLS, SPEC_CALL])
def test_every_call_but_enrolment_needs_a_token(http: Http, method: str, path: str) -> None:
    response = http.run(http.client.request(method, path))

    refused(response, 401, "token-missing")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), OPERATOR_CALLS)
def test_a_client_is_no_operator(world: World, http: Http, method: str, path: str) -> None:
    headers = world.enrolled().headers()

    response = http.run(http.client.request(method, path, headers=headers))

    refused(response, 401, "operator-token-invalid")


@pytest.mark.parametrize(("method", "path"), CLIENT_CALLS)
def test_an_operator_is_no_client(http: Http, method: str, path: str) -> None:
    response = http.run(http.client.request(method, path, headers=OPERATOR))

    refused(response, 401, "token-invalid")


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", "Basic b3BlcmF0b3I6", ""])
def test_a_wrong_operator_token_is_refused(http: Http, header: str) -> None:
    response = http.get("/v1/models", headers={"Authorization": header})

    assert response.status_code == 401


def test_no_token_fits_before_an_operator_token_was_made(world: World, http: Http) -> None:
    world.store.commit(Delete(OPERATOR_KEY))

    response = http.get("/v1/models", headers=OPERATOR)

    refused(response, 401, "operator-token-invalid")


def test_an_unknown_client_is_refused(http: Http) -> None:
    response = http.get(WORK, headers=Client("stranger-00000001").headers())

    assert "stranger-00000001" in refused(response, 401, "unknown-client")["message"]


def test_a_client_of_one_model_is_unknown_to_another(world: World, http: Http) -> None:
    client = world.enrolled(model="digits")

    response = http.get(WORK, headers=client.headers(model="hearts"))

    refused(response, 401, "unknown-client")


def test_a_token_signed_with_another_key_is_refused(world: World, http: Http) -> None:
    world.enrolled("north-00000001")
    forger = Client("north-00000001")

    response = http.get(WORK, headers=forger.headers())

    refused(response, 401, "token-invalid")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"aud": "other"}, "aud is 'other'"),
        ({"aud": ["rondo", "other"]}, "$.aud"),
        ({"exp": None}, "exp"),
        ({"iat": None}, "iat"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "$.jti"),
        ({"sub": None}, "sub"),
        ({"sub": 7}, "$.sub"),
        ({"sub": "a/b"}, "$.sub"),
        ({"model": None}, "model"),
        ({"exp": int(START.timestamp()) + 61}, "61 s after iat"),
        ({"exp": int(START.timestamp()) - 1}, "-1 s after iat"),
        ({"exp": "soon"}, "$.exp"),
    ],
)
def test_a_token_with_a_wrong_claim_is_told_which(
    world: World, http: Http, changes: dict[str, Any], what: str
) -> None:
    client = world.enrolled()

    response = http.get(WORK, headers=client.headers(**changes))

    assert what in refused(response, 401, "token-invalid")["message"]


def test_an_expired_token_is_refused_once_the_leeway_is_over(world: World, http: Http) -> None:
    headers = world.enrolled().headers()

    world.clock.advance(60 + LEEWAY_SECONDS)
    just_in_time = http.get(WORK, headers=headers)
    world.clock.advance(1)
    too_late = http.get(WORK, headers=headers)

    assert just_in_time.status_code == 200
    refused(too_late, 401, "token-expired")


def test_a_token_from_the_future_is_refused_beyond_the_leeway(world: World, http: Http) -> None:
    client = world.enrolled()
    ahead = START + timedelta(seconds=LEEWAY_SECONDS)

    just_in_time = http.get(WORK, headers=client.headers(ahead))
    too_early = http.get(WORK, headers=client.headers(ahead + timedelta(seconds=1)))

    assert just_in_time.status_code == 200
    assert "in the future" in refused(too_early, 401, "token-invalid")["message"]


def test_a_token_without_a_signature_is_refused(world: World, http: Http) -> None:
    token = jwt.encode(world.enrolled().claims(), "", algorithm="none")

    response = http.get(WORK, headers={"Authorization": f"Bearer {token}"})

    refused(response, 401, "token-invalid")


@pytest.mark.parametrize("encoding", [Encoding.Raw, Encoding.PEM])
def test_the_public_key_is_no_shared_secret(world: World, http: Http, encoding: Encoding) -> None:
    client = world.enrolled()
    shape = PublicFormat.Raw if encoding is Encoding.Raw else PublicFormat.SubjectPublicKeyInfo
    secret = client.key.public_key().public_bytes(encoding, shape)
    signed = b".".join(encoded({"alg": "HS256", "typ": "JWT"}, client.claims()))
    signature = urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    token = b".".join((signed, signature)).decode()

    response = http.get(WORK, headers={"Authorization": f"Bearer {token}"})

    refused(response, 401, "token-invalid")


@pytest.mark.parametrize("token", ["a.b.c", "a.b", "..", "x" * 5000, "e30.e30.e30"])
def test_what_is_no_token_is_refused(http: Http, token: str) -> None:
    response = http.get(WORK, headers={"Authorization": f"Bearer {token}"})

    refused(response, 401, "token-invalid")


def test_a_key_in_the_table_that_is_none_lets_nobody_in(world: World, http: Http) -> None:
    client = world.enrolled()
    world.change(client_key(MODEL, client.client_id), public_key=b"short")

    response = http.get(WORK, headers=client.headers())

    refused(response, 401, "token-invalid")


def test_a_client_is_read_from_the_table_once(world: World, http: Http) -> None:
    client = world.enrolled()

    for _ in range(3):
        http.get(WORK, headers=client.headers())

    assert world.store.reads.count("MODEL#digits/CLIENT#north-00000001") == 1


def test_a_removed_client_is_forgotten_after_a_while(world: World, http: Http) -> None:
    client = world.enrolled()
    http.get("/v1/runs/run-1/rounds/1/attempts/1/update", headers=client.headers())
    world.store.commit(Delete(client_key(MODEL, client.client_id)))
    world.clock.advance(callers.KEEP.total_seconds())

    response = http.get(WORK, headers=client.headers(world.clock.now()))

    refused(response, 401, "unknown-client")


def test_a_removed_client_that_polls_is_noticed_at_the_next_touch(world: World, http: Http) -> None:
    client = world.enrolled()
    http.get(WORK, headers=client.headers())
    world.store.commit(Delete(client_key(MODEL, client.client_id)))
    world.clock.advance(callers.TOUCH_SECONDS)

    response = http.get(WORK, headers=client.headers(world.clock.now()))

    refused(response, 401, "unknown-client")
    assert world.row(client_key(MODEL, client.client_id), ClientRow) is None


def test_polling_counts_as_being_there_and_is_written_seldom(world: World, http: Http) -> None:
    client, key = world.enrolled(), client_key(MODEL, "north-00000001")
    seen = []

    for seconds in (0, callers.TOUCH_SECONDS - 1, 1, callers.TOUCH_SECONDS - 1, 1):
        world.clock.advance(seconds)
        http.get(WORK, headers=client.headers(world.clock.now()))
        seen.append((world.row(key, ClientRow).last_seen - START).total_seconds())

    assert seen == [0, 0, 20, 20, 40]


def test_the_ring_of_keys_does_not_grow_without_end(
    world: World, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "CAPACITY", 2)
    clients = [world.enrolled(f"client-{number}") for number in range(3)]

    for client in [*clients, clients[0], clients[2]]:
        assert http.get(WORK, headers=client.headers()).status_code == 200

    reads = [what for what in world.store.reads if "CLIENT#" in what]
    assert reads.count("MODEL#digits/CLIENT#client-0") == 2
    assert reads.count("MODEL#digits/CLIENT#client-2") == 1


def test_a_key_made_from_the_same_bytes_signs_for_the_same_client(world: World, http: Http) -> None:
    client = world.enrolled()
    restored = Ed25519PrivateKey.from_private_bytes(client.key.private_bytes_raw())

    response = http.get(WORK, headers=Client(client.client_id, key=restored).headers())

    assert response.status_code == 200
