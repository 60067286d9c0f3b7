"""What the adapters make of answers that no emulator gives: throttling, conflicts, lost answers."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from rondo_core.aws import AwsPorts, connect
from rondo_core.bus import Delivery
from rondo_core.errors import Invalid, Unavailable
from rondo_core.events import RunFinished, RunProgress
from rondo_core.model_store import MIN_PART_BYTES, AlreadyExists
from rondo_core.run_store import Absent, CommitConflict, Delete, Equals, Key, Put, Update
from rondo_core.settings import AwsSettings
from rondo_core.topology import queue_of
from tests.contract.scripted_aws import Answer, ScriptedAws, error, json_answer, scripted_aws

KEY, OTHER = Key("RUN#a", "META"), Key("RUN#a", "HEAD")
EVENT = RunFinished(
    event_id="e",
    run_id="a",
    occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    state="FAILED",
    reason="",
)
PROGRESS = RunProgress(run_id="a", rounds=1, round=1, attempt=1)
NO_ANSWER = Answer(0)
IDENTITY = Answer(
    200,
    b"""<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/u</Arn>
    <UserId>u</UserId><Account>1</Account></GetCallerIdentityResult></GetCallerIdentityResponse>""",
    {"Content-Type": "text/xml"},
)


@pytest.fixture
def aws_script() -> Iterator[ScriptedAws]:
    with scripted_aws() as script:
        yield script


@pytest.fixture
def ports(aws_script: ScriptedAws) -> AwsPorts:
    return connect(AwsSettings(aws_endpoint_url=aws_script.url))


def cancelled(*codes: str) -> Answer:
    reasons = [{"Code": code, "Message": f"{code} it is"} for code in codes]
    return error("TransactionCanceledException", CancellationReasons=reasons)


def not_done(*codes: str) -> Answer:
    """SQS's answer to a batch of which it did nothing, and why."""
    entries = [{"Id": str(n), "Code": code, "SenderFault": True} for n, code in enumerate(codes)]
    return json_answer({"Failed": entries, "Successful": []})


def xml_error(code: str, status: int) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


# --- commits ----------------------------------------------------------------------------------


def test_single_change_is_a_plain_write(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [json_answer({})]

    ports.run_store.commit(Put(KEY, {}))
    ports.run_store.commit(Update(KEY, assign={"a": 1}, add={"tokens": frozenset({"t"})}))
    ports.run_store.commit(Delete(KEY))

    operations = [call.split(".")[1] for call in aws_script.calls]
    assert operations == ["PutItem", "UpdateItem", "DeleteItem"]


def test_single_sum_is_a_transaction_so_that_a_repeat_counts_once(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [NO_ANSWER, json_answer({})]

    ports.run_store.commit(Update(KEY, add={"n": 1}))

    assert [call.split(".")[1] for call in aws_script.calls] == ["TransactWriteItems"] * 2
    first, second = (request["ClientRequestToken"] for request in aws_script.requests)
    assert first == second


def test_transaction_that_others_were_in_the_way_of_is_tried_again(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [
        cancelled("TransactionConflict", "None"),
        cancelled("None", "ThrottlingError"),
        json_answer({}),
    ]

    ports.run_store.commit(Put(KEY, {}), Put(OTHER, {}))

    assert len(aws_script.calls) == 3
    tokens = {request["ClientRequestToken"] for request in aws_script.requests}
    assert len(tokens) == 3


def test_transaction_that_others_are_always_in_the_way_of_is_unavailable(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [cancelled("TransactionConflict", "None")]

    with pytest.raises(Unavailable, match="in the way"):
        ports.run_store.commit(Put(KEY, {}), Put(OTHER, {}))


def test_failed_condition_counts_more_than_others_in_the_way(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [cancelled("TransactionConflict", "ConditionalCheckFailed")]

    with pytest.raises(CommitConflict) as caught:
        ports.run_store.commit(Put(KEY, {}), Put(OTHER, {}, (Absent(),)))

    assert caught.value.keys == (OTHER,)


def test_single_write_in_the_way_of_a_transaction_is_tried_again(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [error("TransactionConflictException"), json_answer({})]

    ports.run_store.commit(Put(KEY, {}))

    assert len(aws_script.calls) == 2


def test_conflict_after_a_lost_answer_may_be_our_own_write(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [NO_ANSWER, error("ConditionalCheckFailedException")]

    with pytest.raises(Unavailable, match="outcome unknown"):
        ports.run_store.commit(Put(KEY, {}, (Absent(),)))


def test_conflict_of_the_first_attempt_is_a_conflict(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [error("ConditionalCheckFailedException")]

    with pytest.raises(CommitConflict):
        ports.run_store.commit(Put(KEY, {}, (Equals("a", 1),)))

    assert len(aws_script.calls) == 1


@pytest.mark.parametrize("changes", [1, 2])
def test_value_that_dynamodb_refuses_is_invalid(
    aws_script: ScriptedAws, ports: AwsPorts, changes: int
) -> None:
    aws_script.answers = [
        error("ValidationException") if changes == 1 else cancelled("ValidationError", "None")
    ]

    with pytest.raises(Invalid, match="it is"):
        ports.run_store.commit(*[Put(KEY, {}), Put(OTHER, {})][:changes])


def test_every_page_of_a_query_is_read(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    row = {"PK": {"S": "RUN#a"}, "SK": {"S": "1"}}
    aws_script.answers = [
        json_answer({"Items": [row], "LastEvaluatedKey": row}),
        json_answer({"Items": [], "LastEvaluatedKey": row}),
        json_answer({"Items": [row]}),
    ]

    assert len(ports.run_store.active("run")) == 2

    assert aws_script.requests[1]["ExclusiveStartKey"] == row
    assert aws_script.requests[0]["IndexName"] == "active"


def test_reads_are_strongly_consistent(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [json_answer({}), json_answer({"Items": []})]

    ports.run_store.get(KEY)
    ports.run_store.query("RUN#a")

    assert [request["ConsistentRead"] for request in aws_script.requests] == [True, True]


# --- objects ----------------------------------------------------------------------------------


def put_answer(version: str) -> Answer:
    return Answer(200, b"", {"x-amz-version-id": version})


def head_answer(data: bytes, *, sha256: str | None) -> Answer:
    headers = {"Content-Length": str(len(data)), "x-amz-version-id": "v1"}
    return Answer(200, b"", headers | ({} if sha256 is None else {"x-amz-checksum-sha256": sha256}))


DATA_SHA256 = base64.b64encode(hashlib.sha256(b"data").digest()).decode()
OTHER_SHA256 = base64.b64encode(hashlib.sha256(b"other").digest()).decode()


def test_put_whose_answer_was_lost_finds_its_own_bytes(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [
        NO_ANSWER,
        xml_error("PreconditionFailed", 412),
        head_answer(b"data", sha256=DATA_SHA256),
    ]

    info = ports.model_store.put("key", b"data")

    assert (info.version, info.sha256) == ("v1", hashlib.sha256(b"data").hexdigest())


def test_put_that_meets_other_bytes_is_refused(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [
        xml_error("PreconditionFailed", 412),
        head_answer(b"other", sha256=OTHER_SHA256),
    ]

    with pytest.raises(AlreadyExists):
        ports.model_store.put("key", b"data")


def test_put_beside_another_writer_is_tried_again(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [xml_error("ConditionalRequestConflict", 409), put_answer("v2")]

    assert ports.model_store.put("key", b"data").version == "v2"


def test_put_beside_writers_without_end_is_unavailable(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [xml_error("ConditionalRequestConflict", 409)]

    with pytest.raises(Unavailable, match="in the way"):
        ports.model_store.put("key", b"data")


def test_put_refused_as_existing_that_does_not_exist_is_unavailable(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [xml_error("PreconditionFailed", 412), xml_error("NoSuchKey", 404)]

    with pytest.raises(Unavailable, match="does not exist"):
        ports.model_store.put("key", b"data")


def test_body_that_ends_too_soon_is_unavailable(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [Answer(200, b"only this", {"Content-Length": "100"})]

    with pytest.raises(Unavailable, match="get key"):
        ports.model_store.get("key")


PART = head_answer(b"x" * MIN_PART_BYTES, sha256=None)
UPLOAD_BEGUN = [
    *[PART] * 3,
    Answer(200, b"x" * MIN_PART_BYTES),
    Answer(
        200,
        b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    ),
    Answer(200, b"", {"ETag": '"1"'}),
    *[Answer(200, b'<CopyPartResult><ETag>"2"</ETag></CopyPartResult>')] * 2,
]
PARTS = ["part-1", "part-2", "part-3"]


def test_assembly_that_fails_is_given_up(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [*UPLOAD_BEGUN, xml_error("AccessDenied", 403), Answer(204)]

    with pytest.raises(Unavailable, match="AccessDenied"):
        ports.model_store.assemble("key", b"head", PARTS)

    assert aws_script.calls[-1].startswith("DELETE")
    assert "uploadId=u" in aws_script.calls[-1]


def test_assembly_beside_a_writer_that_left_nothing_is_unavailable(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [
        *UPLOAD_BEGUN,
        xml_error("ConditionalRequestConflict", 409),
        Answer(204),
        Answer(404),
    ]

    with pytest.raises(Unavailable, match="left nothing"):
        ports.model_store.assemble("key", b"head", PARTS)


def test_assembly_that_somebody_else_finished_is_a_success(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    size = len(b"head") + 3 * MIN_PART_BYTES
    aws_script.answers = [
        *UPLOAD_BEGUN,
        xml_error("PreconditionFailed", 412),
        Answer(204),
        Answer(200, b"", {"Content-Length": str(size), "x-amz-version-id": "theirs"}),
    ]

    assert ports.model_store.assemble("key", b"head", PARTS).version == "theirs"


# --- messages ---------------------------------------------------------------------------------


def test_event_that_sns_fails_to_take_is_unavailable(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    body = b"""<PublishBatchResponse><PublishBatchResult><Failed><member><Id>0</Id>
    <Code>InternalError</Code><SenderFault>false</SenderFault></member></Failed><Successful/>
    </PublishBatchResult></PublishBatchResponse>"""
    aws_script.answers = [IDENTITY, Answer(200, body, {"Content-Type": "text/xml"})]
    publish = ports.publish("rondo/test")

    with pytest.raises(Unavailable, match=r"1 of 1 events failed.*InternalError"):
        publish(EVENT)


def test_message_that_sqs_does_not_remove_is_unavailable_unless_its_receipt_is_old(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [
        json_answer({"QueueUrl": aws_script.url}),
        not_done("ReceiptHandleIsInvalid"),
        not_done("InternalError"),
    ]
    source, delivery = ports.event_source("dispatcher"), Delivery("body", "receipt", 1)

    source.acknowledge([delivery])
    with pytest.raises(Unavailable, match="InternalError"):
        source.acknowledge([delivery])


@pytest.mark.parametrize(
    "code", ["InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"]
)
def test_message_that_sqs_does_not_extend_is_unavailable_unless_its_receipt_is_old(
    aws_script: ScriptedAws, ports: AwsPorts, code: str
) -> None:
    aws_script.answers = [
        json_answer({"QueueUrl": aws_script.url}),
        not_done(code),
        not_done(code, "InternalError"),
    ]
    source = ports.event_source("dispatcher")
    deliveries = [Delivery("body", f"receipt {number}", 1) for number in range(2)]

    source.extend(deliveries)
    with pytest.raises(Unavailable, match=r"extend in rondo-dispatcher: \['InternalError'\]"):
        source.extend(deliveries)


def test_messages_are_hidden_for_the_visibility_timeout_of_the_topology(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [json_answer({"QueueUrl": aws_script.url}), json_answer({})]
    source, seconds = ports.event_source("evaluator"), queue_of("evaluator").visibility_seconds

    source.receive(wait_seconds=0)
    source.extend([Delivery("body", f"receipt {number}", 1) for number in range(11)])

    _, received, ten, one = aws_script.requests
    assert received["VisibilityTimeout"] == seconds
    assert [len(extended["Entries"]) for extended in (ten, one)] == [10, 1]
    assert one["Entries"] == [
        {"Id": "0", "ReceiptHandle": "receipt 10", "VisibilityTimeout": seconds}
    ]


def test_service_without_a_queue_has_no_source(ports: AwsPorts) -> None:
    with pytest.raises(KeyError, match="gateway"):
        ports.event_source("gateway")


def test_dead_letter_that_is_not_written_leaves_the_message(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [json_answer({"QueueUrl": aws_script.url}), error("AccessDenied")]

    with pytest.raises(Unavailable, match="AccessDenied"):
        ports.event_source("dispatcher").dead_letter(Delivery("body", "r", 1), reason="bad")

    assert not [call for call in aws_script.calls if "Delete" in call]


# --- the state machine ------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_stale_token_is_not_an_error(aws_script: ScriptedAws, ports: AwsPorts, code: str) -> None:
    aws_script.answers = [IDENTITY, error(code)]

    ports.workflow.succeed("token", {})
    ports.workflow.fail("token", error="RoundAborted", cause="")

    assert len(aws_script.calls) == 3


def test_answer_that_is_refused_otherwise_is_unavailable_and_hides_the_token(
    aws_script: ScriptedAws, ports: AwsPorts
) -> None:
    aws_script.answers = [IDENTITY, error("AccessDeniedException")]

    with pytest.raises(Unavailable, match="AccessDenied") as caught:
        ports.workflow.succeed("the-secret-token", {})

    assert "the-secret-token" not in str(caught.value)


def test_start_that_is_refused_is_unavailable(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [IDENTITY, error("StateMachineDoesNotExist")]

    with pytest.raises(Unavailable, match="StateMachineDoesNotExist"):
        ports.workflow.start(PROGRESS)


def test_account_is_asked_for_once(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [IDENTITY]

    arns = {ports.arn("sns", "t") for _ in range(3)}

    assert arns == {"arn:aws:sns:us-east-1:1:t"}
    assert len(aws_script.calls) == 1


# --- everything -------------------------------------------------------------------------------

CALLS: dict[str, Callable[[AwsPorts], object]] = {
    "get": lambda ports: ports.run_store.get(KEY),
    "query": lambda ports: ports.run_store.query("RUN#a"),
    "active": lambda ports: ports.run_store.active("run"),
    "write": lambda ports: ports.run_store.commit(Put(KEY, {})),
    "transaction": lambda ports: ports.run_store.commit(Put(KEY, {}), Put(OTHER, {})),
    "put": lambda ports: ports.model_store.put("key", b"data"),
    "read": lambda ports: ports.model_store.get("key"),
    "head": lambda ports: ports.model_store.head("key"),
    "assemble": lambda ports: ports.model_store.assemble("key", b"", ["part"]),
    "publish": lambda ports: ports.publish("rondo/test")(EVENT),
    "receive": lambda ports: ports.event_source("dispatcher").receive(wait_seconds=0),
    "start": lambda ports: ports.workflow.start(PROGRESS),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("answer", ["AccessDenied", "nonsense"])
def test_whatever_else_aws_answers_is_unavailable(
    aws_script: ScriptedAws, ports: AwsPorts, call: Callable[[AwsPorts], object], answer: str
) -> None:
    aws_script.answers = [
        xml_error("AccessDenied", 403) if answer == "AccessDenied" else Answer(403, b"<html>")
    ]

    with pytest.raises(Unavailable):
        call(ports)


def test_no_answer_at_all_is_unavailable(aws_script: ScriptedAws, ports: AwsPorts) -> None:
    aws_script.answers = [NO_ANSWER]

    with pytest.raises(Unavailable, match="RUN#a/META"):
        ports.run_store.get(KEY)

    assert len(aws_script.calls) == 3


def test_request_that_botocore_refuses_is_invalid(ports: AwsPorts) -> None:
    with pytest.raises(Invalid, match="get"):
        ports.model_store.get("")
