"""Batch jobs through the real processes: HTTP, SQS, Celery on Redis, and an AWS emulator."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from rondo_core.async_results import AsyncResponse
from rondo_core.cloud_events import decode_event
from rondo_core.events import BatchEnded
from tests.emulators import Aws
from tests.integration.batch_stack import (
    BatchStack,
    answers_csv,
    batch_stack,
    http_get,
    prices_csv,
    until,
)
from tests.unit.rondo_inference.exported import prices_export

ROWS = 8_000


@pytest.fixture
def stack(ministack: Aws, redis_url: str, tmp_path: Path) -> Iterator[BatchStack]:
    with batch_stack(ministack, redis_url, tmp_path) as running:
        running.promote(prices_export(1))
        running.start()
        running.start("batch-intake")
        yield running


def test_a_worker_killed_in_the_middle_changes_no_byte_and_scores_no_finished_chunk_again(
    stack: BatchStack,
) -> None:
    data = prices_csv(ROWS)
    undisturbed, disturbed = stack.make(data, start=False), stack.make(data, start=False)
    worker = stack.start("batch-worker")
    stack.call("POST", f"/batch/prices/jobs/{disturbed}/start")

    until(lambda: len(stack.finished(disturbed)) >= 8, pause_seconds=0.0)
    worker.kill()
    finished, before = stack.finished(disturbed), stack.tries(disturbed)
    assert stack.show(disturbed)["state"] == "RUNNING"
    assert len(finished) < stack.show(disturbed)["chunks"], "it was killed in the middle"
    stack.start("batch-worker")
    job, output = stack.over(disturbed), stack.output(disturbed)
    stack.call("POST", f"/batch/prices/jobs/{undisturbed}/start")

    assert output == answers_csv(ROWS)
    assert stack.output(undisturbed) == output
    after = stack.tries(disturbed)
    assert {index: after[index] for index in finished} == dict.fromkeys(finished, 1)
    assert {index: before[index] for index in finished} == dict.fromkeys(finished, 1)
    assert set(after) == set(range(job["chunks"]))
    assert (job["records"], job["failed_records"], job["progress"]) == (ROWS, 0, 1.0)


def test_tasks_that_redis_loses_are_asked_for_again(stack: BatchStack, redis_url: str) -> None:
    job_id = stack.make(prices_csv(3))
    queue = f"{stack.environment['RONDO_PREFIX']}-batch"
    with redis.Redis.from_url(redis_url) as broker:
        until(lambda: broker.llen(queue) >= 1)
        broker.delete(queue)

    stack.start("batch-worker")

    assert stack.output(job_id) == answers_csv(3)


def test_a_job_keeps_its_version_when_another_is_promoted(stack: BatchStack) -> None:
    job_id = stack.make(prices_csv(500))
    stack.promote(prices_export(2))
    until(lambda: stack.call("GET", "/v1/models/prices")[2]["model_version_status"][0]["version"]
          == "2")  # fmt: skip
    later = stack.make(prices_csv(500))
    stack.start("batch-worker")

    assert stack.output(job_id) == answers_csv(500, version=1)
    assert stack.output(later) == answers_csv(500, version=2)


def test_a_cancelled_job_stops_and_goes_on_where_it_stopped(stack: BatchStack) -> None:
    job_id = stack.make(prices_csv(ROWS))
    worker = stack.start("batch-worker")
    until(lambda: len(stack.finished(job_id)) >= 5, pause_seconds=0.0)

    status, _, cancelled = stack.call("POST", f"/batch/prices/jobs/{job_id}/cancel")
    assert (status, cancelled["state"]) == (200, "CANCELLED")
    assert 0 < cancelled["progress"] < 1
    worker.stop()  # what was begun is finished
    kept = stack.finished(job_id)
    stack.start("batch-worker")
    stack.call("POST", f"/batch/prices/jobs/{job_id}/start")

    assert stack.output(job_id) == answers_csv(ROWS)
    assert {stack.tries(job_id)[index] for index in kept} == {1}


def test_rows_that_do_not_fit_are_told_by_number_and_the_others_are_scored(
    stack: BatchStack,
) -> None:
    stack.start("batch-worker")
    bad = {7: "many,Aa", 900: "3", 901: "4,Cologne"}
    job_id = stack.make(prices_csv(1000, bad=bad))

    lines = stack.output(job_id).decode().splitlines()
    job = stack.show(job_id)

    assert len(lines) == 1001
    assert lines[8] == ",column 'rooms': 'many' is not a number"
    good = answers_csv(1000).decode().splitlines()
    assert [line for at, line in enumerate(lines) if at - 1 not in bad] == [
        line for at, line in enumerate(good) if at - 1 not in bad
    ]
    assert (job["records"], job["failed_records"]) == (1000, 3)
    told = [json.loads(line) for line in http_get(job["failures"]["url"]).splitlines()]
    assert [(one["row"], one.get("column")) for one in told] == [
        (7, "rooms"),
        (900, None),
        (901, "town"),
    ]


def test_as_1_boto3_invokes_asynchronously_and_as_3_the_topic_hears_sagemakers_message(
    stack: BatchStack,
) -> None:
    stack.start("batch-worker")
    stack.ports.model_store.put("batch/inputs/mine/in.csv", prices_csv(50))
    bucket, topic = stack.ports.names.bucket, _listen(stack)
    runtime = stack.ports.client("sagemaker-runtime", f"http://127.0.0.1:{stack.port}")

    answer = runtime.invoke_endpoint_async(
        EndpointName="prices",
        InputLocation=f"s3://{bucket}/batch/inputs/mine/in.csv",
        ContentType="text/csv",
        Accept="text/csv",
        InferenceId="mine-7",
        RequestTTLSeconds=3600,
        InvocationTimeoutSeconds=600,
    )

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "mine-7"
    assert answer["OutputLocation"].startswith(f"s3://{bucket}/batch/jobs/")
    assert answer["FailureLocation"].startswith(f"s3://{bucket}/batch/jobs/")
    ended = topic()
    assert (ended.state, ended.result.invocation_status) == ("COMPLETED", "Completed")
    assert ended.result.inference_id == "mine-7"
    response = ended.result.response_parameters
    assert isinstance(response, AsyncResponse)
    assert response.output_location == answer["OutputLocation"]
    key = answer["OutputLocation"].removeprefix(f"s3://{bucket}/")
    assert stack.ports.model_store.get(key) == answers_csv(50)


def _listen(stack: BatchStack) -> Callable[[], BatchEnded]:
    """Subscribe a queue of our own to the topic; return what waits for the end of a job."""
    sqs, sns = stack.ports.client("sqs"), stack.ports.client("sns")
    url = sqs.create_queue(QueueName=f"{stack.ports.names.prefix}-mine")["QueueUrl"]
    sns.subscribe(
        TopicArn=stack.ports.arn("sns", stack.ports.names.topic),
        Protocol="sqs",
        Endpoint=stack.ports.arn("sqs", f"{stack.ports.names.prefix}-mine"),
        Attributes={
            "RawMessageDelivery": "true",
            "FilterPolicyScope": "MessageBody",
            "FilterPolicy": json.dumps({"type": ["BatchEnded"]}),
        },
    )

    def wait() -> BatchEnded:
        found: list[BatchEnded] = []

        def came() -> bool:
            answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
            for message in answer.get("Messages", ()):
                event = decode_event(message["Body"])
                assert isinstance(event, BatchEnded)
                found.append(event)
            return bool(found)

        until(came)
        return found[0]

    return wait
