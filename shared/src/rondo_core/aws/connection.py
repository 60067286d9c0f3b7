"""One process's connection to AWS: its clients, and every port bound to the names of a prefix."""

import threading
from functools import cached_property
from typing import Any, Protocol, cast

import boto3
from botocore.config import Config

from rondo_core.aws.dynamo_run_store import DynamoRunStore
from rondo_core.aws.failures import answered
from rondo_core.aws.s3_model_store import S3ModelStore
from rondo_core.aws.s3_object_folders import S3ObjectFolders
from rondo_core.aws.s3_upload_links import S3UploadLinks
from rondo_core.aws.sns_publish import SnsPublish
from rondo_core.aws.sqs_event_source import SqsEventSource
from rondo_core.aws.step_functions_workflow import StepFunctionsWorkflow
from rondo_core.settings import AwsSettings
from rondo_core.topology import Names, queue_of

__all__ = ["AwsPorts", "Session", "connect"]

_CONNECT_SECONDS = 5
_READ_SECONDS = 30
"""Longer than the longest poll of a queue, 20 s."""
_CONNECTIONS = 32


class Session(Protocol):
    """What makes clients: ``boto3.Session``, or localstack-client's session in tests."""

    def client(self, service_name: str, **options: Any) -> Any:  # noqa: ANN401 - boto3's own type
        """Return a low-level client."""
        ...


class AwsPorts:
    """Every port of a process, made when first asked for; safe to share between threads.

    Clients are opened on first use and kept, so a process that forks asks only after the fork.
    """

    def __init__(self, settings: AwsSettings, session: Session) -> None:
        self.names = Names(settings.rondo_prefix)
        self._settings = settings
        self._session = session
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._lock = threading.RLock()

    @cached_property
    def run_store(self) -> DynamoRunStore:
        """The table."""
        return DynamoRunStore(self.client("dynamodb"), self.names.table)

    @cached_property
    def model_store(self) -> S3ModelStore:
        """The bucket."""
        return S3ModelStore(self.client("s3"), self.names.bucket)

    @cached_property
    def object_folders(self) -> S3ObjectFolders:
        """The bucket's folders."""
        return S3ObjectFolders(self.client("s3"), self.names.bucket)

    @cached_property
    def workflow(self) -> StepFunctionsWorkflow:
        """The state machine; blocks for the account's number when first asked for."""
        arn = self.arn("states", f"stateMachine:{self.names.state_machine}")
        return StepFunctionsWorkflow(self.client("stepfunctions"), arn)

    def upload_links(self, endpoint_url: str | None = None) -> S3UploadLinks:
        """Return links to the bucket.

        Args:
            endpoint_url: the store's address as clients reach it; None: as this process does.
        """
        return S3UploadLinks(self.client("s3", endpoint_url), self.names.bucket)

    def publish(self, source: str) -> SnsPublish:
        """Return the topic; blocks for the account's number when first asked for.

        Args:
            source: who publishes, for example ``rondo/dispatcher``.
        """
        return SnsPublish(self.client("sns"), self.arn("sns", self.names.topic), source=source)

    def event_source(self, service: str) -> SqsEventSource:
        """Return a service's queue.

        Raises:
            KeyError: ``topology.QUEUES`` has no such service.
        """
        return SqsEventSource(
            self.client("sqs"),
            self.names.queue(service),
            self.names.dead_letters(service),
            visibility_seconds=queue_of(service).visibility_seconds,
        )

    def client(self, service: str, endpoint_url: str | None = None) -> Any:  # noqa: ANN401 - boto3's
        """Return this process's client of an AWS service; the bootstrap needs them bare.

        Args:
            service: boto3's name of it.
            endpoint_url: another address than that of the settings.
        """
        endpoint_url = endpoint_url or self._settings.aws_endpoint_url
        with self._lock:  # a boto3 session is not safe to share, its clients are
            if (service, endpoint_url) not in self._clients:
                self._clients[service, endpoint_url] = self._session.client(
                    service,
                    region_name=self._settings.aws_region,
                    endpoint_url=endpoint_url,
                    config=_config(service, own_address=endpoint_url is not None),
                )
            return self._clients[service, endpoint_url]

    def close(self) -> None:
        """Close the connections of all clients; the ports must not be used any more."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource in the account whose credentials are used.

        Raises:
            Unavailable: no answer.
        """
        with self._lock:
            partition, account = self._account
        return f"arn:{partition}:{service}:{self._settings.aws_region}:{account}:{resource}"

    @cached_property
    def _account(self) -> tuple[str, str]:
        with answered("ask who we are"):
            caller = self.client("sts").get_caller_identity()
        return caller["Arn"].split(":")[1], caller["Account"]


def connect(settings: AwsSettings, session: Session | None = None) -> AwsPorts:
    """Return the ports of the prefix; opens nothing yet.

    Args:
        settings: where AWS is, and the prefix of all names.
        session: makes the clients; by default a boto3 session, with credentials from the standard
            AWS variables.
    """
    if session is None:
        session = cast("Session", boto3.Session(region_name=settings.aws_region))
    return AwsPorts(settings, session)


def _config(service: str, *, own_address: bool) -> Config:
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 3},
        tcp_keepalive=True,
    )
    if service != "s3":
        return config
    return config.merge(
        Config(
            signature_version="s3v4",
            # An address of its own has no name per bucket below it.
            s3={
                "addressing_style": "path" if own_address else "virtual",
                "payload_signing_enabled": False,
            },
            # We send a SHA-256 ourselves and compare digests after reading; hashing all bytes a
            # second time, here, made a 5 MB read half as fast.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
    )
