"""The topic in SNS."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rondo_core.aws.failures import answered
from rondo_core.cloud_events import encode_event
from rondo_core.errors import Unavailable
from rondo_core.events import Event
from rondo_core.tracing import span, traceparent

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

__all__ = ["SnsPublish"]

_BATCH = 10
"""Most messages of one ``PublishBatch``; ten of ours are far below its 256 KB."""


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
        """Publish events; raises when SNS refused one, after trying them all."""
        with span("publish", kind="producer"):
            self._publish_all(events)

    def _publish_all(self, events: Sequence[Event]) -> None:
        trace, source = traceparent(), self._source
        bodies = [encode_event(event, source=source, traceparent=trace) for event in events]
        failed: list[str] = []
        for start in range(0, len(bodies), _BATCH):
            failed += self._publish(bodies[start : start + _BATCH])
        if failed:
            raise Unavailable(f"publish: {len(failed)} of {len(bodies)} events refused: {failed}")

    def _publish(self, bodies: Sequence[str]) -> list[str]:
        with answered("publish"):
            answer = self._client.publish_batch(
                TopicArn=self._topic_arn,
                PublishBatchRequestEntries=[
                    {"Id": str(number), "Message": body} for number, body in enumerate(bodies)
                ],
            )
        return [entry["Code"] for entry in answer.get("Failed", [])]
