"""The suite that every pair of ``Publish`` and ``EventSource`` passes: topic, filters, queues."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from rondo_core.cloud_events import decode_event
from rondo_core.errors import EventsRefused
from rondo_core.events import (
    EvaluationRequested,
    Event,
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
from rondo_core.topology import MAX_RECEIVES, QUEUES, QueueSpec
from tests.contract.harness import Harness, events_of, receive_all, settle

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SHA256 = "ab" * 32
SOON_SECONDS = 2


@pytest.fixture(autouse=True)
def _clean_queues(ports: Harness) -> Iterator[None]:
    """Leave no message to the next test."""
    yield
    for spec in QUEUES:
        source = ports.source(spec.service)
        while deliveries := source.receive(wait_seconds=0):
            source.acknowledge(deliveries)


def submitted(name: str, number: int = 0) -> UpdateSubmitted:
    return UpdateSubmitted(
        event_id=f"UpdateSubmitted/{name}/{number}",
        run_id=name,
        occurred_at=AT,
        round=1,
        attempt=1,
        client_id=f"hospital-{number}",
        sha256=SHA256,
    )


def one_of_each(name: str) -> list[Event]:
    head: dict[str, Any] = {"event_id": f"e/{name}", "run_id": name, "occurred_at": AT}
    attempt: dict[str, Any] = {"round": 1, "attempt": 1}
    update: dict[str, Any] = {"client_id": "c", "sha256": SHA256}
    progress = RunProgress(run_id=name, rounds=1, round=1, attempt=1)
    asked: dict[str, Any] = {"state": progress, "task_token": "t"}
    return [
        RunRequested(**head, model="m", parameters={"rate": 0.5, "on": True}),
        RoundRequested(**head, **asked),
        EvaluationRequested(**head, **asked),
        RoundOpened(**head, **attempt, base=0, clients=2, deadline_at=AT),
        UpdateSubmitted(**head, **attempt, **update),
        UpdateAccepted(**head, **attempt, **update),
        UpdateRejected(**head, **attempt, **update, code="not-finite", reason="NaN – “bad”"),
        RoundSealed(**head, **attempt, manifest=SHA256, updates=2),
        VersionCommitted(**head, **attempt, version=1, sha256=SHA256, metrics={"loss": 0.25}),
        VersionPromoted(**head, model="m", version=1, model_version=1, sha256=SHA256),
        VersionHeld(**head, model="m", version=1, reason="worse"),
        RunFinished(**head, state="FINISHED", reason=""),
    ]


@pytest.mark.parametrize("spec", QUEUES, ids=lambda spec: spec.service)
def test_queue_gets_every_event_of_its_types_unchanged_and_no_other(
    ports: Harness, name: str, spec: QueueSpec
) -> None:
    events = one_of_each(name)
    expected = [event for event in events if isinstance(event, spec.receives)]

    ports.publish(*events)

    received = events_of(receive_all(ports.source(spec.service), len(expected)))
    assert sorted(received, key=repr) == sorted(expected, key=repr)
    assert not ports.source(spec.service).receive(wait_seconds=0)


def test_publish_of_many_reaches_the_queue_in_batches_of_ten_at_most(
    ports: Harness, name: str
) -> None:
    events = [submitted(name, number) for number in range(23)]

    ports.publish(*events)

    source, received = ports.source("aggregator"), list[Event]()
    while len(received) < 23:
        batch = source.receive(wait_seconds=1)
        assert len(batch) <= 10
        received += events_of(batch)
    assert sorted(received, key=lambda event: event.event_id) == sorted(
        events, key=lambda event: event.event_id
    )


def test_event_that_is_too_long_is_refused_by_name_and_all_others_are_out(
    ports: Harness, name: str
) -> None:
    head: dict[str, Any] = {"run_id": name, "occurred_at": AT, "model": "m", "version": 1}
    events: list[Event] = [
        VersionHeld(event_id=f"{name}/{number}", reason=reason, **head)
        for number, reason in enumerate(["a", "x" * 262_144, "c", "d" * 200_000, "e" * 200_000])
    ]

    with pytest.raises(EventsRefused) as told:
        ports.publish(*events)

    assert list(told.value.reasons) == [f"{name}/1"]
    assert told.value.reasons[f"{name}/1"]
    received = events_of(receive_all(ports.source("dispatcher"), 4))
    expected = [event for event in events if event.event_id != f"{name}/1"]
    assert sorted(received, key=repr) == sorted(expected, key=repr)


def test_publish_of_nothing_does_nothing(ports: Harness) -> None:
    ports.publish()

    assert not ports.source("aggregator").receive(wait_seconds=0)


def test_same_event_published_twice_comes_twice(ports: Harness, name: str) -> None:
    event = submitted(name)

    ports.publish(event)
    ports.publish(event)

    assert events_of(receive_all(ports.source("aggregator"), 2)) == [event, event]


def test_received_message_is_hidden_from_other_receivers(ports: Harness, name: str) -> None:
    ports.publish(submitted(name))
    (delivery,) = receive_all(ports.source("aggregator"), 1)

    assert delivery.receives == 1
    assert not ports.source("aggregator").receive(wait_seconds=0)


def test_message_that_is_not_acknowledged_comes_again(ports: Harness, name: str) -> None:
    ports.publish(submitted(name))
    source = ports.source("aggregator")
    first = receive_all(source, 1)

    ports.redeliver("aggregator", first, 0)

    (again,) = receive_all(source, 1)
    assert (again.body, again.receives) == (first[0].body, 2)


def test_acknowledged_messages_are_gone(ports: Harness, name: str) -> None:
    ports.publish(*(submitted(name, number) for number in range(12)))
    source = ports.source("aggregator")
    deliveries = receive_all(source, 12)

    source.acknowledge(deliveries)
    source.acknowledge(deliveries)

    assert not source.receive(wait_seconds=0)


def test_acknowledge_of_nothing_does_nothing(ports: Harness) -> None:
    ports.source("aggregator").acknowledge([])


def test_acknowledging_one_of_a_batch_leaves_the_others(ports: Harness, name: str) -> None:
    ports.publish(*(submitted(name, number) for number in range(3)))
    source = ports.source("aggregator")
    done, *others = receive_all(source, 3)

    source.acknowledge([done])
    ports.redeliver("aggregator", others, 0)

    bodies = Counter(delivery.body for delivery in receive_all(source, 2))
    assert bodies == Counter(delivery.body for delivery in others)


def test_old_receipt_is_not_an_error(ports: Harness, name: str) -> None:
    ports.publish(submitted(name))
    source = ports.source("aggregator")
    old = receive_all(source, 1)
    ports.redeliver("aggregator", old, 0)
    new = receive_all(source, 1)

    source.acknowledge(old)

    source.acknowledge(new)
    assert not source.receive(wait_seconds=0)


def test_extended_messages_stay_hidden_while_another_comes_again(ports: Harness, name: str) -> None:
    ports.publish(*(submitted(name, number) for number in range(12)))
    source = ports.source("aggregator")
    left, *kept = receive_all(source, 12)
    ports.redeliver("aggregator", [left, *kept], SOON_SECONDS)

    source.extend(kept)

    ports.clock.sleep(SOON_SECONDS + 0.5)
    again = receive_all(source, 1)
    assert [(one.body, one.receives) for one in again] == [(left.body, 2)]
    assert not source.receive(wait_seconds=0)
    source.acknowledge([*again, *kept])


def test_extending_of_nothing_or_of_what_is_gone_does_nothing(ports: Harness, name: str) -> None:
    ports.publish(submitted(name))
    source = ports.source("aggregator")
    gone = receive_all(source, 1)
    source.acknowledge(gone)

    source.extend([])
    source.extend(gone)

    assert not source.receive(wait_seconds=0)


def test_extending_by_an_old_receipt_is_not_an_error(ports: Harness, name: str) -> None:
    ports.publish(submitted(name))
    source = ports.source("aggregator")
    old = receive_all(source, 1)
    ports.redeliver("aggregator", old, 0)
    new = receive_all(source, 1)

    source.extend(old)

    source.acknowledge(new)
    assert not source.receive(wait_seconds=0)


@pytest.mark.parametrize("spec", QUEUES, ids=lambda spec: spec.service)
def test_source_knows_its_visibility_timeout(ports: Harness, spec: QueueSpec) -> None:
    assert ports.source(spec.service).visibility_seconds == spec.visibility_seconds


@pytest.mark.parametrize("reason", ["unknown event type 'Nonsense'", "line\nbreak \x00 end"])
def test_dead_letter_moves_the_message_with_its_reason(
    ports: Harness, name: str, reason: str
) -> None:
    ports.publish(submitted(name))
    source = ports.source("aggregator")
    (delivery,) = receive_all(source, 1)

    source.dead_letter(delivery, reason=reason)

    letters = dict(ports.dead_letters("aggregator"))
    words = "".join(c if c.isprintable() else " " for c in letters[delivery.body] or "").split()
    assert words == reason.replace("\x00", " ").split()
    assert not source.receive(wait_seconds=0)


def test_dead_letter_without_a_reason_is_moved_all_the_same(ports: Harness, name: str) -> None:
    ports.publish(submitted(name))
    source = ports.source("aggregator")
    (delivery,) = receive_all(source, 1)

    source.dead_letter(delivery, reason="")

    assert delivery.body in dict(ports.dead_letters("aggregator"))
    assert not source.receive(wait_seconds=0)


def test_message_received_too_often_becomes_a_dead_letter(ports: Harness, name: str) -> None:
    ports.publish(submitted(name))
    source = ports.source("aggregator")
    for receives in range(1, MAX_RECEIVES + 1):
        deliveries = receive_all(source, 1)
        assert [delivery.receives for delivery in deliveries] == [receives]
        ports.redeliver("aggregator", deliveries, 0)

    assert not source.receive(wait_seconds=1)

    letters = [decode_event(body).run_id for body, _ in ports.dead_letters("aggregator")]
    assert name in letters


@pytest.mark.parametrize("kind", ['"Unheard"', "5", None])
def test_a_message_that_no_service_knows_goes_to_the_one_queue_that_takes_strays(
    ports: Harness, kind: str | None
) -> None:
    body = '{"hello": "world"}' if kind is None else f'{{"type": {kind}}}'

    ports.publish_body(body)

    (taker,) = (spec.service for spec in QUEUES if spec.takes_strays)
    settle(lambda: body in bodies(ports, taker), wanted=True)
    others = [spec.service for spec in QUEUES if spec.service != taker]
    assert not any(body in bodies(ports, other) for other in others)


def bodies(ports: Harness, service: str) -> list[str]:
    return [delivery.body for delivery in ports.source(service).receive(wait_seconds=1)]
