"""Every port in one place, on the fakes or on an emulator, and what a suite needs beside them."""

import http.client
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from rondo_core.aws import AwsPorts, StepFunctionsWorkflow, connect
from rondo_core.bus import Delivery, EventSource, Publish
from rondo_core.clock import Clock, SystemClock
from rondo_core.cloud_events import decode_event
from rondo_core.events import Event
from rondo_core.model_store import ModelStore, UploadLinks
from rondo_core.object_folders import ObjectFolders
from rondo_core.run_store import RunStore
from rondo_core.settings import AwsSettings
from rondo_core.testing import (
    ManualClock,
    MemoryBus,
    MemoryModelStore,
    MemoryObjectFolders,
    MemoryRunStore,
    MemoryUploadLinks,
    MemoryWorkflow,
)
from rondo_core.topology import state_machine_definition
from rondo_core.workflow import Workflow
from rondo_local.bootstrap import bootstrap
from tests.emulators import Aws

__all__ = [
    "Harness",
    "await_event",
    "aws_harness",
    "events_of",
    "memory_harness",
    "receive_all",
    "settle",
]

PATIENCE_SECONDS = 30.0
SHORT_TIMEOUT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Harness:
    """One technology's ports.

    Attributes:
        clock: sleeping on it lets links expire and tasks time out.
        put: HTTP PUT of a link; returns the status.
        fetch: HTTP GET of a URL; returns status and body.
        publish_body: puts any text on the topic, as a stranger could.
        redeliver: lets deliveries that were not acknowledged come again after so many seconds.
        dead_letters: body and reason (or None) of each dead letter of a service.
        status: how the execution of a run stands.
        hasty_workflow: the same state machine, whose tasks time out after a second or two.
        time_out: lets the waiting task of a run of the hasty workflow time out.
        put_races_are_decided: of creations of one object at once exactly one succeeds.
    """

    clock: Clock
    run_store: RunStore
    model_store: ModelStore
    folders: ObjectFolders
    links: UploadLinks
    put: Callable[[str, Mapping[str, str], bytes], int]
    fetch: Callable[[str], tuple[int, bytes]]
    publish: Publish
    publish_body: Callable[[str], object]
    source: Callable[[str], EventSource]
    redeliver: Callable[[str, Sequence[Delivery], int], None]
    dead_letters: Callable[[str], list[tuple[str, str | None]]]
    workflow: Workflow
    hasty_workflow: Workflow
    time_out: Callable[[str], None]
    status: Callable[[str], str | None]
    put_races_are_decided: bool


def memory_harness() -> Harness:
    clock = ManualClock()
    bus = MemoryBus(clock)
    store = MemoryModelStore()
    links = MemoryUploadLinks(store, clock)
    workflow = MemoryWorkflow(bus, clock)

    def redeliver(service: str, deliveries: Sequence[Delivery], after_seconds: int) -> None:
        bus.source(service).redeliver(deliveries, after_seconds=after_seconds)

    def dead_letters(service: str) -> list[tuple[str, str | None]]:
        return [(body, reason or None) for body, reason in bus.dead_letters(service)]

    return Harness(
        clock=clock,
        run_store=MemoryRunStore(),
        model_store=store,
        folders=MemoryObjectFolders(store),
        links=links,
        put=links.put,
        fetch=links.get,
        publish=bus.publish,
        publish_body=bus.publish_body,
        source=bus.source,
        redeliver=redeliver,
        dead_letters=dead_letters,
        workflow=workflow,
        hasty_workflow=workflow,
        time_out=workflow.time_out,
        status=workflow.status,
        put_races_are_decided=True,
    )


def aws_harness(aws: Aws, prefix: str) -> Harness:
    settings = AwsSettings(
        aws_endpoint_url=aws.endpoint_url, aws_region=aws.region, rondo_prefix=prefix
    )
    made = bootstrap(settings, session=aws.session)
    ports = connect(settings, aws.session)
    hasty_arn = _make_hasty(ports, made.topic_arn)
    return Harness(
        clock=SystemClock(),
        run_store=ports.run_store,
        model_store=ports.model_store,
        folders=ports.object_folders,
        links=ports.upload_links(),
        put=_http_put,
        fetch=_http_get,
        publish=ports.publish("rondo/test"),
        publish_body=lambda body: ports.client("sns").publish(
            TopicArn=made.topic_arn, Message=body
        ),
        source=ports.event_source,
        redeliver=partial(_redeliver, ports),
        dead_letters=lambda service: _dead_letters(ports, service),
        workflow=ports.workflow,
        hasty_workflow=StepFunctionsWorkflow(ports.client("stepfunctions"), hasty_arn),
        time_out=lambda _run_id: time.sleep(SHORT_TIMEOUT_SECONDS),
        status=lambda run_id: (
            _status(ports, made.state_machine_arn, run_id) or _status(ports, hasty_arn, run_id)
        ),
        put_races_are_decided=aws.name != "localstack",  # see test_emulator_quirks.py
    )


def await_event(source: EventSource, run_id: str, kind: type[Any]) -> Any:
    """Receive until an event of this kind and run comes; acknowledge everything on the way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        deliveries = source.receive(wait_seconds=1)
        source.acknowledge(deliveries)
        for event in (decode_event(delivery.body) for delivery in deliveries):
            if isinstance(event, kind) and event.run_id == run_id:
                return event
    raise AssertionError(f"no {kind.__name__} of {run_id} within {PATIENCE_SECONDS} s")


def settle(look: Callable[[], Any], wanted: object) -> None:
    """Wait until ``look`` gives what is wanted, else fail with what it gave."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := look()) != wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"wanted {wanted!r}, still {seen!r} after {PATIENCE_SECONDS} s")
        time.sleep(0.05)


def receive_all(source: EventSource, count: int) -> list[Delivery]:
    """Receive until that many messages came."""
    deliveries: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(deliveries) < count and time.monotonic() < deadline:
        deliveries += source.receive(wait_seconds=1)
    return deliveries


def events_of(deliveries: Sequence[Delivery]) -> list[Event]:
    return [decode_event(delivery.body) for delivery in deliveries]


def _make_hasty(ports: AwsPorts, topic_arn: str) -> str:
    definition = state_machine_definition().replace("${TopicArn}", topic_arn)
    for seconds in ("86400", "7200"):
        assert f'"TimeoutSeconds": {seconds}' in definition
        definition = definition.replace(
            f'"TimeoutSeconds": {seconds}', f'"TimeoutSeconds": {SHORT_TIMEOUT_SECONDS}'
        )
    answer: dict[str, str] = ports.client("stepfunctions").create_state_machine(
        name=f"{ports.names.prefix}-hasty",
        definition=definition,
        roleArn="arn:aws:iam::000000000000:role/test",
    )
    return answer["stateMachineArn"]


def _redeliver(
    ports: AwsPorts, service: str, deliveries: Sequence[Delivery], after_seconds: int
) -> None:
    sqs = ports.client("sqs")
    url = sqs.get_queue_url(QueueName=ports.names.queue(service))["QueueUrl"]
    for delivery in deliveries:
        sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=delivery.receipt, VisibilityTimeout=after_seconds
        )


def _dead_letters(ports: AwsPorts, service: str) -> list[tuple[str, str | None]]:
    sqs = ports.client("sqs")
    url = sqs.get_queue_url(QueueName=ports.names.dead_letters(service))["QueueUrl"]
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
    )
    return [
        (
            message["Body"],
            message.get("MessageAttributes", {}).get("reason", {}).get("StringValue"),
        )
        for message in answer.get("Messages", [])
    ]


def _status(ports: AwsPorts, machine: str, run_id: str) -> str | None:
    client = ports.client("stepfunctions")
    arn = machine.replace(":stateMachine:", ":execution:") + f":{run_id}"
    try:
        status: str = client.describe_execution(executionArn=arn)["status"]
    except client.exceptions.ExecutionDoesNotExist:
        return None
    return status


def _http_put(url: str, headers: Mapping[str, str], data: bytes) -> int:
    """PUT with exactly these headers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)
    try:
        connection.request("PUT", f"{parts.path}?{parts.query}", data, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


def _http_get(url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
