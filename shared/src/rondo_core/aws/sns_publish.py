"""The topic in SNS."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from rondo_core.aws.failures import INVALID_CODES, answered, error_code
from rondo_core.cloud_events import encode_event
from rondo_core.errors import EventsRefused, Unavailable
from rondo_core.events import Event
from rondo_core.tracing import span, traceparent

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

__all__ = ["SnsPublish"]

_BATCH = 10
"""Most messages of one ``PublishBatch``; ten of ours are far below its 256 KiB."""

_REFUSALS = INVALID_CODES | {"InvalidParameter", "ParameterValueInvalid", "BatchRequestTooLong"}
"""What SNS says of a message that it will never take. Anything else may pass.

Source: API reference of SNS, errors of ``PublishBatch``.
"""


class _Message(NamedTuple):
    event_id: str
    body: str


class _Fault(NamedTuple):
    """A message that was not accepted, and what SNS said of it."""

    event_id: str
    code: str
    text: str


class SnsPublish:
    """A ``Publish`` to one topic, ten events a call; thread-safe, as its client is.

    Args:
        client: an SNS client.
        topic_arn: the topic.
        source: who publishes, for example ``rondo/dispatcher``.
    """

    def __init__(self, client: "SNSClient", topic_arn: str, *, source: str) -> None:
        self._client = client
        self._topic_arn = topic_arn
        self._source = source

    def __call__(self, *events: Event) -> None:
        """Publish events; raises when SNS did not accept one, after trying all that it answers."""
        with span("publish", kind="producer"):
            self._publish_all(events)

    def _publish_all(self, events: Sequence[Event]) -> None:
        trace, source = traceparent(), self._source
        messages = [
            _Message(event.event_id, encode_event(event, source=source, traceparent=trace))
            for event in events
        ]
        faults: list[_Fault] = []
        for start in range(0, len(messages), _BATCH):
            faults += self._publish(messages[start : start + _BATCH])
        failed = [fault for fault in faults if fault.code not in _REFUSALS]
        if failed:
            raise Unavailable(f"publish: {len(failed)} of {len(events)} events failed: {failed}")
        if faults:
            raise EventsRefused({one.event_id: f"{one.code}: {one.text}" for one in faults})

    def _publish(self, messages: Sequence[_Message]) -> list[_Fault]:
        """Publish a batch; where SNS refuses it as a whole, one by one: it may be for one of them.

        (It refuses what is too long together, and says so of the whole.)
        """
        with answered("publish"):
            try:
                answer = self._client.publish_batch(
                    TopicArn=self._topic_arn,
                    PublishBatchRequestEntries=[
                        {"Id": str(number), "Message": message.body}
                        for number, message in enumerate(messages)
                    ],
                )
            except ClientError as exc:
                if error_code(exc) not in _REFUSALS:
                    raise
                if len(messages) > 1:
                    return [fault for one in messages for fault in self._publish([one])]
                text = exc.response.get("Error", {}).get("Message", "")
                return [_Fault(messages[0].event_id, error_code(exc), text)]
        return [
            _Fault(messages[int(entry["Id"])].event_id, entry["Code"], entry.get("Message", ""))
            for entry in answer.get("Failed", [])
        ]
