"""The AWS SDK's own client calls a model as a function, and reads why a call is refused."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.test_inference_alone import SECONDS, Alone, start
from tests.unit.rondo_inference.exported import sample_folder

ROW = b'{"instances": [[3, "Bonn"]]}'
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:prices"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    found = start(sample_folder(tmp_path_factory.mktemp("models")), model="prices", body=ROW)
    yield found
    found.process.terminate()
    found.process.wait(timeout=SECONDS)


@pytest.fixture
def client(server: Alone) -> Iterator[Any]:
    made: Any = boto3.client(
        "lambda",
        endpoint_url=f"http://{server.http}",
        region_name="eu-central-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


@pytest.mark.parametrize("name", ["prices", "prices:2", ARN, f"{ARN}:2"])
def test_a_function_is_a_model(client: Any, name: str) -> None:
    found = client.invoke(FunctionName=name, Payload=ROW)

    assert (found["StatusCode"], found["ExecutedVersion"]) == (200, "2")
    assert "FunctionError" not in found
    assert json.loads(found["Payload"].read()) == {"predictions": [[15]]}


def test_an_event_and_a_dry_run_have_no_payload(client: Any) -> None:
    event = client.invoke(FunctionName="prices", InvocationType="Event", Payload=ROW)
    dry = client.invoke(FunctionName="prices", InvocationType="DryRun", Payload=ROW)

    assert (event["StatusCode"], dry["StatusCode"]) == (202, 204)
    assert (event["Payload"].read(), dry["Payload"].read()) == (b"", b"")


def test_what_the_function_finds_wrong_is_its_error(client: Any) -> None:
    found = client.invoke(FunctionName="prices", Payload=b'{"instances": [[1]]}')

    assert (found["StatusCode"], found["FunctionError"]) == (200, "Unhandled")
    assert "1 values" in json.loads(found["Payload"].read())["errorMessage"]


def test_a_function_that_does_not_exist_is_an_error_of_the_sdk_with_its_text(
    client: Any,
) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.invoke(FunctionName="cats", Payload=ROW)

    assert "'cats'" in caught.value.response["Error"]["Message"]


def test_another_invocation_type_is_an_error_of_the_sdk_with_its_text(
    client: Any,
) -> None:
    with pytest.raises(ClientError, match="'Later' is not one of RequestResponse, Event, DryRun"):
        client.invoke(FunctionName="prices", InvocationType="Later", Payload=ROW)
