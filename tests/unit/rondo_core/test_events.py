import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.async_results import AsyncRequest, AsyncResponse, AsyncResult
from rondo_core.cloud_events import decode_event, encode_event
from rondo_core.errors import EventInvalid
from rondo_core.events import (
    EVENT_TYPES,
    BatchEnded,
    BatchRequested,
    EvaluationRequested,
    Event,
    RoundAborted,
    RoundOpened,
    RoundRequested,
    RoundSealed,
    RunFinished,
    RunProgress,
    RunRequested,
    UpdateAccepted,
    UpdateRejected,
    UpdateSubmitted,
    VersionCommitted,
    VersionHeld,
    VersionPromoted,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SHA256 = "0a" * 32
WHO: dict[str, Any] = {"event_id": "e/1", "run_id": "run-1", "occurred_at": AT}
WHERE: dict[str, Any] = WHO | {"round": 2, "attempt": 1}
UPDATE: dict[str, Any] = WHERE | {"client_id": "hospital-a", "sha256": SHA256}
ASKED: dict[str, Any] = WHO | {
    "state": RunProgress(run_id="run-1", rounds=3, round=2, attempt=1),
    "task_token": "token",
}
RESULT = AsyncResult(
    aws_region="eu-central-1",
    event_time=AT,
    received_time=AT,
    invocation_status="Completed",
    request_parameters=AsyncRequest(
        content_type="text/csv", endpoint_name="m", input_location="s3://b/in.csv"
    ),
    response_parameters=AsyncResponse(content_type="text/csv", output_location="s3://b/out.csv"),
    inference_id="i",
)
ONE_OF_EACH: list[Event] = [
    RunRequested(**WHO, model="m", spec=SHA256, parameters={"a": 0.5, "b": True, "c": "x", "d": 1}),
    RoundRequested(**ASKED),
    EvaluationRequested(**ASKED),
    RoundOpened(**WHERE, base=1, clients=2, deadline_at=AT),
    UpdateSubmitted(**UPDATE),
    UpdateAccepted(**UPDATE),
    UpdateRejected(**UPDATE, code="not-finite", reason="NaN at 7"),
    RoundSealed(**WHERE, manifest=SHA256, updates=2),
    VersionCommitted(**WHERE, version=2, sha256=SHA256, metrics={"loss": 0.25}),
    RoundAborted(**WHERE, reason="below quorum"),
    VersionPromoted(**WHO, model="m", version=3, model_version=7, sha256=SHA256),
    VersionHeld(**WHO, model="m", version=3, reason="worse"),
    RunFinished(**WHO, state="CANCELLED", reason="asked to"),
    BatchRequested(**WHO, job_id="job-1", model="m", model_version=7),
    BatchEnded(**WHO, job_id="job-1", state="COMPLETED", records=3, result=RESULT),
]


def body(**changes: object) -> str:
    """A good ``UpdateSubmitted`` as JSON, with changes; ``None`` leaves a field out."""
    message = json.loads(encode_event(UpdateSubmitted(**UPDATE), source="rondo/test")) | changes
    return json.dumps({name: value for name, value in message.items() if value is not None})


def with_data(**changes: object) -> str:
    return body(data={"round": 2, "attempt": 1, "client_id": "a", "sha256": SHA256} | changes)


def test_envelope_is_cloudevents_1_0() -> None:
    message = json.loads(encode_event(RoundAborted(**WHERE, reason="late"), source="rondo/test"))

    assert message == {
        "specversion": "1.0",
        "id": "e/1",
        "source": "rondo/test",
        "type": "RoundAborted",
        "time": "2026-01-02T03:04:05.678901Z",
        "subject": "run-1",
        "datacontenttype": "application/json",
        "data": {"round": 2, "attempt": 1, "reason": "late"},
    }


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_event_comes_back_as_it_was_sent(event: Event) -> None:
    assert decode_event(encode_event(event, source="rondo/test")) == event


def test_each_type_is_tried_here() -> None:
    assert {type(event).__name__ for event in ONE_OF_EACH} == set(EVENT_TYPES)


@given(
    reason=st.text(max_size=50),
    metrics=st.dictionaries(st.text(max_size=9), st.floats(allow_nan=False, allow_infinity=False)),
    at=st.datetimes(timezones=st.just(UTC)),
    event_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=512),
)
def test_any_text_number_and_time_comes_back(
    reason: str, metrics: dict[str, float], at: datetime, event_id: str
) -> None:
    event = VersionHeld(
        event_id=event_id,
        run_id="r",
        occurred_at=at,
        model="m",
        version=0,
        reason=reason,
        metrics=metrics,
    )

    assert decode_event(encode_event(event, source="rondo/test")) == event


def test_time_of_another_zone_is_the_same_time() -> None:
    event = decode_event(body(time="2026-01-02T05:04:05.678901+02:00"))

    assert event.occurred_at == AT
    assert event.occurred_at == AT.astimezone(timezone(timedelta(hours=2)))


def test_field_of_a_newer_release_is_skipped() -> None:
    event = decode_event(with_data(client_id="hospital-a", colour="blue"))

    assert event == UpdateSubmitted(**UPDATE)
    assert decode_event(body(traceparent="00-abc")) == UpdateSubmitted(**UPDATE)


def test_field_that_an_older_release_did_not_send_has_its_default() -> None:
    event = decode_event(body(type="RunRequested", data={"model": "m"}))

    assert event == RunRequested(**WHO, model="m")
    assert isinstance(event, RunRequested)
    assert (event.strategy, event.rounds, event.parameters) == ("fedavg", 10, {})


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"", "CloudEvents"),
        (b"\xff\xfe", "CloudEvents"),
        ("[]", "CloudEvents"),
        ("null", "CloudEvents"),
        ('{"a": NaN}', "CloudEvents"),
        ('{"data":' + '{"a":' * 100_000, "CloudEvents 1.0 message: nested too deeply"),
        (body(specversion="0.3"), "specversion"),
        (body(datacontenttype="application/xml"), "datacontenttype"),
        (body(id=None), "id"),
        (body(id=7), r"found 7 - at `\$.id`"),
        (body(id=""), r"length >= 1, found '' - at `\$.id`"),
        (body(id="x" * 513), r"\$.id`"),
        (body(source=""), "source"),
        (body(type="update_submitted"), "update_submitted.*UpdateSubmitted"),
        (body(type="_Base"), "unknown event type"),
        (body(time="yesterday"), r"found 'yesterday' - at `\$.time`"),
        (body(time="2026-01-02T03:04:05"), r"timezone.*\$.time`"),
        (body(data=None), r"required field `round` - at `\$.data`"),
        (body(data=[]), r"- at `\$.data`"),
        (with_data(sha256="0A" * 32), r"\$.data.sha256`"),
        (with_data(sha256="0a" * 32 + "\n"), r"\$.data.sha256`"),
        (with_data(sha256="0a" * 31), r"\$.data.sha256`"),
        (with_data(round=0), r">= 1, found 0 - at `\$.data.round`"),
        (with_data(round="2"), r"\$.data.round`"),
        (with_data(round=True), r"\$.data.round`"),
        (with_data(round=1.5), r"\$.data.round`"),
        (with_data(attempt=10**7), r"\$.data.attempt`"),
        (with_data(client_id=""), r"\$.data.client_id`"),
    ],
)
def test_message_that_breaks_a_rule_is_refused_by_name(
    message: str | bytes, complaint: str
) -> None:
    with pytest.raises(EventInvalid, match=complaint):
        decode_event(message)


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "a/b", "a#b", "a b", "é", "a\n", "../a", "a" * 65]
)
def test_name_that_is_not_safe_in_keys_and_urls_is_refused(name: str) -> None:
    with pytest.raises(EventInvalid, match=r"- at `\$.subject`"):
        decode_event(body(subject=name))


@pytest.mark.parametrize("name", ["a", "7", "Run_1.b-c", "a" * 64])
def test_name_that_is_safe_is_taken(name: str) -> None:
    assert decode_event(body(subject=name)).run_id == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rounds", 0),
        ("rounds", 10_001),
        ("target", 0),
        ("quorum", 0),
        ("deadline_seconds", 0),
        ("deadline_seconds", 2_592_001),
        ("start_deadline_seconds", -1),
        ("parameters", {"nested": {}}),
        ("parameters", {"nothing": None}),
        ("strategy", ""),
    ],
)
def test_run_request_out_of_bounds_is_refused(field: str, value: object) -> None:
    with pytest.raises(EventInvalid, match=rf"^RunRequested 'e/1': .* - at `\$.data.{field}"):
        decode_event(body(type="RunRequested", data={"model": "m", field: value}))


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_whatever_else_comes_is_refused_and_nothing_else_happens(message: bytes | str) -> None:
    with pytest.raises(EventInvalid):
        decode_event(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_one_field_of_another_kind_is_refused_or_taken_whole(event: Event, data: Any) -> None:
    message = json.loads(encode_event(event, source="rondo/test"))
    place = data.draw(st.sampled_from([message, message["data"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)

    try:
        decoded = decode_event(json.dumps(message))
    except EventInvalid:
        return
    assert decode_event(encode_event(decoded, source="rondo/test")) == decoded


def test_place_inside_a_part_of_the_data_is_named_as_the_sender_wrote_it() -> None:
    state = {"run_id": "run-1", "rounds": 3, "round": 0, "attempt": 1}
    message = body(type="RoundRequested", data={"state": state, "task_token": "token"})

    with pytest.raises(EventInvalid, match=r"found 0 - at `\$.data.state.round`$"):
        decode_event(message)


def test_names_say_whether_it_is_a_request_or_a_fact() -> None:
    requests = {name for name in EVENT_TYPES if name.endswith("Requested")}

    assert requests == {
        "RunRequested",
        "RoundRequested",
        "EvaluationRequested",
        "BatchRequested",
    }
    facts = set(EVENT_TYPES) - requests
    assert all(name.endswith(("ed", "eld")) for name in facts)


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES)
def test_every_event_is_frozen(kind: type[Event]) -> None:
    assert msgspec.structs.fields(kind)
    assert kind.__struct_config__.frozen
