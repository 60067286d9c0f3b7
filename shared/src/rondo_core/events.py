"""The events of Rondo: frozen structs inside a CloudEvents 1.0 JSON envelope.

``event_id``, the struct's name, ``occurred_at`` and ``run_id`` are the envelope's ``id``, ``type``,
``time`` and ``subject``; all other fields are its ``data``. ``traceparent`` is that of the
distributed tracing extension. Queues filter on the body's ``type``.
Requests end in ``Requested``, facts are past tense. New fields get defaults; fields are never
retyped or removed: unknown fields are skipped, unknown types refused.

Source: CloudEvents 1.0.2, JSON event format (cloudevents.io).
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from rondo_core.errors import EventInvalid
from rondo_core.faults import Fault, fault_in_json, read_fault

__all__ = [
    "EVENT_TYPES",
    "AsyncRequest",
    "AsyncResponse",
    "AsyncResult",
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
    "decode_event",
    "encode_event",
    "traceparent_of",
]

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=64)]
"""A run, model or client name: safe in keys, URLs and execution names."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Scalar = bool | int | float | str
PositiveInt = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=2_592_000)]
SPEC_VERSION = "1.0"


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


class AsyncRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was asked for, in SageMaker's words."""

    content_type: str
    endpoint_name: str
    input_location: str


class AsyncResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of it, in SageMaker's words."""

    content_type: str
    output_location: str


class AsyncResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What SageMaker sends to a topic when an asynchronous inference ends; the shape is its own.

    Source: "Check prediction results" of asynchronous inference (docs.aws.amazon.com/sagemaker).
    """

    aws_region: str
    event_time: datetime
    received_time: datetime
    invocation_status: Literal["Completed", "Failed"]
    failure_reason: str | msgspec.UnsetType = msgspec.UNSET
    request_parameters: AsyncRequest
    response_parameters: AsyncResponse | msgspec.UnsetType = msgspec.UNSET
    inference_id: str
    event_version: Literal["1.0"] = "1.0"
    event_source: Literal["aws:sagemaker"] = "aws:sagemaker"
    event_name: Literal["InferenceResult"] = "InferenceResult"


class BatchEnded(_Base, frozen=True, kw_only=True):
    """A batch job is over; ``result`` says so as SageMaker's asynchronous inference does."""

    job_id: Name
    state: Literal["COMPLETED", "FAILED", "CANCELLED"]
    records: int = 0
    failed_records: int = 0
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
_ENVELOPE_PATHS = {"event_id": "$.id", "run_id": "$.subject", "occurred_at": "$.time"}
"""Where the fields that are not data stand in the message."""


class _Traced(msgspec.Struct, frozen=True):
    traceparent: str = ""


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    specversion: Literal["1.0"]
    id: str
    source: Annotated[str, Meta(min_length=1)]
    type: str
    time: str
    subject: str
    data: dict[str, Any] = {}
    datacontenttype: Literal["application/json"] = "application/json"


def encode_event(event: Event, *, source: str, traceparent: str = "") -> str:
    """Write an event as CloudEvents JSON.

    Args:
        event: any of the structs of this module.
        source: who publishes, for example ``rondo/dispatcher``.
        traceparent: the span that it is published in (W3C Trace Context); empty: in none.

    Returns:
        The message body, UTF-8 text.

    >>> from datetime import UTC, datetime
    >>> at = datetime(2026, 1, 2, tzinfo=UTC)
    >>> event = RunFinished(
    ...     event_id="a", run_id="run-1", occurred_at=at, state="FINISHED", reason=""
    ... )
    >>> decode_event(encode_event(event, source="doctest")) == event
    True
    """
    data = msgspec.to_builtins(event)
    identity = {name: data.pop(name) for name in _ENVELOPE_PATHS}
    envelope = {
        "specversion": SPEC_VERSION,
        "id": identity["event_id"],
        "source": source,
        "type": type(event).__name__,
        "time": identity["occurred_at"],
        "subject": identity["run_id"],
        "datacontenttype": "application/json",
        "data": data,
    }
    if traceparent:
        envelope["traceparent"] = traceparent
    return msgspec.json.encode(envelope).decode()


def traceparent_of(body: str | bytes) -> str:
    """Return the span that a message was published in; empty where it names none.

    >>> traceparent_of('{"traceparent": "00-0a-0b-01"}'), traceparent_of("[]")
    ('00-0a-0b-01', '')
    """
    try:
        return msgspec.json.decode(body, type=_Traced).traceparent
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def decode_event(body: str | bytes) -> Event:
    """Read a message body.

    Raises:
        EventInvalid: not CloudEvents JSON, an unknown ``type``, or data of the wrong shape; the
            text names the path.

    >>> decode_event(b"{}")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    rondo_core.errors.EventInvalid: not a CloudEvents 1.0 message: ...
    """
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.MsgspecError as exc:
        raise EventInvalid(f"not a CloudEvents 1.0 message: {fault_in_json(exc, body)}") from exc
    except UnicodeDecodeError as exc:
        raise EventInvalid(f"not a CloudEvents 1.0 message: {exc}") from exc
    except RecursionError as exc:
        raise EventInvalid("not a CloudEvents 1.0 message: nested too deeply") from exc
    struct = EVENT_TYPES.get(envelope.type)
    if struct is None:
        known = ", ".join(sorted(EVENT_TYPES))
        raise EventInvalid(f"unknown event type {envelope.type!r}; known: {known}")
    fields = {
        **envelope.data,
        "event_id": envelope.id,
        "run_id": envelope.subject,
        "occurred_at": envelope.time,
    }
    try:
        event: Event = msgspec.convert(fields, type=struct)
    except msgspec.ValidationError as exc:
        fault = _as_sent(read_fault(exc, fields))
        raise EventInvalid(f"{envelope.type} {envelope.id!r}: {fault}") from exc
    return event


def _as_sent(fault: Fault) -> Fault:
    """Name the place as it is in the message, where the fields of an event are not side by side."""
    field = fault.steps[0] if fault.steps else None
    path = _ENVELOPE_PATHS.get(str(field), f"$.data{fault.path.removeprefix('$')}")
    return replace(fault, path=path)
