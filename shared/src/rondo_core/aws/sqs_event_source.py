"""A service's queue in SQS."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from rondo_core.aws.failures import answered
from rondo_core.bus import Delivery
from rondo_core.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef

__all__ = ["SqsEventSource"]

_BATCH = 10
_LONGEST_WAIT_SECONDS = 20
_LONGEST_REASON = 1024
_OLD_RECEIPT = frozenset(
    {
        "AWS.SimpleQueueService.MessageNotInflight",
        "InvalidParameterValue",
        "InvalidParameterValueException",  # LocalStack's word for it
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
    }
)
_COUNT: Literal["ApproximateReceiveCount"] = "ApproximateReceiveCount"


class SqsEventSource:
    """An ``EventSource`` on one queue and its dead-letter queue; thread-safe, as its client is.

    Args:
        client: an SQS client whose read timeout is longer than 20 s.
        queue: the queue's name.
        dead_letters: the name of its dead-letter queue.
        visibility_seconds: asked for with every receive, so that it holds whatever the queue's own
            attribute says.
    """

    def __init__(
        self, client: "SQSClient", queue: str, dead_letters: str, *, visibility_seconds: int
    ) -> None:
        self._client = client
        self._queue = queue
        self._dead_letters = dead_letters
        self._visibility_seconds = visibility_seconds

    @property
    def visibility_seconds(self) -> int:
        """See ``EventSource``."""
        return self._visibility_seconds

    def receive(self, *, wait_seconds: float) -> Sequence[Delivery]:
        """Return up to ten messages, or none after ``wait_seconds``, 20 at most."""
        with answered(f"receive from {self._queue}"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=min(math.ceil(wait_seconds), _LONGEST_WAIT_SECONDS),
                VisibilityTimeout=self._visibility_seconds,
                MessageSystemAttributeNames=[_COUNT],
            )
        return [
            Delivery(message["Body"], message["ReceiptHandle"], int(message["Attributes"][_COUNT]))
            for message in answer.get("Messages", [])
        ]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages, ten a call; an old receipt is not an error."""
        for batch in _batches(deliveries):
            with answered(f"remove from {self._queue}"):
                answer = self._client.delete_message_batch(
                    QueueUrl=self._url,
                    Entries=[{"Id": number, "ReceiptHandle": receipt} for number, receipt in batch],
                )
            _check(answer.get("Failed", []), f"remove from {self._queue}")

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Hide messages for the visibility timeout again, ten a call; see ``EventSource``.

        SQS itself lets a message come again twelve hours after it was received.
        """
        for batch in _batches(deliveries):
            with answered(f"extend in {self._queue}"):
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {
                            "Id": number,
                            "ReceiptHandle": receipt,
                            "VisibilityTimeout": self._visibility_seconds,
                        }
                        for number, receipt in batch
                    ],
                )
            _check(answer.get("Failed", []), f"extend in {self._queue}")

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

    @cached_property
    def _url(self) -> str:
        return self._url_of(self._queue)

    @cached_property
    def _dead_letters_url(self) -> str:
        return self._url_of(self._dead_letters)

    def _url_of(self, queue: str) -> str:
        with answered(f"find queue {queue}"):
            return self._client.get_queue_url(QueueName=queue)["QueueUrl"]


def _batches(deliveries: Sequence[Delivery]) -> Iterator[list[tuple[str, str]]]:
    """Yield, for one call after the other, a name within the call and the receipt of each."""
    for start in range(0, len(deliveries), _BATCH):
        batch = deliveries[start : start + _BATCH]
        yield [(str(number), delivery.receipt) for number, delivery in enumerate(batch)]


def _check(failed: "Sequence[BatchResultErrorEntryTypeDef]", what: str) -> None:
    codes = {entry["Code"] for entry in failed} - _OLD_RECEIPT
    if codes:
        raise Unavailable(f"{what}: {sorted(codes)}")


def _printable(reason: str) -> str:
    """Return what SQS takes for an attribute: not empty, no control character, not too long."""
    return "".join(c if c.isprintable() else " " for c in reason)[:_LONGEST_REASON] or "unknown"
