"""The HTTP routes of batch jobs, and SageMaker's asynchronous contract (AS-1 to AS-3)."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from rondo_core.rows import from_item
from rondo_core.run_store import Update
from rondo_inference.assembly import assembled
from rondo_inference.contracts.batch_jobs import LARGEST_BODY, LARGEST_PAYLOAD
from rondo_inference.domain.batch_job import BatchJob, job_key
from rondo_inference.registry.aliases import StoreAliases
from rondo_inference.registry.loader import load_version
from rondo_inference.settings import Settings
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.batch_world import BatchWorld
from tests.unit.rondo_inference.exported import prices_export

ROWS = b"rooms,town\n1,Aa\n2,Bonn\n"
ANSWERS = b"price,error\n2.0,\n13.0,\n"
ASYNC = "/endpoints/prices/async-invocations"
HEADER = "x-amzn-sagemaker-"


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld()


@contextmanager
def serving(world: BatchWorld) -> Iterator[Service]:
    """Serve the model and the jobs of a world."""

    def load(*arguments: object, **openers: object) -> object:
        return load_version(*arguments, store=world.store, **openers)  # type: ignore[arg-type]

    settings = Settings(max_body_bytes=200_000)
    with assembled(
        settings,
        load,  # type: ignore[arg-type]  # as `load_version`
        clock=world.clock,
        cpus=2,
        orders=world.orders,
    ) as parts:
        found = Service(parts, StoreAliases(world.rows), world.clock, world.rows, world.store)
        world.export.promote(world.rows)
        found.watcher.scan()
        yield found


@pytest.fixture
def service(world: BatchWorld) -> Iterator[Service]:
    with serving(world) as found:
        yield found


def invoke(service: Service, body: bytes = b"", **headers: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    named = {f"{HEADER}{name.replace('_', '-')}": value for name, value in headers.items()}
    return service.ask("POST", ASYNC, body, **{k.replace("-", "_"): v for k, v in named.items()})


def finish(world: BatchWorld, job_id: str) -> None:
    world.hints.plan(job_id)
    world.work()


def only_job(world: BatchWorld) -> BatchJob:
    (view,) = world.orders.list("prices").jobs
    return world.job(view.job_id)


def test_a_job_is_made_sent_started_watched_and_deleted_over_http(
    service: Service, world: BatchWorld
) -> None:
    body = {"content_type": "text/csv", "files": [{"name": "in.csv", "size": len(ROWS)}]}
    made = service.ask("POST", "/batch/prices/jobs", body)
    job = made.json
    (link,) = job["uploads"]
    path = f"/batch/prices/jobs/{job['job_id']}"

    assert (made.status, job["state"], job["version"], job["run"]) == (
        201,
        "WAITING",
        1,
        "run-a/10",
    )
    assert job["input"].endswith(f"batch/inputs/{job['job_id']}/in.csv")
    assert world.links.put(link["url"], link["headers"], ROWS) == 200
    assert service.ask("POST", f"{path}/start").json["state"] == "SUBMITTED"
    finish(world, job["job_id"])
    shown = service.ask("GET", path).json
    assert (shown["state"], shown["progress"], shown["records"]) == ("COMPLETED", 1.0, 2)
    assert world.links.get(shown["output"]["url"]) == (200, ANSWERS)
    assert shown["output"]["size"] == len(ANSWERS)
    assert [one["job_id"] for one in service.ask("GET", "/batch/prices/jobs").json["jobs"]] == [
        job["job_id"]
    ]
    assert service.ask("POST", f"{path}/cancel").status == 409
    assert service.ask("DELETE", path).status == 204
    assert service.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not a new job"),
        (b"\xff", "not a new job"),
        (b'{"content_type": "text/csv", "file": []}', "unknown field `file`"),
        (b'{"content_type": "text/csv", "files": [{"size": 5368709121}]}', "<= 5368709120"),
        (b'{"content_type": "text/csv", "files": [{"name": "../x", "size": 1}]}', "matching regex"),
        (b'{"content_type": "a/b", "files": [{"size": 1}]}', "is not read by batch jobs"),
    ],
)
def test_a_body_that_is_no_job_is_refused(service: Service, body: bytes, complaint: str) -> None:
    reply = service.ask("POST", "/batch/prices/jobs", body)

    assert reply.status == 400
    assert complaint in reply.json["error"]


def test_a_job_of_an_unknown_model_version_or_label_is_not_found(service: Service) -> None:
    body = {"content_type": "text/csv", "files": [{"size": 1}]}

    assert service.ask("POST", "/batch/nobody/jobs", body).status == 404
    assert service.ask("POST", "/batch/prices/jobs", body | {"version": 9}).status == 404
    assert service.ask("POST", "/batch/prices/jobs", body | {"label": "mine"}).status == 404
    assert service.ask("GET", "/batch/prices/jobs/none").status == 404
    assert service.ask("POST", "/endpoints/nobody/async-invocations", b"x").status == 404


def test_a_folder_has_no_batch_jobs() -> None:
    with running() as alone:
        assert alone.ask("GET", "/batch/prices/jobs").status == 404


def test_as_1_answers_202_with_the_id_and_both_locations(
    service: Service, world: BatchWorld
) -> None:
    world.store.put("batch/inputs/mine/in.csv", ROWS)

    reply = invoke(
        service,
        inputlocation="s3://models/batch/inputs/mine/in.csv",
        content_type="text/csv",
        accept="text/csv",
        inference_id="mine-1",
    )

    assert (reply.status, reply.json) == (202, {"InferenceId": "mine-1"})
    job = only_job(world)
    assert reply.headers[f"{HEADER}outputlocation"] == f"s3://models/{job.output}"
    assert reply.headers[f"{HEADER}failurelocation"] == f"s3://models/{job.failures}"
    finish(world, job.job_id)
    assert world.store.get(job.output) == ANSWERS


def test_as_1_path_and_name_of_the_output_are_the_callers(
    service: Service, world: BatchWorld
) -> None:
    invoke(service, ROWS, content_type="text/csv", s3outputpathextension="a/b", filename="mine.out")

    assert only_job(world).output.endswith("/output/a/b/mine.out")


@pytest.mark.parametrize(
    ("headers", "complaint"),
    [
        ({"s3outputpathextension": "../x"}, "is no path of plain names"),
        ({"filename": "a/b"}, "is no plain name"),
        ({"inference_id": "x" * 65}, "longer than 64"),
        ({"requestttlseconds": "59"}, "not between 60 and 21600"),
        ({"requestttlseconds": "21601"}, "not between 60 and 21600"),
        ({"invocationtimeoutseconds": "0"}, "not between 1 and 3600"),
        ({"invocationtimeoutseconds": "soon"}, "not between 1 and 3600"),
        ({"inputlocation": "s3://models/batch/inputs/a"}, "either InputLocation or a body"),
    ],
)
def test_as_1_headers_out_of_range_are_refused(
    service: Service, world: BatchWorld, headers: dict[str, str], complaint: str
) -> None:
    reply = invoke(service, ROWS, content_type="text/csv", **headers)

    assert reply.status == 400
    assert complaint in reply.json["error"]
    assert world.orders.list("prices").jobs == []


@pytest.mark.parametrize(
    ("headers", "planned", "seconds", "reason"),
    [
        ({}, False, 21601, "nobody began with it within 21600 s"),
        ({"requestttlseconds": "60"}, False, 61, "nobody began with it within 60 s"),
        ({}, True, 901, "it was not over within 900 s"),
        ({"invocationtimeoutseconds": "5"}, True, 6, "it was not over within 5 s"),
    ],
)
def test_as_1_a_job_that_is_overdue_fails(
    service: Service,
    world: BatchWorld,
    headers: dict[str, str],
    planned: bool,  # noqa: FBT001
    seconds: int,
    reason: str,
) -> None:
    invoke(service, ROWS, content_type="text/csv", **{"invocationtimeoutseconds": "3600"} | headers
           if not planned else headers)  # fmt: skip
    job = only_job(world)
    if planned:
        world.hints.plan(job.job_id)
        world.step()
    else:  # the timeout counts too, and later
        world.rows.commit(Update(job_key(job.job_id), remove=("timeout_seconds",)))

    world.sweep(seconds - 2)
    assert world.job(job.job_id).state == ("RUNNING" if planned else "SUBMITTED")
    world.sweep(2)

    assert (world.job(job.job_id).state, world.job(job.job_id).reason) == ("FAILED", reason)


def test_as_1_a_worker_does_not_begin_with_a_job_that_is_overdue(
    service: Service, world: BatchWorld
) -> None:
    invoke(service, ROWS, content_type="text/csv", requestttlseconds="60")
    world.clock.advance(61)
    world.hints.plan(only_job(world).job_id)

    assert world.step() == "plan overdue"
    assert only_job(world).state == "FAILED"


def test_as_2_a_body_is_taken_up_to_its_bound(service: Service, world: BatchWorld) -> None:
    largest = b"rooms,town\n" + b"1,Aa\n" * ((LARGEST_BODY - 11) // 5)
    filled = largest + b" " * (LARGEST_BODY - len(largest))

    assert invoke(service, filled + b" ", content_type="text/csv").status == 413
    assert invoke(service, filled, content_type="text/csv").status == 202
    assert invoke(service, b"").status == 400
    assert world.store.get(only_job(world).input) == filled


def test_as_2_an_object_is_taken_up_to_a_gibibyte(
    service: Service, world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, head = "batch/inputs/mine/large.csv", world.store.head
    info = world.store.put(key, ROWS)
    sizes = iter([LARGEST_PAYLOAD, LARGEST_PAYLOAD + 1])
    monkeypatch.setattr(
        world.store,
        "head",
        lambda asked: replace(info, size=next(sizes)) if asked == key else head(asked),
    )
    location = f"s3://models/{key}"

    assert invoke(service, inputlocation=location, content_type="text/csv").status == 202
    refused = invoke(service, inputlocation=location, content_type="text/csv")
    assert refused.status == 400
    assert "at most 1073741824" in refused.json["error"]


def test_as_2_the_model_sees_what_an_ordinary_invocation_would_show_it(
    service: Service, world: BatchWorld
) -> None:
    at_once = service.ask("POST", "/invocations", ROWS, content_type="text/csv").body
    invoke(service, ROWS, content_type="text/csv")
    job = only_job(world)
    finish(world, job.job_id)

    later = world.store.get(job.output)

    assert [line.rpartition(b",")[0] for line in later.splitlines()] == at_once.splitlines()


def test_as_3_the_message_of_a_completed_job_has_sagemakers_keys(
    service: Service, world: BatchWorld
) -> None:
    invoke(service, ROWS, content_type="text/csv", inference_id="mine-3")
    job = only_job(world)
    world.clock.advance(1.5)
    finish(world, job.job_id)

    (event,) = world.ended()

    assert json.loads(msgspec.json.encode(event.result)) == {
        "awsRegion": "eu-central-1",
        "eventTime": "2026-01-01T00:00:01.500000Z",
        "receivedTime": "2026-01-01T00:00:00Z",
        "invocationStatus": "Completed",
        "requestParameters": {
            "contentType": "text/csv",
            "endpointName": "prices",
            "inputLocation": f"s3://models/{job.input}",
        },
        "responseParameters": {
            "contentType": "text/csv",
            "outputLocation": f"s3://models/{job.output}",
        },
        "inferenceId": "mine-3",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    assert (event.records, event.failed_records) == (2, 0)


def test_as_3_the_message_of_a_failed_job_says_why_instead(
    service: Service, world: BatchWorld
) -> None:
    invoke(service, b"a,b\n1,2\n", content_type="text/csv")
    finish(world, only_job(world).job_id)

    found = json.loads(msgspec.json.encode(world.ended()[0].result))

    assert found["invocationStatus"] == "Failed"
    assert "lacks column 'rooms', 'town'" in found["failureReason"]
    assert "responseParameters" not in found


def test_the_row_of_a_job_is_read_back_as_it_was_written(world: BatchWorld) -> None:
    job_id = world.make(ROWS)

    item = world.rows.get(job_key(job_id))

    assert item is not None
    job = from_item(item, BatchJob)
    assert job.alias == prices_export(1).alias
    assert job.overdue(job.created_at + timedelta(days=9)) is None


def test_a_key_is_for_the_batch_jobs_of_its_models_only(world: BatchWorld, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    digest = hashlib.sha256(b"mine").hexdigest()
    keys.write_text(json.dumps([{"sha256": digest, "models": ["prices"]}]))

    def load(*arguments: object, **openers: object) -> object:
        return load_version(*arguments, store=world.store, **openers)  # type: ignore[arg-type]

    with assembled(
        Settings(api_keys_file=str(keys)),
        load,  # type: ignore[arg-type]  # as `load_version`
        clock=world.clock,
        cpus=2,
        orders=world.orders,
    ) as parts:
        service = Service(parts, StoreAliases(world.rows), world.clock, world.rows, world.store)
        paths = ("/batch/prices/jobs", "/batch/others/jobs")
        assert [service.ask("GET", path).status for path in paths] == [401, 401]
        found = [service.ask("GET", path, authorization="Bearer mine").status for path in paths]
        assert found == [200, 403]
        other = "/endpoints/others/async-invocations"
        assert service.ask("POST", other, ROWS, authorization="Bearer mine").status == 403
