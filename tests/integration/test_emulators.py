"""The emulators themselves: they start, answer real calls, and listen on loopback only."""

import socket
from pathlib import Path

import pytest

from rondo_local.processes import Supervisor
from tests.emulators import Aws, start_emulator


def test_an_emulator_answers_each_service_that_we_use(aws: Aws) -> None:
    s3, sqs, sns = (aws.session.client(name) for name in ("s3", "sqs", "sns"))
    dynamodb, states = (aws.session.client(name) for name in ("dynamodb", "stepfunctions"))

    s3.create_bucket(Bucket="answers")
    s3.put_object(Bucket="answers", Key="a", Body=b"1", IfNoneMatch="*")

    assert s3.get_object(Bucket="answers", Key="a")["Body"].read() == b"1"
    queue = sqs.create_queue(QueueName="answers")["QueueUrl"]
    assert queue in sqs.list_queues()["QueueUrls"]
    topic = sns.create_topic(Name="answers")["TopicArn"]
    assert topic in [one["TopicArn"] for one in sns.list_topics()["Topics"]]
    assert "answers" not in dynamodb.list_tables()["TableNames"]
    assert "answers" not in [one["name"] for one in states.list_state_machines()["stateMachines"]]


def test_an_emulator_refuses_a_second_create_of_an_object(aws: Aws) -> None:
    s3 = aws.session.client("s3")
    s3.create_bucket(Bucket="create-once")
    s3.put_object(Bucket="create-once", Key="a", Body=b"1", IfNoneMatch="*")

    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="create-once", Key="a", Body=b"2", IfNoneMatch="*")


def test_redis_takes_commands_with_its_password_only(redis_url: str) -> None:
    host, port = redis_url.split("@")[1].removesuffix("/0").split(":")

    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.recv(100)

    assert answer == b"-NOAUTH Authentication required.\r\n"


def test_ministack_keeps_its_state_over_a_graceful_stop(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs") as supervisor:
        before = start_emulator("ministack", supervisor, tmp_path)
        before.session.client("sqs").create_queue(QueueName="kept")
        supervisor.stop("ministack")

        after = start_emulator("ministack", supervisor, tmp_path)
        urls = after.session.client("sqs").list_queues()["QueueUrls"]

    assert [url.rsplit("/", 1)[1] for url in urls] == ["kept"]
