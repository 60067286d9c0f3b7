"""The bootstrap against both emulators: everything is there, right, and made once."""

import hashlib
import json
import secrets
import stat
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rondo_core.aws import AwsPorts, connect
from rondo_core.cloud_events import decode_event
from rondo_core.errors import Unavailable
from rondo_core.events import RunFinished, RunRequested
from rondo_core.keys import OPERATOR_KEY
from rondo_core.run_store import Key, Put
from rondo_core.settings import AwsSettings
from rondo_core.topology import MAX_RECEIVES, QUEUES, QueueSpec
from rondo_local import bootstrap as program
from rondo_local.bootstrap import Bootstrapped, bootstrap
from tests.emulators import Aws

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(aws: Aws) -> AwsSettings:
    return AwsSettings(
        aws_endpoint_url=aws.endpoint_url,
        aws_region=aws.region,
        rondo_prefix=f"b{secrets.token_hex(4)}",
    )


@pytest.fixture
def made(aws: Aws, settings: AwsSettings) -> Bootstrapped:
    return bootstrap(settings, session=aws.session)


@pytest.fixture
def ports(aws: Aws, settings: AwsSettings) -> AwsPorts:
    return connect(settings, aws.session)


def test_everything_has_its_name(
    made: Bootstrapped, ports: AwsPorts, settings: AwsSettings
) -> None:
    prefix = settings.rondo_prefix

    assert made.topic_arn == ports.arn("sns", f"{prefix}-events")
    assert made.state_machine_arn == ports.arn("states", f"stateMachine:{prefix}-run")
    assert (made.table, made.bucket) == (f"{prefix}-table", f"{prefix}-models")
    assert dict(made.queues) == {spec.service: f"{prefix}-{spec.service}" for spec in QUEUES}


@pytest.mark.usefixtures("made")
def test_a_page_of_any_site_may_put_a_file_at_a_link_and_do_nothing_else(ports: AwsPorts) -> None:
    found = ports.client("s3").get_bucket_cors(Bucket=ports.names.bucket)["CORSRules"]
    link = ports.upload_links().for_upload("batch/a", size=3, sha256=None, expires_seconds=60)
    wanted = {
        "Origin": "http://page.test",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "if-none-match",
    }
    asked = urllib.request.Request(link.url, method="OPTIONS", headers=wanted)  # noqa: S310
    with urllib.request.urlopen(asked) as reply:  # noqa: S310  (the emulator's own link)
        allowed = reply.headers["Access-Control-Allow-Origin"]

    assert [rule["AllowedMethods"] for rule in found] == [["PUT"]]
    assert allowed in {"*", "http://page.test"}


@pytest.mark.parametrize("spec", QUEUES, ids=lambda spec: spec.service)
@pytest.mark.usefixtures("made")
def test_queue_is_as_the_topology_says(ports: AwsPorts, spec: QueueSpec) -> None:
    attributes = queue_attributes(ports, ports.names.queue(spec.service))

    assert attributes["VisibilityTimeout"] == str(spec.visibility_seconds)
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": ports.arn("sqs", ports.names.dead_letters(spec.service)),
        "maxReceiveCount": MAX_RECEIVES,
    }
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Resource"] == ports.arn("sqs", ports.names.queue(spec.service))
    dead_letters = queue_attributes(ports, ports.names.dead_letters(spec.service))
    assert dead_letters["MessageRetentionPeriod"] == "1209600"


def test_each_queue_is_subscribed_once_however_often_it_runs(
    aws: Aws, made: Bootstrapped, ports: AwsPorts, settings: AwsSettings
) -> None:
    bootstrap(settings, session=aws.session)

    subscriptions = ports.client("sns").list_subscriptions_by_topic(TopicArn=made.topic_arn)
    endpoints = [one["Endpoint"] for one in subscriptions["Subscriptions"]]
    assert sorted(endpoints) == sorted(ports.arn("sqs", name) for name in made.queues.values())


@pytest.mark.usefixtures("made")
def test_bucket_keeps_versions(ports: AwsPorts) -> None:
    first = ports.model_store.put("key", b"data")
    ports.client("s3").put_object(Bucket=ports.names.bucket, Key="key", Body=b"overwritten")

    assert ports.model_store.get("key", version=first.version) == b"data"


def test_second_run_changes_nothing_and_makes_no_new_token(
    aws: Aws, made: Bootstrapped, ports: AwsPorts, settings: AwsSettings
) -> None:
    ports.run_store.commit(Put(Key("RUN#a", "META"), {"state": "RUNNING"}))
    ports.model_store.put("key", b"data")
    before = ports.run_store.get(OPERATOR_KEY)

    again = bootstrap(settings, session=aws.session)

    assert again.operator_token is None
    assert (again.topic_arn, again.state_machine_arn) == (made.topic_arn, made.state_machine_arn)
    assert ports.run_store.get(OPERATOR_KEY) == before
    assert ports.run_store.get(Key("RUN#a", "META")) is not None
    assert ports.model_store.get("key") == b"data"


def test_of_several_runs_at_once_one_hands_out_the_token(
    aws: Aws, ports: AwsPorts, settings: AwsSettings
) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: bootstrap(settings, session=aws.session), range(4)))

    (token,) = [run.operator_token for run in runs if run.operator_token is not None]
    assert stored_hash(ports) == hashlib.sha256(token.encode()).hexdigest()
    subscriptions = ports.client("sns").list_subscriptions_by_topic(TopicArn=runs[0].topic_arn)
    # One emulator may subscribe a queue twice when asked twice in the same moment; AWS does not.
    assert len({one["Endpoint"] for one in subscriptions["Subscriptions"]}) == len(QUEUES)


def test_token_is_long_and_only_its_hash_is_kept(made: Bootstrapped, ports: AwsPorts) -> None:
    token = made.operator_token

    assert token is not None
    assert len(token) >= 43
    assert stored_hash(ports) == hashlib.sha256(token.encode()).hexdigest()
    assert token not in repr(made)
    assert token not in str(ports.run_store.get(OPERATOR_KEY))


def test_chosen_token_is_used_but_an_older_one_stays(
    aws: Aws, ports: AwsPorts, settings: AwsSettings
) -> None:
    first = bootstrap(settings, operator_token="chosen", session=aws.session)
    second = bootstrap(settings, operator_token="other", session=aws.session)

    assert (first.operator_token, second.operator_token) == ("chosen", None)
    assert stored_hash(ports) == hashlib.sha256(b"chosen").hexdigest()


def test_state_machine_of_an_older_release_is_brought_up_to_date(
    aws: Aws, ports: AwsPorts, settings: AwsSettings
) -> None:
    client, name = ports.client("stepfunctions"), ports.names.state_machine
    old = '{"StartAt": "Old", "States": {"Old": {"Type": "Succeed"}}}'
    client.create_state_machine(name=name, definition=old, roleArn="arn:aws:iam::0:role/old")

    made = bootstrap(settings, session=aws.session)

    now = client.describe_state_machine(stateMachineArn=made.state_machine_arn)["definition"]
    assert "AskForRound" in now
    assert made.topic_arn in now
    assert "${TopicArn}" not in now


def test_filter_of_an_older_release_is_brought_up_to_date(
    aws: Aws, ports: AwsPorts, settings: AwsSettings
) -> None:
    sns, sqs = ports.client("sns"), ports.client("sqs")
    topic = sns.create_topic(Name=ports.names.topic)["TopicArn"]
    sqs.create_queue(QueueName=ports.names.queue("dispatcher"))
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=ports.arn("sqs", ports.names.queue("dispatcher")),
        Attributes={"FilterPolicy": '{"type": ["RunFinished"]}'},
    )

    bootstrap(settings, session=aws.session)

    asked = RunRequested(event_id="asked", run_id="run", occurred_at=AT, model="m")
    over = RunFinished(event_id="over", run_id="run", occurred_at=AT, state="FINISHED", reason="")
    ports.publish("rondo/test")(over, asked)
    deliveries = ports.event_source("dispatcher").receive(wait_seconds=5)
    assert [decode_event(delivery.body) for delivery in deliveries] == [asked]


@pytest.mark.usefixtures("made")
def test_another_prefix_is_another_world(aws: Aws, ports: AwsPorts, settings: AwsSettings) -> None:
    other = AwsSettings(
        aws_endpoint_url=settings.aws_endpoint_url, rondo_prefix=f"{settings.rondo_prefix}x"
    )
    bootstrap(other, session=aws.session)

    ports.run_store.commit(Put(Key("RUN#a", "META"), {}))
    ports.publish("rondo/test")(
        RunRequested(event_id="asked", run_id="run", occurred_at=AT, model="m")
    )

    others = connect(other, aws.session)
    assert others.run_store.get(Key("RUN#a", "META")) is None
    assert len(ports.event_source("dispatcher").receive(wait_seconds=5)) == 1
    assert not others.event_source("dispatcher").receive(wait_seconds=0)


def test_program_prints_what_is_there_and_hands_out_the_token_once(
    aws: Aws,
    settings: AwsSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_environment(monkeypatch, aws, settings)

    program.main()
    first = json.loads(capsys.readouterr().out)
    program.main()
    second = json.loads(capsys.readouterr().out)

    assert first.pop("operator_token")
    assert first == second
    assert second["queues"]["dispatcher"] == f"{settings.rondo_prefix}-dispatcher"


def test_program_writes_the_token_for_its_owner_only(
    aws: Aws,
    ports: AwsPorts,
    settings: AwsSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o644)
    set_environment(monkeypatch, aws, settings, OPERATOR_TOKEN_FILE=str(file))

    program.main()

    token = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stored_hash(ports) == hashlib.sha256(token.encode()).hexdigest()
    assert token not in capsys.readouterr().out


def test_program_does_not_print_a_token_that_it_was_given(
    aws: Aws,
    ports: AwsPorts,
    settings: AwsSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_environment(monkeypatch, aws, settings, OPERATOR_TOKEN="given-by-the-deployment")

    program.main()

    assert "given-by-the-deployment" not in capsys.readouterr().out
    assert stored_hash(ports) == hashlib.sha256(b"given-by-the-deployment").hexdigest()


def test_without_an_emulator_it_is_unavailable() -> None:
    nowhere = AwsSettings(aws_endpoint_url="http://127.0.0.1:9", rondo_prefix="x")

    with pytest.raises(Unavailable, match="bootstrap"):
        bootstrap(nowhere)


def queue_attributes(ports: AwsPorts, queue: str) -> dict[str, Any]:
    sqs = ports.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    attributes: dict[str, Any] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
        "Attributes"
    ]
    return attributes


def stored_hash(ports: AwsPorts) -> object:
    item = ports.run_store.get(OPERATOR_KEY)
    assert item is not None
    return item["token_sha256"]


def set_environment(
    monkeypatch: pytest.MonkeyPatch, aws: Aws, settings: AwsSettings, **variables: str
) -> None:
    for name, value in (aws.environment | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RONDO_PREFIX", settings.rondo_prefix)
