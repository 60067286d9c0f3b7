"""What SNS may answer when it does not take events, and which of them are tried again."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rondo_core.aws import SnsPublish, connect
from rondo_core.errors import EventsRefused, Unavailable
from rondo_core.events import RunFinished
from rondo_core.settings import AwsSettings
from tests.contract.scripted_aws import Answer, ScriptedAws, scripted_aws

XML = {"Content-Type": "text/xml"}
TAKEN: dict[int, str] = {}


@pytest.fixture
def aws_script() -> Iterator[ScriptedAws]:
    with scripted_aws() as script:
        yield script


@pytest.fixture
def publish(aws_script: ScriptedAws) -> SnsPublish:
    client = connect(AwsSettings(aws_endpoint_url=aws_script.url)).client("sns")
    return SnsPublish(client, "arn:aws:sns:us-east-1:1:rondo", source="rondo/test")


def events(count: int) -> list[RunFinished]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        RunFinished(event_id=f"e{n}", run_id="r", occurred_at=at, state="FINISHED", reason="")
        for n in range(count)
    ]


def answer(codes: dict[int, str]) -> Answer:
    """Say that a batch was taken but for those whose number has a code."""
    failed = "".join(
        f"<member><Id>{number}</Id><Code>{code}</Code><Message>why</Message>"
        "<SenderFault>true</SenderFault></member>"
        for number, code in codes.items()
    )
    body = f"""<PublishBatchResponse><PublishBatchResult><Failed>{failed}</Failed><Successful/>
    </PublishBatchResult></PublishBatchResponse>"""
    return Answer(200, body.encode(), XML)


def refusal(code: str) -> Answer:
    """Refuse a whole call."""
    body = (
        f"<ErrorResponse><Error><Code>{code}</Code><Message>why</Message></Error></ErrorResponse>"
    )
    return Answer(400, body.encode(), XML)


@pytest.mark.parametrize(
    "code",
    [
        "InvalidParameter",
        "InvalidParameterValue",
        "ParameterValueInvalid",
        "ValidationError",
        "ValidationException",
    ],
)
def test_what_is_wrong_with_an_event_itself_refuses_that_event(
    aws_script: ScriptedAws, publish: SnsPublish, code: str
) -> None:
    aws_script.answers = [answer({1: code})]

    with pytest.raises(EventsRefused, match="e1") as told:
        publish(*events(3))

    assert told.value.reasons == {"e1": f"{code}: why"}


@pytest.mark.parametrize(
    "code", ["AuthorizationError", "InternalError", "KMSThrottling", "NotFound", "Throttled"]
)
def test_what_may_pass_is_to_be_tried_again_also_where_another_event_is_refused(
    aws_script: ScriptedAws, publish: SnsPublish, code: str
) -> None:
    aws_script.answers = [answer({0: "InvalidParameter", 2: code})]

    with pytest.raises(Unavailable, match=rf"1 of 3 events failed.*e2.*{code}"):
        publish(*events(3))


def test_a_batch_that_is_refused_as_a_whole_is_published_one_by_one(
    aws_script: ScriptedAws, publish: SnsPublish
) -> None:
    aws_script.answers = [
        refusal("BatchRequestTooLong"),
        answer(TAKEN),
        refusal("InvalidParameter"),
        answer(TAKEN),
    ]

    with pytest.raises(EventsRefused) as told:
        publish(*events(3))

    assert told.value.reasons == {"e1": "InvalidParameter: why"}
    assert len(aws_script.calls) == 4


def test_events_that_are_only_together_too_long_are_all_taken(
    aws_script: ScriptedAws, publish: SnsPublish
) -> None:
    aws_script.answers = [refusal("BatchRequestTooLong"), answer(TAKEN), answer(TAKEN)]

    publish(*events(2))

    assert len(aws_script.calls) == 3


def test_a_later_batch_is_published_after_one_with_a_refused_event(
    aws_script: ScriptedAws, publish: SnsPublish
) -> None:
    aws_script.answers = [answer({3: "InvalidParameter"}), answer(TAKEN)]

    with pytest.raises(EventsRefused) as told:
        publish(*events(12))

    assert list(told.value.reasons) == ["e3"]
    assert len(aws_script.calls) == 2


@pytest.mark.parametrize("code", ["AuthorizationError", "NotFound", "InvalidClientTokenId"])
def test_a_topic_that_refuses_whoever_asks_refuses_no_event(
    aws_script: ScriptedAws, publish: SnsPublish, code: str
) -> None:
    aws_script.answers = [refusal(code)]

    with pytest.raises(Unavailable, match=code):
        publish(*events(2))
