"""The events of Rondo: frozen structs, sent as `rondo_core.cloud_events` writes them.

Requests end in ``Requested``, facts are past tense. New fields get defaults; fields are never
retyped or removed: unknown fields are skipped, unknown types refused.
"""

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from rondo_core.async_results import AsyncResult

__all__ = [
    "EVENT_TYPES",
    "BatchEnded",
    "BatchRequested",
    "EvaluationRequested",
    "Event",
    "Name",
    "RoundAborted",
    "RoundOpened",
    "RoundRequested",
    "RoundSealed",
    "RunFinished",
    "RunProgress",
    "RunRequested",
    "Scalar",
    "Sha256",
    "UpdateAccepted",
    "UpdateRejected",
    "UpdateSubmitted",
    "VersionCommitted",
    "VersionHeld",
    "VersionPromoted",
]

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=64)]
"""A run, model or client name: safe in keys, URLs and execution names."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Scalar = bool | int | float | str
PositiveInt = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=2_592_000)]


class _Base(msgspec.Struct, frozen=True, kw_only=True):
    event_id: Annotated[str, Meta(min_length=1, max_length=512)]
    run_id: Name
    occurred_at: Annotated[datetime, Meta(tz=True)]


class RunRequested(_Base, frozen=True, kw_only=True):
    """Someone wants a run of a model; published by operators, twice is once."""

    model: Name
    spec: Sha256 | None = None
    """SHA-256 of the model spec; None means the model's newest."""
    strategy: Name = "fedavg"
    parameters: dict[str, Scalar] = {}
    """Parameters of the strategy."""
    training: dict[str, Scalar] = {}
    """Overrides of the model spec's training defaults (``epochs``, ``batch_size``, …)."""
    encoding: Annotated[str, Meta(max_length=40)] = "float32"
    """Of updates: ``float32``, ``float16``, ``bfloat16``, ``int8``, ``top-k:SHARE``"""
    rounds: Annotated[int, Meta(ge=1, le=10_000)] = 10
    target: PositiveInt = 2
    """A round is sealed as soon as this many updates are accepted; it chooses this many clients."""
    quorum: PositiveInt = 1
    """At the deadline a round is sealed with at least this many updates, else aborted."""
    deadline_seconds: Seconds = 600.0
    start_deadline_seconds: Seconds = 300.0


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The state machine's whole state: small, and sent as it is."""

    run_id: Name
    rounds: PositiveInt
    round: PositiveInt
    attempt: PositiveInt


class RoundRequested(_Base, frozen=True, kw_only=True):
    """The state machine asks for one attempt of a round and waits for its task token."""

    state: RunProgress
    task_token: str


class EvaluationRequested(_Base, frozen=True, kw_only=True):
    """The state machine asks for a verdict on the last version and waits for its task token."""

    state: RunProgress
    task_token: str


class _RoundEvent(_Base, frozen=True, kw_only=True):
    round: PositiveInt
    attempt: PositiveInt


class RoundOpened(_RoundEvent, frozen=True, kw_only=True):
    """Clients were chosen and may declare updates."""

    base: int
    clients: int
    deadline_at: datetime


class UpdateSubmitted(_RoundEvent, frozen=True, kw_only=True):
    """A client says that its upload is in the store (a hint; the row is the truth)."""

    client_id: Name
    sha256: Sha256


class UpdateAccepted(_RoundEvent, frozen=True, kw_only=True):
    """An update passed validation and counts (a hint; the row is the truth)."""

    client_id: Name
    sha256: Sha256


class UpdateRejected(_RoundEvent, frozen=True, kw_only=True):
    """An update was refused; ``code`` is stable, ``reason`` is for people (a hint.

    The row is the truth).
    """

    client_id: Name
    sha256: Sha256
    code: str
    reason: str


class RoundSealed(_RoundEvent, frozen=True, kw_only=True):
    """The set of accepted updates is frozen in the manifest."""

    manifest: Sha256
    updates: int


class VersionCommitted(_RoundEvent, frozen=True, kw_only=True):
    """A round made the run's next version."""

    version: int
    sha256: Sha256
    metrics: dict[str, float] = {}
    """What the round's clients measured on the base version, combined by examples."""


class RoundAborted(_RoundEvent, frozen=True, kw_only=True):
    """An attempt of a round ended without a version."""

    reason: str


class VersionPromoted(_Base, frozen=True, kw_only=True):
    """A version became the model's champion; inference serves it."""

    model: Name
    version: int
    """N of RUN/N."""
    model_version: int
    """The model's own integer, which serving shows."""
    sha256: Sha256
    metrics: dict[str, float] = {}


class VersionHeld(_Base, frozen=True, kw_only=True):
    """A version was checked and not promoted."""

    model: Name
    version: int
    reason: str
    metrics: dict[str, float] = {}


class RunFinished(_Base, frozen=True, kw_only=True):
    """A run is over."""

    state: Literal["FINISHED", "FAILED", "CANCELLED"]
    reason: str


class BatchRequested(_Base, frozen=True, kw_only=True):
    """A batch job is to be begun, or gone on with after a cancel (a hint; the row is the truth).

    ``run_id`` is the run that made the version which predicts.
    """

    job_id: Name
    model: Name
    model_version: int


class BatchEnded(_Base, frozen=True, kw_only=True):
    """A batch job is over; ``result`` says so as SageMaker's asynchronous inference does."""

    job_id: Name
    state: Literal["COMPLETED", "FAILED", "CANCELLED"]
    records: int = 0
    failed_records: int = 0
    ignored_columns: int = 0
    """Columns of a CSV that the model does not have."""
    result: AsyncResult


Event = (
    RunRequested
    | RoundRequested
    | EvaluationRequested
    | RoundOpened
    | UpdateSubmitted
    | UpdateAccepted
    | UpdateRejected
    | RoundSealed
    | VersionCommitted
    | RoundAborted
    | VersionPromoted
    | VersionHeld
    | RunFinished
    | BatchRequested
    | BatchEnded
)
EVENT_TYPES: dict[str, type[Event]] = {event.__name__: event for event in get_args(Event)}
