"""Makes topic, queues, table, bucket and state machine of a prefix; a program for containers too.

For emulators: on AWS the same things are deployed, from the same `rondo_core.topology`. Running it
again, or twice at once, changes nothing that is right already.
"""

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rondo_core.aws import AwsPorts, Session, connect
from rondo_core.aws.failures import answered
from rondo_core.keys import OPERATOR_KEY
from rondo_core.model_rows import OperatorRow
from rondo_core.rows import to_item
from rondo_core.run_store import Absent, CommitConflict, Put
from rondo_core.settings import AwsSettings, Secret, read_settings
from rondo_core.topology import (
    CORS_RULES,
    INDEX,
    MAX_RECEIVES,
    QUEUES,
    QueueSpec,
    filter_policy,
    state_machine_definition,
)

__all__ = ["BootstrapSettings", "Bootstrapped", "bootstrap"]

_DEAD_LETTER_SECONDS = 14 * 24 * 3600
_ROLE = "arn:aws:iam::000000000000:role/rondo-run"
"""The emulators ask for a role and never use it."""


@dataclass(frozen=True, kw_only=True)
class BootstrapSettings(AwsSettings):
    """What the program reads from its environment.

    Attributes:
        operator_token: the operators' bearer token, where the deployment chooses it.
        operator_token_file: where to write a token that was made here, readable by its owner only.
    """

    operator_token: Secret | None = None
    operator_token_file: str | None = None


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What is there now.

    Attributes:
        topic_arn: the SNS topic.
        queues: service -> queue name.
        table: the DynamoDB table.
        bucket: the S3 bucket.
        state_machine_arn: the state machine of a run.
        operator_token: the operators' bearer token if it was made just now, else None: only its
            hash is kept.
    """

    topic_arn: str
    queues: Mapping[str, str]
    table: str
    bucket: str
    state_machine_arn: str
    operator_token: str | None = field(repr=False)


def bootstrap(
    settings: AwsSettings, *, operator_token: str | None = None, session: Session | None = None
) -> Bootstrapped:
    """Make everything that is not there yet; blocks, about half a second on an emulator.

    Args:
        settings: where AWS is, and the prefix of all names.
        operator_token: the operators' bearer token; a random one when None. An older one stays.
        session: makes the clients; by default a boto3 session.

    Raises:
        Unavailable: no answer, or refused; run it again.
    """
    ports = connect(settings, session)
    with answered("bootstrap"):
        topic_arn = ports.client("sns").create_topic(Name=ports.names.topic)["TopicArn"]
        for spec in QUEUES:
            _make_queue(ports, spec, topic_arn)
        _make_table(ports.client("dynamodb"), ports.names.table)
        _make_bucket(ports.client("s3"), ports.names.bucket, settings.aws_region)
        state_machine_arn = _make_state_machine(ports, topic_arn)
        token = _make_operator_token(ports, operator_token)
    return Bootstrapped(
        topic_arn=topic_arn,
        queues={spec.service: ports.names.queue(spec.service) for spec in QUEUES},
        table=ports.names.table,
        bucket=ports.names.bucket,
        state_machine_arn=state_machine_arn,
        operator_token=token,
    )


def _make_queue(ports: AwsPorts, spec: QueueSpec, topic_arn: str) -> None:
    sqs, names = ports.client("sqs"), ports.names
    dead_letters, queue = names.dead_letters(spec.service), names.queue(spec.service)
    queue_arn = ports.arn("sqs", queue)
    redrive = {
        "deadLetterTargetArn": ports.arn("sqs", dead_letters),
        "maxReceiveCount": MAX_RECEIVES,
    }
    attributes = {
        dead_letters: {"MessageRetentionPeriod": str(_DEAD_LETTER_SECONDS)},
        queue: {
            "Policy": json.dumps(_allow(topic_arn, queue_arn)),
            "RedrivePolicy": json.dumps(redrive),
            "VisibilityTimeout": str(spec.visibility_seconds),
        },
    }
    for name, wanted in attributes.items():
        # Attributes only afterwards: CreateQueue refuses an existing queue that has other ones.
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes=wanted)
    _subscribe(ports.client("sns"), topic_arn, queue_arn, spec)


def _allow(topic_arn: str, queue_arn: str) -> dict[str, object]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _subscribe(sns: Any, topic_arn: str, queue_arn: str, spec: QueueSpec) -> None:  # noqa: ANN401
    attributes = {
        "RawMessageDelivery": "true",
        "FilterPolicyScope": "MessageBody",
        "FilterPolicy": json.dumps(filter_policy(spec)),
    }
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
    there = [one for page in pages for one in page["Subscriptions"] if one["Endpoint"] == queue_arn]
    if not there:
        sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes)
    for subscription in there:  # of an older release, perhaps: Subscribe would refuse to change it
        for name, value in attributes.items():
            sns.set_subscription_attributes(
                SubscriptionArn=subscription["SubscriptionArn"],
                AttributeName=name,
                AttributeValue=value,
            )


def _make_table(dynamodb: Any, table: str) -> None:  # noqa: ANN401
    strings = [{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK", INDEX)]
    index = {
        "IndexName": INDEX,
        "KeySchema": [{"AttributeName": INDEX, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    with suppress(dynamodb.exceptions.ResourceInUseException):  # it is there, or being made
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=strings,
            KeySchema=[
                {"AttributeName": "PK", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            GlobalSecondaryIndexes=[index],
        )
    waiter = dynamodb.get_waiter("table_exists")
    waiter.wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def _make_bucket(s3: Any, bucket: str, region: str) -> None:  # noqa: ANN401
    place: dict[str, Any] = {}
    if region != "us-east-1":  # which S3 refuses to be told
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        s3.create_bucket(Bucket=bucket, **place)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(CORS_RULES)})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def _make_state_machine(ports: AwsPorts, topic_arn: str) -> str:
    client, name = ports.client("stepfunctions"), ports.names.state_machine
    arn = ports.arn("states", f"stateMachine:{name}")
    definition = state_machine_definition().replace("${TopicArn}", topic_arn)
    with suppress(client.exceptions.StateMachineAlreadyExists):
        client.create_state_machine(name=name, definition=definition, roleArn=_ROLE)
    if client.describe_state_machine(stateMachineArn=arn)["definition"] != definition:
        client.update_state_machine(stateMachineArn=arn, definition=definition)
    return arn


def _make_operator_token(ports: AwsPorts, chosen: str | None) -> str | None:
    token = chosen or secrets.token_urlsafe(32)
    row = OperatorRow(token_sha256=hashlib.sha256(token.encode()).hexdigest())
    try:
        ports.run_store.commit(Put(OPERATOR_KEY, to_item(row), (Absent(),)))
    except CommitConflict:
        return None
    return token


def main() -> None:
    """Bootstrap what the environment names, and print what is there as JSON."""
    settings = read_settings(BootstrapSettings, os.environ)
    chosen = settings.operator_token
    made = bootstrap(settings, operator_token=None if chosen is None else chosen.value)
    report: dict[str, object] = {
        "bucket": made.bucket,
        "queues": dict(made.queues),
        "state_machine_arn": made.state_machine_arn,
        "table": made.table,
        "topic_arn": made.topic_arn,
    }
    if made.operator_token is not None and chosen is None:
        report |= _hand_out(made.operator_token, settings.operator_token_file)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


def _hand_out(token: str, file: str | None) -> dict[str, object]:
    """Write the token where only its owner can read it; without a file this is the only chance."""
    if file is None:
        return {"operator_token": token}
    path = Path(file)
    path.touch()
    path.chmod(0o600)  # before there is anything to read in it
    path.write_text(token)
    return {"operator_token_file": file}


if __name__ == "__main__":
    main()
