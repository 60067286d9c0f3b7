"""The bodies of the gateway's HTTP API, shared by the gateway and the SDK.

Clients sign each request: ``Authorization: Bearer <JWT>`` with ``alg`` EdDSA and the claims ``sub``
(client id), ``model``, ``aud`` = ``AUDIENCE``, ``iat``, ``exp`` (at most ``MAX_TOKEN_SECONDS``
later) and ``jti``. Operators send their bearer token. Errors are ``Problem`` with the HTTP status
of the error's family.

``GET /v1/models/{model}/specs/{spec}`` has no struct: it answers the model spec's canonical JSON
(`rondo_core.model_spec`) to operators and to the model's own clients, whose trainers are built
from it.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rondo_core.events import Name, Scalar, Sha256
from rondo_core.rows import RoundState, RunState, UpdateState

__all__ = [
    "AUDIENCE",
    "MAX_TOKEN_SECONDS",
    "Assignment",
    "BaseVersion",
    "Declaration",
    "Declared",
    "Enrolled",
    "Enrolment",
    "FileClaim",
    "Invites",
    "InvitesWanted",
    "ModelView",
    "Problem",
    "Receipt",
    "Report",
    "RoundView",
    "RunStarted",
    "RunView",
    "SpecRegistered",
    "SpecRegistration",
    "Upload",
    "VersionView",
    "Work",
]

AUDIENCE = "rondo"
MAX_TOKEN_SECONDS = 60
Size = Annotated[int, Meta(ge=1, le=5 * 1024**4)]


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Problem(_Body, frozen=True, kw_only=True):
    """Every error's body.

    ``code`` is stable; ``message`` names the value and the rule; ``correlation_id`` finds the log
    line.
    """

    code: str
    message: str
    correlation_id: str


class FileClaim(_Body, frozen=True, kw_only=True):
    """A file that is going to be uploaded."""

    sha256: Sha256
    size: Size


class Upload(_Body, frozen=True, kw_only=True):
    """PUT the file to ``url`` with exactly ``headers``.

    None in its place means that the store has it already.
    """

    url: str
    headers: dict[str, str]


# --- operators ------------------------------------------------------------------------------------


class SpecRegistration(_Body, frozen=True, kw_only=True):
    """``POST /v1/models/{model}/specs``: a model spec and what belongs to it."""

    spec: dict[str, Any]
    """The model spec's JSON document."""
    header: str
    """The JSON of the safetensors header that all weights of this spec begin with."""
    initial: FileClaim
    holdout: FileClaim


class SpecRegistered(_Body, frozen=True, kw_only=True):
    """Answer: the spec's digest and the uploads that are still missing."""

    spec: Sha256
    initial: Upload | None
    holdout: Upload | None


class InvitesWanted(_Body, frozen=True, kw_only=True):
    """``POST /v1/models/{model}/invites``."""

    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    uses: Annotated[int, Meta(ge=1, le=100_000)] = 1
    expires_seconds: Annotated[int, Meta(ge=60, le=31_536_000)] = 604_800


class Invites(_Body, frozen=True, kw_only=True):
    """Answer: the codes, shown this once."""

    model: str
    codes: list[str]
    expires_at: datetime


class RunStarted(_Body, frozen=True, kw_only=True):
    """Answer (202) of ``POST /v1/runs``, whose body is ``RunRequested``'s data."""

    run_id: str


class RoundView(_Body, frozen=True, kw_only=True):
    """One attempt of a round.

    ``updates`` counts the update rows by state; ``rejections`` is client -> reason.
    """

    round: int
    attempt: int
    state: RoundState
    reason: str | None = None
    clients: list[str] = []
    updates: dict[UpdateState, int] = {}
    rejections: dict[str, str] = {}
    opened_at: datetime | None = None
    sealed_at: datetime | None = None
    ended_at: datetime | None = None


class VersionView(_Body, frozen=True, kw_only=True):
    """A committed version; ``metrics`` are what the clients measured on its parent."""

    version: int
    sha256: str
    updates: int
    examples: int
    metrics: dict[str, float] = {}
    committed_at: datetime


class RunView(_Body, frozen=True, kw_only=True):
    """``GET /v1/runs/{run_id}``.

    ``GET /v1/runs`` gives a list of these without rounds and versions.
    """

    run_id: str
    model: str
    spec: str
    strategy: str
    state: RunState
    reason: str | None = None
    rounds: int
    target: int
    quorum: int
    head: int
    requested_at: datetime
    finished_at: datetime | None = None
    attempts: list[RoundView] = []
    versions: list[VersionView] = []


class ModelView(_Body, frozen=True, kw_only=True):
    """``GET /v1/models/{model}``; ``GET /v1/models`` gives a list of these."""

    model: str
    specs: list[str]
    clients: list[str]
    champion: int | None = None
    """The model's own integer of the promoted version."""
    champion_run: str | None = None
    champion_version: int | None = None
    metrics: dict[str, float] = {}
    promoted_at: datetime | None = None


# --- clients --------------------------------------------------------------------------------------


class Enrolment(_Body, frozen=True, kw_only=True):
    """``POST /v1/enrolments``: the one call without a token.

    The same key again gets the same answer.
    """

    invite: Annotated[str, Meta(min_length=8, max_length=256)]
    """``MODEL.secret``: the model's name is the part before the last dot."""
    public_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Ed25519, base64 in JSON."""
    name: Name


class Enrolled(_Body, frozen=True, kw_only=True):
    """Answer: who the client is (name, dash, first 8 hex digits of the key's SHA-256)."""

    client_id: str
    model: str


class BaseVersion(_Body, frozen=True, kw_only=True):
    """The version that a round starts from.

    Its file begins with the header that the update must begin with.
    """

    version: int
    sha256: str
    size: int
    url: str


class Assignment(_Body, frozen=True, kw_only=True):
    """What one client is asked to do in one attempt of a round."""

    run_id: str
    round: int
    attempt: int
    rounds: int
    model: str
    spec: str
    layout: str
    base: BaseVersion
    seed: int
    training: dict[str, Scalar] = {}
    deadline_at: datetime
    metrics: dict[str, float] = {}
    """The run's newest point: what the clients measured, a round before, on its base version."""


class Work(_Body, frozen=True, kw_only=True):
    """Answer of ``GET /v1/work?wait=SECONDS[&done=RUN/ROUND/ATTEMPT][&run=RUN]``, a long poll.

    It returns early with an assignment other than ``done``, or with ``run_state`` when the run
    named by ``run`` is over.
    """

    assignment: Assignment | None = None
    run_state: RunState | None = None
    reason: str | None = None


class Declaration(_Body, frozen=True, kw_only=True):
    """``PUT /v1/runs/{run}/rounds/{round}/attempts/{attempt}/update``: what is to be uploaded."""

    sha256: Sha256
    size: Size
    examples: Annotated[int, Meta(ge=1, le=10**12)]
    metrics: Annotated[dict[str, float], Meta(max_length=64)] = {}


class Declared(_Body, frozen=True, kw_only=True):
    """Answer: where to put the bytes."""

    upload: Upload
    receipt: "Receipt"


class Report(_Body, frozen=True, kw_only=True):
    """``POST …/update/report``: the upload is done."""

    sha256: Sha256


class Receipt(_Body, frozen=True, kw_only=True):
    """How an update stands.

    Answer of declare, report (202) and ``GET …/update?wait=SECONDS`` (until it is judged).

    ``code`` and ``reason`` say why it was rejected. A late declaration or report is answered 409
    with the code ``late``.
    """

    client_id: str
    run_id: str
    round: int
    attempt: int
    sha256: str
    state: Literal["DECLARED", "REPORTED", "ACCEPTED", "REJECTED"]
    code: str | None = None
    reason: str | None = None
