"""Calls that are refused at once, and what their senders are told."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jwt

from rondo.keys import public_bytes
from tests.e2e.bad_clients import StrangeClient

__all__ = [
    "CALLS",
    "DECLARATIONS",
    "TOKENS",
    "UPLOADS",
    "BadDeclaration",
    "BadToken",
    "BadUpload",
    "Refusal",
]

HOUR_SECONDS = 3600.0
NOT_SIGNED = "not signed with EdDSA by the client's key"


class BadToken(NamedTuple):
    """How a token is made, of the client that it names and of one that steals; the answer (401)."""

    make: Callable[[StrangeClient, StrangeClient], str]
    code: str
    message: str


TOKENS = {
    "none": BadToken(
        lambda _named, _thief: "",
        "token-missing",
        "an Authorization header 'Bearer TOKEN' is needed",
    ),
    "not-a-token": BadToken(lambda _named, _thief: "abc", "token-invalid", "not a JSON Web Token"),
    "expired": BadToken(
        lambda named, _thief: named.signed(named.claims(age_seconds=HOUR_SECONDS)),
        "token-expired",
        "the token's time was over 35",
    ),
    "of-the-future": BadToken(
        lambda named, _thief: named.signed(named.claims(age_seconds=-HOUR_SECONDS)),
        "token-invalid",
        "s in the future",
    ),
    "long-lived": BadToken(
        lambda named, _thief: named.signed(named.claims(lifetime_seconds=HOUR_SECONDS)),
        "token-invalid",
        "exp is 3600 s after iat; at most 60",
    ),
    "for-others": BadToken(
        lambda named, _thief: named.signed(named.claims(aud="elsewhere")),
        "token-invalid",
        "aud is 'elsewhere', expected 'rondo'",
    ),
    "foreign": BadToken(
        lambda named, thief: thief.signed(named.claims()), "token-invalid", NOT_SIGNED
    ),
    "with-the-public-key-as-password": BadToken(
        lambda named, _thief: jwt.encode(
            named.claims(), public_bytes(named.key), algorithm="HS256"
        ),
        "token-invalid",
        NOT_SIGNED,
    ),
    "unsigned": BadToken(
        lambda named, _thief: jwt.encode(named.claims(), "", algorithm="none"),
        "token-invalid",
        NOT_SIGNED,
    ),
    "of-nobody": BadToken(
        lambda named, _thief: named.signed(named.claims(sub="nobody-01234567")),
        "unknown-client",
        "'nobody-01234567' is not enrolled for 'crowd'",
    ),
    "of-another-model": BadToken(
        lambda named, _thief: named.signed(named.claims(model="elsewhere")),
        "unknown-client",
        "is not enrolled for 'elsewhere'",
    ),
}


class BadDeclaration(NamedTuple):
    """A body, or how it differs from a true one; the answer."""

    body: bytes | Mapping[str, object]
    status: int
    code: str
    message: str


DECLARATIONS = {
    "empty": BadDeclaration(b"", 400, "malformed-json", "the body is empty; send JSON"),
    "not-json": BadDeclaration(b"an update", 400, "malformed-json", "invalid character (byte 0)"),
    "cut": BadDeclaration(b'{"sha256": "', 400, "malformed-json", "truncated"),
    "long": BadDeclaration(
        bytes(1024 * 1024 + 1), 413, "body-too-large", "1048577 bytes are over 1048576"
    ),
    "truncated-file": BadDeclaration(
        {"size": 2751},
        422,
        "wrong-size",
        "2751 bytes; an update of this model in float32 has 2752 - at `$.size`",
    ),
    "oversized-file": BadDeclaration(
        {"size": 5_000_000_000},
        422,
        "wrong-size",
        "5000000000 bytes; an update of this model in float32 has 2752 - at `$.size`",
    ),
    "no-digest": BadDeclaration(
        {"sha256": None}, 422, "invalid-body", "got `null`, found None - at `$.sha256`"
    ),
    "half-a-digest": BadDeclaration(
        {"sha256": "c0ffee"}, 422, "invalid-body", "found 'c0ffee' - at `$.sha256`"
    ),
    "no-examples": BadDeclaration(
        {"examples": 0}, 422, "invalid-body", "Expected `int` >= 1, found 0 - at `$.examples`"
    ),
    "half-an-example": BadDeclaration(
        {"examples": 1.5}, 422, "invalid-body", "got `float`, found 1.5 - at `$.examples`"
    ),
    "boundless-metric": BadDeclaration(
        {"metrics": {"loss": 1e200}},
        422,
        "invalid-metrics",
        "1e+200 is not a finite number up to 1e+100 - at `$.metrics.loss`",
    ),
    "nan-metric": BadDeclaration(
        {"metrics": {"loss": float("nan")}}, 400, "malformed-json", "invalid character"
    ),
}


class Refusal(NamedTuple):
    """The answer to a call that is well-formed, and not for this caller or not now."""

    status: int
    code: str
    message: str


CALLS = {
    "as-operator": Refusal(401, "operator-token-invalid", "not the operators' token"),
    "not-chosen": Refusal(403, "not-chosen", "was not chosen for attempt crowd-1/1/1"),
    "of-another-model": Refusal(404, "not-found", "there is no attempt crowd-1/1/1"),
    "another-round": Refusal(404, "not-found", "there is no attempt crowd-1/2/1"),
    "report-of-nothing": Refusal(409, "not-declared", "was not declared for this attempt"),
    "report-of-another": Refusal(409, "other-digest", "was declared, not 0000"),
    "empty-report": Refusal(400, "malformed-json", "the body is empty; send JSON"),
    "second-update": Refusal(409, "already-reported", "was reported for this attempt, so 0000"),
    "second-report": Refusal(409, "already-reported", "was reported for this attempt, so 0000"),
}


class BadUpload(NamedTuple):
    """What is sent in place of the file that was declared; the store's answer."""

    make: Callable[[bytes], bytes]
    status: int
    code: str


UPLOADS = {
    "truncated": BadUpload(lambda data: data[:-1], 403, "SignatureDoesNotMatch"),
    "oversized": BadUpload(lambda data: data + b"\0", 403, "SignatureDoesNotMatch"),
    "other-bytes": BadUpload(lambda data: data[:-1] + b"\1", 400, "BadDigest"),
}
