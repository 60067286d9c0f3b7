"""The bodies of the gateway's HTTP API for operators, shared by the gateway and the SDK.

Operators send their bearer token. Errors are ``Problem`` with the HTTP status of the error's
family.

``GET /v1/models/{model}/specs/{spec}`` has no struct: it answers the model spec's canonical JSON
(`rondo_core.model_spec`) to operators and to the model's own clients, whose trainers are built
from it.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from rondo_core.events import Sha256
from rondo_core.rows import RoundState, RunState, UpdateState
from rondo_core.wire import Size, Upload

__all__ = [
    "FileClaim",
    "Invites",
    "InvitesWanted",
    "ModelView",
    "RoundView",
    "RunStarted",
    "RunView",
    "SpecRegistered",
    "SpecRegistration",
    "VersionView",
]


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    pass


class FileClaim(_Body, frozen=True, kw_only=True):
    """A file that is going to be uploaded."""

    sha256: Sha256
    size: Size


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
