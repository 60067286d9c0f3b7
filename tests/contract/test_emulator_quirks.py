"""What each emulator does where it differs from AWS or from the other, exactly as measured.

Our code must not lean on any of it; a test that fails here after an upgrade says what to look at.
"""

import http.client
import json
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from rondo_core.aws import AwsPorts, connect
from rondo_core.settings import AwsSettings
from rondo_local.bootstrap import bootstrap
from tests.contract.harness import settle
from tests.emulators import Aws

ROLE = "arn:aws:iam::000000000000:role/test"
OK = "ok"


@pytest.fixture(scope="module")
def ports(aws: Aws) -> AwsPorts:
    settings = AwsSettings(
        aws_endpoint_url=aws.endpoint_url, rondo_prefix=f"q{secrets.token_hex(4)}"
    )
    bootstrap(settings, session=aws.session)
    return connect(settings, aws.session)


@pytest.fixture
def queue(ports: AwsPorts, name: str) -> str:
    url: str = ports.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return url


def outcome(call: Callable[..., object], **arguments: object) -> str:
    """``ok``, or the code of the error."""
    try:
        call(**arguments)
    except ClientError as exc:
        return exc.response["Error"]["Code"].rpartition("#")[2]
    return OK


# --- DynamoDB ---------------------------------------------------------------------------------


def test_number_keeps_the_form_in_which_it_was_written(
    aws: Aws, ports: AwsPorts, name: str
) -> None:
    table, key = ports.names.table, {"PK": {"S": name}, "SK": {"S": "A"}}
    client = ports.client("dynamodb")
    client.put_item(TableName=table, Item=key | {"n": {"N": "1.0"}, "m": {"N": "1e2"}})

    item = client.get_item(TableName=table, Key=key)["Item"]

    assert (item["n"]["N"], item["m"]["N"]) == {
        "ministack": ("1", "100"),  # as AWS
        "localstack": ("1.0", "1e2"),
    }[aws.name]


def test_true_equals_one_on_localstack(aws: Aws, ports: AwsPorts, name: str) -> None:
    table, key = ports.names.table, {"PK": {"S": name}, "SK": {"S": "A"}}
    client = ports.client("dynamodb")
    client.put_item(TableName=table, Item=key | {"n": {"N": "1"}})

    answer = outcome(
        client.put_item,
        TableName=table,
        Item=key,
        ConditionExpression="n = :true",
        ExpressionAttributeValues={":true": {"BOOL": True}},
    )

    refused = "ConditionalCheckFailedException"
    assert answer == {"ministack": refused, "localstack": OK}[aws.name]


def test_same_request_token_again_is_not_a_second_transaction(
    aws: Aws, ports: AwsPorts, name: str
) -> None:
    client, key = ports.client("dynamodb"), {"PK": {"S": name}, "SK": {"S": "A"}}

    def add(amount: int) -> str:
        update = {
            "TableName": ports.names.table,
            "Key": key,
            "UpdateExpression": "ADD n :n",
            "ExpressionAttributeValues": {":n": {"N": str(amount)}},
        }
        return outcome(
            client.transact_write_items,
            TransactItems=[{"Update": update}],
            ClientRequestToken=name,
        )

    answers = [add(1), add(1), add(2)]

    item = client.get_item(TableName=ports.names.table, Key=key)["Item"]
    assert (answers, item["n"]["N"]) == {
        "ministack": ([OK, OK, "IdempotentParameterMismatchException"], "1"),
        "localstack": ([OK, OK, OK], "1"),
    }[aws.name]


# --- S3 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("versioned", ["versioned", "plain"])
def test_creations_of_one_object_at_once(
    aws: Aws, ports: AwsPorts, name: str, versioned: str
) -> None:
    client, bucket, writers = ports.client("s3"), ports.names.bucket, 8
    if versioned == "plain":
        bucket = f"{bucket}-plain"
        client.create_bucket(Bucket=bucket)

    def winners(race: int) -> int:
        barrier = threading.Barrier(writers)

        def create(writer: int) -> str:
            barrier.wait()
            return outcome(
                client.put_object,
                Bucket=bucket,
                Key=f"{name}-{race}",
                Body=b"%d" % writer,
                IfNoneMatch="*",
            )

        with ThreadPoolExecutor(writers) as pool:
            answers = list(pool.map(create, range(writers)))
        assert set(answers) <= {OK, "PreconditionFailed"}
        return answers.count(OK)

    # LocalStack locks the version, not the key: of those who come at the same moment, each wins.
    if (aws.name, versioned) == ("localstack", "versioned"):
        assert any(winners(race) > 1 for race in range(50))
    else:
        assert [winners(race) for race in range(3)] == [1, 1, 1]


def test_put_of_much_that_is_refused_gets_no_answer_on_localstack(
    aws: Aws, ports: AwsPorts, name: str
) -> None:
    ports.model_store.put(name, b"taken")
    data = b"x" * 16_000_000
    link = ports.upload_links().for_upload(
        name, size=len(data), sha256="0" * 64, expires_seconds=60
    )
    parts = urlsplit(link.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=3)

    try:
        connection.request("PUT", f"{parts.path}?{parts.query}", data, dict(link.headers))
        answer: int | str = connection.getresponse().status
    except OSError:
        answer = "none"
    finally:
        connection.close()

    assert answer == {"ministack": 412, "localstack": "none"}[aws.name]


def test_copy_over_an_object_if_there_is_none(aws: Aws, ports: AwsPorts, name: str) -> None:
    ports.model_store.put(f"{name}/a", b"a")
    ports.model_store.put(f"{name}/b", b"b")

    answer = outcome(
        ports.client("s3").copy_object,
        Bucket=ports.names.bucket,
        Key=f"{name}/b",
        CopySource=f"{ports.names.bucket}/{name}/a",
        IfNoneMatch="*",
    )

    assert answer == {"ministack": OK, "localstack": OK}[aws.name]  # AWS: PreconditionFailed


# --- SNS and SQS ------------------------------------------------------------------------------


def test_receipt_of_before_a_redelivery(aws: Aws, ports: AwsPorts, queue: str) -> None:
    client = ports.client("sqs")
    client.send_message(QueueUrl=queue, MessageBody="x")
    (old,) = client.receive_message(QueueUrl=queue, VisibilityTimeout=0)["Messages"]
    client.receive_message(QueueUrl=queue, VisibilityTimeout=0)

    answer = outcome(client.delete_message, QueueUrl=queue, ReceiptHandle=old["ReceiptHandle"])

    left = len(client.receive_message(QueueUrl=queue).get("Messages", []))
    assert (answer, left) == {
        "ministack": ("ReceiptHandleIsInvalid", 1),
        "localstack": (OK, 0),
    }[aws.name]


def test_moving_dead_letters_back(aws: Aws, ports: AwsPorts) -> None:
    source = ports.arn("sqs", ports.names.dead_letters("dispatcher"))

    answer = outcome(ports.client("sqs").start_message_move_task, SourceArn=source)

    assert answer == {"ministack": "InvalidAction", "localstack": OK}[aws.name]


def test_second_subscription_with_another_filter(
    aws: Aws, ports: AwsPorts, name: str, queue: str
) -> None:
    sns, arn = ports.client("sns"), ports.arn("sqs", name)
    assert queue.endswith(name)
    topic = sns.create_topic(Name=name)["TopicArn"]

    def subscribe(kind: str) -> str:
        policy = {"FilterPolicy": json.dumps({"type": [kind]})}
        return outcome(
            sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=policy
        )

    answers = [subscribe("A"), subscribe("A"), subscribe("B")]

    assert (
        answers
        == {
            "ministack": [OK, OK, OK],
            "localstack": [OK, OK, "InvalidParameter"],
        }[aws.name]
    )


# --- Step Functions ---------------------------------------------------------------------------


def start(ports: AwsPorts, name: str, states: dict[str, Any], **machine: Any) -> str:
    """Start an execution named ``name`` of a machine of its own; returns the execution's ARN."""
    client = ports.client("stepfunctions")
    definition = json.dumps({"StartAt": next(iter(states)), "States": states, **machine})
    arn = client.create_state_machine(name=name, definition=definition, roleArn=ROLE)[
        "stateMachineArn"
    ]
    execution: str = client.start_execution(stateMachineArn=arn, name=name, input="{}")[
        "executionArn"
    ]
    return execution


def ask(queue: str, **more: Any) -> dict[str, Any]:
    """A task that sends its token to the queue, and waits for the answer."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody.$": "$$.Task.Token"},
        "TimeoutSeconds": 60,
        "Next": "Done",
    } | more


DONE = {"Done": {"Type": "Succeed"}}


def tokens(ports: AwsPorts, queue: str, seconds: float = 5) -> list[str]:
    answer = ports.client("sqs").receive_message(
        QueueUrl=queue, WaitTimeSeconds=int(seconds), MaxNumberOfMessages=10
    )
    return [message["Body"] for message in answer.get("Messages", [])]


def status(ports: AwsPorts, execution: str) -> str:
    answer = ports.client("stepfunctions").describe_execution(executionArn=execution)
    return str(answer["status"])


def test_second_start_of_an_execution(aws: Aws, ports: AwsPorts, name: str, queue: str) -> None:
    client = ports.client("stepfunctions")
    execution = start(ports, name, {"Ask": ask(queue)} | DONE)
    machine = ports.arn("states", f"stateMachine:{name}")

    def again(text: str) -> str:
        return outcome(client.start_execution, stateMachineArn=machine, name=name, input=text)

    running = [again("{}"), again('{"x": 1}')]
    (token,) = tokens(ports, queue)
    client.send_task_success(taskToken=token, output="{}")
    settle(lambda: status(ports, execution), "SUCCEEDED")
    ended = [again("{}"), again('{"x": 1}')]

    exists = "ExecutionAlreadyExists"
    assert (running, ended) == {
        "ministack": ([exists, exists], [exists, exists]),
        "localstack": ([OK, exists], [exists, exists]),
    }[aws.name]


def test_stale_task_tokens(aws: Aws, ports: AwsPorts, name: str, queue: str) -> None:
    client = ports.client("stepfunctions")
    execution = start(
        ports,
        name,
        {
            "Ask": ask(queue),
            "Done": ask(queue, Next="End"),
            "End": {"Type": "Succeed"},
        },
    )

    def answer(token: str) -> str:
        return outcome(client.send_task_success, taskToken=token, output="{}")

    (first,) = tokens(ports, queue)
    fresh = answer(first)
    (second,) = tokens(ports, queue)
    running = answer(first)
    answer(second)
    settle(lambda: status(ports, execution), "SUCCEEDED")
    ended, never = answer(second), answer("never-given-out")

    assert (fresh, running, ended, never) == {
        "ministack": (OK, "TaskDoesNotExist", "TaskDoesNotExist", "TaskDoesNotExist"),
        "localstack": (OK, OK, "InvalidToken", "InvalidToken"),
    }[aws.name]


def test_message_attributes_of_a_publishing_task(
    aws: Aws, ports: AwsPorts, name: str, queue: str
) -> None:
    sns = ports.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=ports.arn("sqs", name),
        Attributes={"RawMessageDelivery": "true"},
    )
    attributes = {"type": {"DataType": "String", "StringValue": "A"}}
    parameters = {"TopicArn": topic, "Message": {"type": "A"}, "MessageAttributes": attributes}
    task = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "Parameters": parameters}
    start(ports, name, {"Tell": task | {"Next": "Done"}} | DONE)

    (message,) = ports.client("sqs").receive_message(
        QueueUrl=queue, WaitTimeSeconds=5, MessageAttributeNames=["All"]
    )["Messages"]

    assert json.loads(message["Body"]) == {"type": "A"}
    assert (
        list(message.get("MessageAttributes", {}))
        == {
            "ministack": [],
            "localstack": ["type"],
        }[aws.name]
    )


def test_catch_that_leads_back_to_its_own_state(
    aws: Aws, ports: AwsPorts, name: str, queue: str
) -> None:
    back = [{"ErrorEquals": ["Again"], "ResultPath": None, "Next": "Ask"}]
    execution = start(ports, name, {"Ask": ask(queue, Catch=back)} | DONE)
    (token,) = tokens(ports, queue)

    ports.client("stepfunctions").send_task_failure(taskToken=token, error="Again")

    asked_again = len(tokens(ports, queue, seconds=2))
    assert (asked_again, status(ports, execution)) == {
        "ministack": (1, "RUNNING"),
        "localstack": (0, "SUCCEEDED"),  # as if the task had succeeded
    }[aws.name]


def test_retry_of_a_task_that_waits_for_its_token(
    aws: Aws, ports: AwsPorts, name: str, queue: str
) -> None:
    retry = [{"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    execution = start(ports, name, {"Ask": ask(queue, Retry=retry)} | DONE)
    (token,) = tokens(ports, queue)

    ports.client("stepfunctions").send_task_failure(taskToken=token, error="Again")
    time.sleep(1.5)

    asked_again = len(tokens(ports, queue, seconds=2))
    assert (asked_again, status(ports, execution)) == {
        "ministack": (1, "RUNNING"),
        "localstack": (1, "FAILED"),  # one failure used two attempts
    }[aws.name]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("TimeoutSeconds", {"ministack": "FAILED", "localstack": "FAILED"}),
        ("TimeoutSecondsPath", {"ministack": "RUNNING", "localstack": "FAILED"}),
        ("HeartbeatSeconds", {"ministack": "RUNNING", "localstack": "FAILED"}),
    ],
)
def test_task_that_nobody_answers_within_a_second(
    aws: Aws, ports: AwsPorts, name: str, queue: str, kind: str, expected: dict[str, str]
) -> None:
    task = ask(queue)
    if kind == "TimeoutSecondsPath":
        del task["TimeoutSeconds"]
        states = {
            "Set": {"Type": "Pass", "Result": {"s": 1}, "Next": "Ask"},
            "Ask": task | {"TimeoutSecondsPath": "$.s"},
        }
    else:
        states = {"Ask": task | {kind: 1}}
    execution = start(ports, name, states | DONE)

    time.sleep(2)

    assert status(ports, execution) == expected[aws.name]


def test_machine_that_takes_longer_than_its_timeout(
    aws: Aws, ports: AwsPorts, name: str, queue: str
) -> None:
    execution = start(ports, name, {"Ask": ask(queue)} | DONE, TimeoutSeconds=1)

    time.sleep(2)

    assert status(ports, execution) == {"ministack": "RUNNING", "localstack": "TIMED_OUT"}[aws.name]
