"""What KEDA would ask, asked: each trigger sees what makes its service necessary, then nothing."""

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery
from redis import Redis

from rondo_aggregator.adapters.celery_jobs import CeleryJobs
from rondo_aggregator.domain.attempt import Attempt
from rondo_core.celery_worker import CelerySettings, new_app
from rondo_core.settings import AwsSettings, Secret
from rondo_core.topology import Names
from rondo_inference.batch.tasks import CeleryHints
from rondo_local.bootstrap import bootstrap
from tests.deploy.kubernetes_view import Overlay
from tests.emulators import Aws

SCALED_ON_MESSAGES = ("aggregator-intake", "batch-intake", "dispatcher", "evaluator")
ENQUEUE: dict[str, Callable[[Celery], None]] = {
    "aggregator": lambda app: CeleryJobs(app).validate(Attempt("run-1", 1, 1), ["a-client"]),
    "batch": lambda app: CeleryHints(app).plan("job-1"),
}


@pytest.fixture(scope="module")
def triggers(overlays: dict[str, Overlay]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (target, {"type": one["type"], **one["metadata"]})
        for target, one in overlays["dev"].triggers()
    ]


@pytest.fixture
def prefix(aws: Aws) -> str:
    """Of a stack of the test's own, which is made like any other."""
    settings = AwsSettings(
        aws_endpoint_url=aws.endpoint_url,
        aws_region=aws.region,
        rondo_prefix=f"keda{uuid.uuid4().hex[:8]}",
    )
    bootstrap(settings, session=aws.session)
    return settings.rondo_prefix


def test_messages_are_seen_in_the_queue_of_each_service(
    aws: Aws, prefix: str, triggers: list[tuple[str, dict[str, Any]]]
) -> None:
    sqs, counts = aws.session.client("sqs"), {}
    for target, asked in triggers:
        if asked["type"] != "aws-sqs-queue":
            continue
        url = asked["queueURL"].replace(Names().prefix, prefix)
        name = urlsplit(url).path.rpartition("/")[2]

        before = _messages(sqs, url)
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody="{}")
        counts[target] = (before, _messages(sqs, url))

    assert counts == dict.fromkeys(SCALED_ON_MESSAGES, (0, 1))


def _messages(sqs: Any, url: str) -> int:
    """Count as KEDA's scaler does: those that wait and those that are being handled."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def test_rounds_runs_and_jobs_are_seen_while_they_are_active(
    aws: Aws, prefix: str, triggers: list[tuple[str, dict[str, Any]]]
) -> None:
    dynamodb, table = aws.session.client("dynamodb"), Names(prefix).table
    asked = [one for _, one in triggers if one["type"] == "aws-dynamodb"]
    keys = {
        "batch": ("BATCH#job-1", "META"),
        "round": ("RUN#run-1", "ROUND#000001#01"),
        "run": ("RUN#run-1", "META"),
    }
    rows = {
        kind: {"PK": {"S": pk}, "SK": {"S": sk}, "active": {"S": kind}}
        for kind, (pk, sk) in keys.items()
    }

    before = [_rows(dynamodb, table, one) for one in asked]
    for row in rows.values():
        dynamodb.put_item(TableName=table, Item=row)
    during = [_rows(dynamodb, table, one) for one in asked]
    for row in rows.values():
        dynamodb.put_item(TableName=table, Item={key: row[key] for key in ("PK", "SK")})
    after = [_rows(dynamodb, table, one) for one in asked]

    assert (before, during, after) == ([0] * 4, [1] * 4, [0] * 4)


def _rows(dynamodb: Any, table: str, asked: dict[str, Any]) -> int:
    found = dynamodb.query(
        TableName=table,
        IndexName=asked["indexName"],
        KeyConditionExpression=asked["keyConditionExpression"],
        ExpressionAttributeNames=json.loads(asked["expressionAttributeNames"]),
        ExpressionAttributeValues=json.loads(asked["expressionAttributeValues"]),
        Select="COUNT",
    )
    return int(found["Count"])


def test_tasks_are_seen_in_the_list_that_they_wait_in(
    redis_url: str, triggers: list[tuple[str, dict[str, Any]]]
) -> None:
    lists = {target: one["listName"] for target, one in triggers if one["type"] == "redis"}
    prefix = f"keda{uuid.uuid4().hex[:8]}"
    settings = CelerySettings(redis_url=Secret(redis_url), rondo_prefix=prefix)

    counts = {}
    for service, enqueue in ENQUEUE.items():
        waiting = lists.pop(f"{service}-worker").replace(Names().prefix, prefix)
        with Redis.from_url(redis_url) as redis, new_app(service, settings) as app:
            before = redis.llen(waiting)
            enqueue(app)
            counts[service] = (before, redis.llen(waiting))
            redis.delete(waiting)

    assert counts == {"aggregator": (0, 1), "batch": (0, 1)}
    assert lists == {}
