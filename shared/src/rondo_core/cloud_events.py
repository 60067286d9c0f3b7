"""Events as messages: the CloudEvents 1.0 JSON envelope around the structs of `rondo_core.events`.

``event_id``, the struct's name, ``occurred_at`` and ``run_id`` are the envelope's ``id``, ``type``,
``time`` and ``subject``; all other fields are its ``data``. ``traceparent`` is that of the
distributed tracing extension. Queues filter on the body's ``type``.

Source: CloudEvents 1.0.2, JSON event format (cloudevents.io).
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rondo_core.errors import EventInvalid
from rondo_core.events import EVENT_TYPES, Event
from rondo_core.faults import Fault, fault_in_json, read_fault

__all__ = ["decode_event", "encode_event", "traceparent_of"]

SPEC_VERSION = "1.0"
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
        event: any of the structs of `rondo_core.events`.
        source: who publishes, for example ``rondo/dispatcher``.
        traceparent: the span that it is published in (W3C Trace Context); empty: in none.

    Returns:
        The message body, UTF-8 text.

    >>> from datetime import UTC, datetime
    >>> from rondo_core.events import RunFinished
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
