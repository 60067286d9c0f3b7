"""A service's queue in SQS."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from rondo_core.aws.failures import answered
from rondo_core.bus import Delivery
from rondo_core.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["SqsEventSource"]

_BATCH = 10
_LONGEST_WAIT_SECONDS = 20
_LONGEST_REASON = 1024
_OLD_RECEIPT = frozenset({"InvalidParameterValue", "ReceiptHandleIsInvalid"})
_COUNT: Literal["ApproximateReceiveCount"] = "ApproximateReceiveCount"


class SqsEventSource:
    """An ``EventSource`` on one queue and its dead-letter queue; thread-safe, as its client is.

    Args:
        client: an SQS client whose read timeout is longer than 20 s.
        queue: the queue's name.
        dead_letters: the name of its dead-letter queue.
    """

    def __init__(self, client: "SQSClient", queue: str, dead_letters: str) -> None:
        self._client = client
        self._queue = queue
        self._dead_letters = dead_letters

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        """Return up to ten messages, or none after ``wait_seconds``, 20 at most."""
        with answered(f"receive from {self._queue}"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=min(math.ceil(wait_seconds), _LONGEST_WAIT_SECONDS),
                MessageSystemAttributeNames=[_COUNT],
            )
        return [
            Delivery(message["Body"], message["ReceiptHandle"], int(message["Attributes"][_COUNT]))
            for message in answer.get("Messages", [])
        ]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages, ten a call; an old receipt is not an error."""
        for start in range(0, len(deliveries), _BATCH):
            self._delete(deliveries[start : start + _BATCH])

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message to the dead-letter queue, the reason in its message attributes."""
        with answered(f"dead-letter to {self._dead_letters}"):
            self._client.send_message(
                QueueUrl=self._dead_letters_url,
                MessageBody=delivery.body,
                MessageAttributes={
                    "reason": {"DataType": "String", "StringValue": _printable(reason)}
                },
            )
        self.acknowledge([delivery])

    def _delete(self, deliveries: Sequence[Delivery]) -> None:
        with answered(f"remove from {self._queue}"):
            answer = self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": delivery.receipt}
                    for number, delivery in enumerate(deliveries)
                ],
            )
        codes = {entry["Code"] for entry in answer.get("Failed", [])} - _OLD_RECEIPT
        if codes:
            raise Unavailable(f"remove from {self._queue}: {sorted(codes)}")

    @cached_property
    def _url(self) -> str:
        return self._url_of(self._queue)

    @cached_property
    def _dead_letters_url(self) -> str:
        return self._url_of(self._dead_letters)

    def _url_of(self, queue: str) -> str:
        with answered(f"find queue {queue}"):
            return self._client.get_queue_url(QueueName=queue)["QueueUrl"]


def _printable(reason: str) -> str:
    """Return what SQS takes for an attribute: not empty, no control character, not too long."""
    return "".join(c if c.isprintable() else " " for c in reason)[:_LONGEST_REASON] or "unknown"
