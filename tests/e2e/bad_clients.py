"""Clients that speak the gateway's HTTP themselves, to say what the SDK never would."""

import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rondo.keys import public_bytes
from rondo_core.client_wire import (
    AUDIENCE,
    Assignment,
    Declared,
    Enrolled,
    Enrolment,
    Receipt,
    Work,
)
from rondo_core.weights import digest
from rondo_core.wire import Problem, Upload
from rondo_local.stack import Stack
from tests.e2e.people import PATIENCE_SECONDS

__all__ = [
    "StrangeClient",
    "Told",
    "break_off",
    "declaration",
    "enrol",
    "logged_outcome",
    "put",
    "told",
]

EXAMPLES = 10
JUDGED = {"ACCEPTED", "REJECTED"}
STEP_SECONDS = 0.05


class Told(NamedTuple):
    """What a caller was told, by the gateway or by the store."""

    status: int
    code: str
    message: str
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class StrangeClient:
    """An enrolled client; what it signs, declares, uploads and reports is up to the test."""

    http: httpx.Client
    key: Ed25519PrivateKey
    client_id: str
    model: str

    def claims(
        self, *, age_seconds: float = 0.0, lifetime_seconds: float = 60.0, **changes: object
    ) -> dict[str, object]:
        """Return what its own token would say, with changes."""
        issued = datetime.now(UTC) - timedelta(seconds=age_seconds)
        who = {"sub": self.client_id, "model": self.model, "aud": AUDIENCE, "jti": uuid4().hex}
        times = {"iat": issued, "exp": issued + timedelta(seconds=lifetime_seconds)}
        return {**who, **times, **changes}

    def signed(self, claims: dict[str, object]) -> str:
        """Return a token with these claims, signed with its own key."""
        return jwt.encode(claims, self.key, algorithm="EdDSA")

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> httpx.Response:
        """Send bytes as they are, anything else as JSON; the token is its own unless one is given.

        An empty one is left out.
        """
        if token is None:
            token = self.signed(self.claims())
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.request(
            method,
            path,
            content=None if body is None else content,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )

    def assignment(self) -> Assignment:
        """Wait for an assignment."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self.call("GET", "/v1/work?wait=10")
            work = msgspec.json.decode(answer.raise_for_status().content, type=Work)
            if work.assignment is not None:
                return work.assignment
        raise AssertionError(f"{self.client_id} was given nothing to do")

    def declare(self, update: str, data: bytes) -> Upload:
        """Declare a file truly and return the link."""
        answer = self.call("PUT", update, declaration(data)).raise_for_status()
        return msgspec.json.decode(answer.content, type=Declared).upload

    def report(self, update: str, data: bytes) -> Receipt:
        """Report a file as uploaded."""
        answer = self.call("POST", f"{update}/report", {"sha256": digest(data)})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return msgspec.json.decode(answer.content, type=Receipt)

    def verdict(self, update: str) -> Receipt:
        """Wait until its update is judged."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            receipt = self.receipt(update)
            if receipt.state in JUDGED:
                return receipt
        raise AssertionError(f"nobody judges {self.client_id}'s update")

    def receipt(self, update: str) -> Receipt:
        """Ask how its update stands; wait a little for a verdict."""
        answer = self.call("GET", f"{update}?wait=5").raise_for_status()
        return msgspec.json.decode(answer.content, type=Receipt)


def enrol(http: httpx.Client, invite: str, name: str) -> StrangeClient:
    """Make a key and spend an invite."""
    key = Ed25519PrivateKey.generate()
    body = Enrolment(invite=invite, name=name, public_key=public_bytes(key))
    answer = http.post("/v1/enrolments", content=msgspec.json.encode(body)).raise_for_status()
    enrolled = msgspec.json.decode(answer.content, type=Enrolled)
    return StrangeClient(http, key, enrolled.client_id, enrolled.model)


def declaration(data: bytes, **changes: object) -> dict[str, object]:
    """Return what is said of a file before it is uploaded."""
    return {"sha256": digest(data), "size": len(data), "examples": EXAMPLES, **changes}


def told(answer: httpx.Response) -> Told:
    """Read a refusal of the gateway."""
    problem = msgspec.json.decode(answer.content, type=Problem)
    return Told(answer.status_code, problem.code, problem.message, problem.correlation_id)


def put(upload: Upload, data: bytes, **headers: str) -> Told:
    """Send bytes to the store, with the length that they have."""
    sent = {**upload.headers, "Content-Length": str(len(data)), **headers}
    answer = httpx.put(upload.url, headers=sent, content=data, timeout=60)
    if answer.is_success:
        return Told(answer.status_code, "", "")
    fault = ET.fromstring(answer.text)  # noqa: S314  (our own emulator's)
    return Told(answer.status_code, fault.findtext("Code", ""), fault.findtext("Message", ""))


def break_off(upload: Upload, data: bytes) -> bytes:
    """Announce the whole file, send half of it and hang up; return what the store answers."""
    url = urlsplit(upload.url)
    lines = [f"PUT {url.path}?{url.query} HTTP/1.1", f"Host: {url.netloc}"]
    lines += [f"{name}: {value}" for name, value in upload.headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    with socket.create_connection((url.hostname or "", url.port or 80), timeout=60) as connection:
        connection.sendall(head + data[: len(data) // 2])
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            return connection.recv(65_536)
    return b""


def logged_outcome(stack: Stack, correlation_id: str) -> object:
    """Return how the gateway's log says that a call ended; the line follows the answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        lines = (stack.log_folder / "gateway.log").read_text().splitlines()
        found = [line for line in lines if correlation_id in line and line.endswith("}")]
        if found:
            return json.loads(found[-1])["outcome"]
        time.sleep(STEP_SECONDS)
    raise AssertionError(f"the gateway's log has no line of {correlation_id}")
