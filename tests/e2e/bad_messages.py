"""Messages as anybody could put them on topic and queues, and where the bad ones end."""

import json
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from rondo_core.topology import Names
from rondo_local.stack import Stack
from tests.e2e.people import PATIENCE_SECONDS, aws_session

__all__ = ["Messages", "open_messages", "without"]


@dataclass(frozen=True, slots=True)
class Messages:
    """Topic, queues and dead letters of a stack, through plain boto3."""

    sns: Any
    sqs: Any
    names: Names

    def publish(self, body: str) -> None:
        """Put a message on the topic."""
        topics = [topic["TopicArn"] for topic in self.sns.list_topics()["Topics"]]
        (topic,) = [arn for arn in topics if arn.endswith(f":{self.names.topic}")]
        self.sns.publish(TopicArn=topic, Message=body)

    def send(self, service: str, body: str) -> None:
        """Put a message straight into a service's queue."""
        self.sqs.send_message(QueueUrl=self._url(self.names.queue(service)), MessageBody=body)

    def reasons(self, service: str, bodies: Collection[str]) -> dict[str, str]:
        """Wait until all these messages are dead letters of a service; return why, by body."""
        url, found = self._url(self.names.dead_letters(service)), dict[str, str]()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while set(bodies) - set(found):
            assert time.monotonic() < deadline, f"{service} keeps {set(bodies) - set(found)}"
            answer = self.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                MessageAttributeNames=["reason"],
            )
            for message in answer.get("Messages", []):
                if message["Body"] in bodies:
                    attributes = message.get("MessageAttributes", {})
                    found[message["Body"]] = attributes.get("reason", {}).get("StringValue", "")
                    self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def _url(self, queue: str) -> str:
        return str(self.sqs.get_queue_url(QueueName=queue)["QueueUrl"])


@contextmanager
def open_messages(stack: Stack) -> Iterator[Messages]:
    """Open the clients."""
    session = aws_session(stack)
    with closing(session.client("sns")) as sns, closing(session.client("sqs")) as sqs:
        yield Messages(sns, sqs, Names(stack.settings.rondo_prefix))


def without(message: dict[str, Any], field: str) -> str:
    """Return the message's JSON without a field."""
    return json.dumps({name: value for name, value in message.items() if name != field})
