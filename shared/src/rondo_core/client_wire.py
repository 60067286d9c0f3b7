"""The bodies of the gateway's HTTP API for clients, shared by the gateway and the SDK.

Clients sign each request: ``Authorization: Bearer <JWT>`` with ``alg`` EdDSA and the claims ``sub``
(client id), ``model``, ``aud`` = ``AUDIENCE``, ``iat``, ``exp`` (at most ``MAX_TOKEN_SECONDS``
later) and ``jti``. Errors are ``Problem`` with the HTTP status of the error's family.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from rondo_core.events import Name, Scalar, Sha256
from rondo_core.rows import RoundState, RunState, UpdateState
from rondo_core.wire import Size, Upload

__all__ = [
    "AUDIENCE",
    "LARGEST_STEPS",
    "MAX_TOKEN_SECONDS",
    "Assignment",
    "BaseVersion",
    "Declaration",
    "Declared",
    "Enrolled",
    "Enrolment",
    "Entered",
    "Outcome",
    "Receipt",
    "Report",
    "Work",
]

AUDIENCE = "rondo"
MAX_TOKEN_SECONDS = 60
LARGEST_STEPS = 1e9
"""The most that a client may declare."""


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    pass


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
    needs_steps: bool = False
    """Whether the run's strategy goes by the steps of an update, which must then be declared."""
    encoding: str = "float32"
    """How the update is to be written; see `rondo_core.encodings`."""
    controlled: bool = False
    """Whether the run is a SCAFFOLD: clients correct their steps by control variates."""
    control: BaseVersion | None = None
    """The server's control variate that belongs to the base version; None where it is all zeros.

    In units of a step: the variate of the paper times the local learning rate.
    """


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
    steps: Annotated[float, Meta(ge=1, le=LARGEST_STEPS)] | None = None
    """FedNova's ||a||_1: how many plain steps the local training was worth, momentum counted in.

    None where the trainer does not know; strategies that need it refuse the declaration.
    """


class Declared(_Body, frozen=True, kw_only=True):
    """Answer: where to put the bytes."""

    upload: Upload
    receipt: "Receipt"


class Report(_Body, frozen=True, kw_only=True):
    """``POST …/update/report``: the upload is done."""

    sha256: Sha256


class Outcome(_Body, frozen=True, kw_only=True):
    """Answer of ``GET /v1/runs/{run}/rounds/{round}/attempts/{attempt}/outcome``.

    Of an update that was entered into a later attempt, both are told of that one.
    """

    round_state: RoundState
    update_state: UpdateState | None = None

    @property
    def counted(self) -> bool | None:
        """Whether the client's update is part of a version; None while that may still change.

        One that is reported in an attempt that is over may go on to a later one (FedBuff).

        >>> Outcome(round_state="COMMITTED", update_state="ACCEPTED").counted
        True
        """
        over = self.round_state in {"COMMITTED", "ABORTED"}
        undecided = {"REPORTED"} if over else {"DECLARED", "REPORTED", "ACCEPTED"}
        if self.update_state in undecided:
            return None
        return self.round_state == "COMMITTED" and self.update_state == "ACCEPTED"


class Entered(_Body, frozen=True, kw_only=True):
    """The later attempt in which a late update counts, if it is accepted (FedBuff)."""

    round: int
    attempt: int
    staleness: int
    """Versions between the base that it was trained on and that round's."""


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
    state: UpdateState
    code: str | None = None
    reason: str | None = None
    entered: Entered | None = None
