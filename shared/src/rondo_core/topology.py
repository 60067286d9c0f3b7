"""The one table of names: which queue hears which events, and what everything is called.

Bootstrap, the AWS deployment and the Kubernetes manifests read it. A *prefix* lets stacks share one
account.
"""

from dataclasses import dataclass
from importlib import resources

from rondo_core import events
from rondo_core.events import Event

__all__ = [
    "CORS_RULES",
    "INDEX",
    "MAX_RECEIVES",
    "QUEUES",
    "Names",
    "QueueSpec",
    "filter_policy",
    "queue_of",
    "state_machine_definition",
]

INDEX = "active"
"""The sparse index: hash key is the field of the same name, all fields projected."""

CORS_RULES = ({"AllowedMethods": ["PUT"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]},)
"""The bucket's: pages of the inference server put files at links, whatever address it has.

A link is all that it takes to put an object, so the page's origin proves nothing.
"""

MAX_RECEIVES = 5
"""Deliveries of one message before SQS moves it to the dead-letter queue."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A service's queue.

    Attributes:
        service: whose queue it is.
        receives: the event types that its filter lets through.
        visibility_seconds: how soon the messages of a process that died come again. Not how long
            handling may take: a consumer extends what it is handling (``heartbeat``).
        takes_strays: whether it also gets what no service knows, so that its consumer dead-letters
            it with the reason; the topic alone would drop it without a word.
    """

    service: str
    receives: tuple[type[Event], ...]
    visibility_seconds: int
    takes_strays: bool = False


QUEUES = (
    QueueSpec(
        "dispatcher",
        (
            events.RunRequested,
            events.RoundRequested,
            events.UpdateAccepted,
            events.UpdateRejected,
            events.VersionCommitted,
            events.VersionPromoted,
            events.VersionHeld,
        ),
        visibility_seconds=30,
        takes_strays=True,
    ),
    QueueSpec("aggregator", (events.UpdateSubmitted, events.RoundSealed), visibility_seconds=30),
    QueueSpec("evaluator", (events.EvaluationRequested,), visibility_seconds=30),
    QueueSpec("batch", (events.BatchRequested,), visibility_seconds=30),
)


def queue_of(service: str) -> QueueSpec:
    """Return a service's queue.

    Raises:
        KeyError: the service has none.
    """
    return {spec.service: spec for spec in QUEUES}[service]


@dataclass(frozen=True, slots=True)
class Names:
    """What things are called under a prefix."""

    prefix: str = "rondo"

    @property
    def topic(self) -> str:
        """The one SNS topic."""
        return f"{self.prefix}-events"

    @property
    def table(self) -> str:
        """The one DynamoDB table."""
        return f"{self.prefix}-table"

    @property
    def bucket(self) -> str:
        """The one S3 bucket, versioned."""
        return f"{self.prefix}-models"

    @property
    def state_machine(self) -> str:
        """The Step Functions state machine of a run."""
        return f"{self.prefix}-run"

    def queue(self, service: str) -> str:
        """A service's SQS queue."""
        return f"{self.prefix}-{service}"

    def dead_letters(self, service: str) -> str:
        """The dead-letter queue of a service's queue."""
        return f"{self.prefix}-{service}-dead-letters"


def filter_policy(queue: QueueSpec) -> dict[str, list[object]]:
    """Return the subscription's filter on the message body.

    >>> filter_policy(QUEUES[1])
    {'type': ['UpdateSubmitted', 'RoundSealed']}
    """
    rules: list[object] = [event.__name__ for event in queue.receives]
    if queue.takes_strays:
        rules += [{"anything-but": list(events.EVENT_TYPES)}, {"exists": False}]
    return {"type": rules}


def state_machine_definition() -> str:
    """Return the ASL document with ``${TopicArn}`` where the topic's ARN belongs."""
    return resources.files("rondo_core").joinpath("run.asl.json").read_text("utf-8")
