"""Batch jobs on the page, without a browser."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rondo_inference.batch import results
from rondo_inference.batch.wire import NewJob
from rondo_inference.domain.batch_job import result_folder
from rondo_inference.page.job_routes import LISTED
from tests.unit.rondo_inference.asked import Reply, Service, running
from tests.unit.rondo_inference.batch_world import BatchWorld
from tests.unit.rondo_inference.exported import prices_export, sample_folder
from tests.unit.rondo_inference.test_inference_page import EVIL, Document, only_our_own, send

PAGE = "/page/models/prices"
JOBS = f"{PAGE}/jobs"
ROWS = b"rooms,town\n1,Aa\nmany,Aa\n2,Bonn\n"


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld()


@pytest.fixture
def service(world: BatchWorld) -> Iterator[Service]:
    with running(orders=world.orders) as found:
        found.serve(world.export)
        yield found


def made(service: Service, world: BatchWorld, rows: bytes = ROWS, name: str = "rows.csv") -> str:
    """Send a file as a form, and return the job's id."""
    reply = send(service, JOBS, {}, (name, rows))
    assert (reply.status, reply.headers["location"]) == (303, JOBS)
    job_id = world.orders.list("prices").jobs[0].job_id
    world.hints.plan(job_id)
    return job_id


def listed(service: Service, target: str = JOBS) -> Document:
    reply = service.ask("GET", target)
    assert reply.status == 200
    return Document(reply)


def as_json(service: Service, body: object, target: str = JOBS) -> Reply:
    data = json.dumps(body).encode()
    return service.ask("POST", target, data, content_type="application/json")


# --- from the file to the output ------------------------------------------------------------------


def test_a_job_tells_the_columns_that_were_not_asked(service: Service, world: BatchWorld) -> None:
    made(service, world, b"<b>id,rooms,town\n7,1,Aa\n", name="a.csv")
    world.step()
    moving = listed(service)
    world.work()
    made(service, world, name="b.csv")

    text = "Not asked, since the model has no such column: <b>id."
    assert text in moving.text
    assert listed(service).text.count(text) == 1


def test_of_a_job_with_many_columns_that_were_not_asked_few_are_named(
    service: Service, world: BatchWorld
) -> None:
    others = ",".join(f"c{at}" for at in range(300))
    world.limits = replace(world.limits, record_bytes=10**5)
    world.worker = world.new_worker()
    made(service, world, f"rooms,town,{others}\n".encode() + b"1,Aa" + b"," * 300 + b"\n")
    world.work()

    assert re.search(r"c49, [^.]*c\d\d, 2\d\d more\.", listed(service).text)


def test_a_file_becomes_a_job_whose_output_and_refused_rows_are_downloaded(
    service: Service, world: BatchWorld
) -> None:
    job_id = made(service, world, name="my rows.csv")
    waiting = listed(service).text
    world.work()
    done = listed(service)
    output = service.ask("GET", f"{JOBS}/{job_id}/output")
    refused = service.ask("GET", f"{JOBS}/{job_id}/refused.csv")

    assert "my_rows.csv waits for a worker" in waiting
    assert "my_rows.csv done 3 rows, 1 refused version 1 · made 2026-" in done.text
    assert output.status == 303
    assert world.links.get(output.headers["location"])[1] == (
        b"price,error\n2.0,\n,column 'rooms': 'many' is not a number\n13.0,\n"
    )
    assert refused.body == b"row,file,column,rule\n2,,rooms,'many' is not a number\n"
    assert refused.headers["content-disposition"].endswith(f'"prices-{job_id}-refused.csv"')


def test_downloaded_refused_rows_have_no_formulas(service: Service, world: BatchWorld) -> None:
    job_id = made(service, world)
    world.work()
    world.folders.remove(result_folder(job_id))
    key = f"{result_folder(job_id)}failures.jsonl"
    world.store.put(key, b'{"row":7,"file":"=1+1","column":"@a","rule":"-1 is below 0"}\n')

    refused = service.ask("GET", f"{JOBS}/{job_id}/refused.csv")

    assert refused.body == b"row,file,column,rule\n8,'=1+1,'@a,'-1 is below 0\n"


def test_a_script_gets_links_and_starts_the_job(service: Service, world: BatchWorld) -> None:
    reply = as_json(service, {"files": [{"name": "rows.csv", "size": len(ROWS)}]})
    (link,) = reply.json["uploads"]
    assert world.links.put(link["url"], link["headers"], ROWS) == 200
    before = listed(service).text
    started = service.ask("POST", f"{JOBS}/{reply.json['job_id']}/start")

    assert reply.status == 201
    assert "rows.csv waits for its file" in before
    assert (started.status, started.headers["location"]) == (303, JOBS)
    assert "rows.csv waits for a worker" in listed(service).text


def test_the_browser_may_send_to_the_store_and_nowhere_else(service: Service) -> None:
    policy = service.ask("GET", PAGE).headers["content-security-policy"]

    assert "connect-src 'self' http://store.test; form-action 'self';" in policy


def test_how_far_a_job_is_stands_on_a_bar(service: Service, world: BatchWorld) -> None:
    made(service, world, b"rooms,town\n" + b"1,Aa\n" * 9)
    unknown = listed(service).all("progress")
    for _ in range(2):
        world.step()

    (bar,) = listed(service).all("progress")

    assert unknown == [{"aria-label": "Progress of rows.csv"}]
    assert (bar["max"], bar["value"]) == ("100", "33.0")
    assert "33.0 % · 3 rows, 1 of 3 parts" in listed(service).text


def test_only_a_page_of_which_something_moves_is_fetched_again(
    service: Service, world: BatchWorld
) -> None:
    made(service, world)
    moving = listed(service)
    world.work()
    still = listed(service)

    assert [one.get("http-equiv") for one in moving.all("meta")].count("refresh") == 1
    assert [one.get("http-equiv") for one in still.all("meta")].count("refresh") == 0
    assert [["data-moves" in one for one in page.all("div")] for page in (moving, still)] == [
        [True, *[False] * 2],
        [False] * 3,
    ]


def test_a_job_that_fails_says_why(service: Service, world: BatchWorld) -> None:
    made(service, world, b"town\nAa\n")
    world.work()

    assert "failed the CSV's header lacks column 'rooms'" in listed(service).text


def test_a_job_is_made_for_the_version_that_was_chosen(service: Service, world: BatchWorld) -> None:
    service.serve(prices_export(2, label="candidate"))

    send(service, f"{JOBS}?version=2", {}, ("rows.csv", ROWS))

    assert [job.version for job in world.orders.list("prices").jobs] == [2]


# --- what is done with a job ----------------------------------------------------------------------


def test_a_job_is_cancelled_goes_on_and_is_deleted(service: Service, world: BatchWorld) -> None:
    job_id = made(service, world)

    def act(name: str) -> str:
        (one,) = [
            form for form in listed(service).all("form") if (form["action"] or "").endswith(name)
        ]
        reply = service.ask("POST", one["action"] or "")
        assert reply.status == 303
        return listed(service).text

    assert "rows.csv cancelled" in act("cancel")
    assert "rows.csv waits for a worker" in act("start")
    act("cancel")
    assert "No job was made yet." in act("delete")
    assert not [key for key in world.store.keys("batch/") if job_id in key]


def test_a_job_that_moves_is_not_deleted(service: Service, world: BatchWorld) -> None:
    job_id = made(service, world)

    reply = service.ask("POST", f"{JOBS}/{job_id}/delete")

    assert reply.status == 409
    assert f"job {job_id} is SUBMITTED: cancel it first" in Document(reply).text


def test_past_jobs_are_paged_the_newest_first(service: Service, world: BatchWorld) -> None:
    for at in range(LISTED + 2):
        made(service, world, name=f"file{at:02}.csv")
        world.clock.advance(1)

    newest = listed(service)
    (older,) = [one["href"] for one in newest.all("a") if "before=" in (one["href"] or "")]
    oldest = listed(service, older or "")

    assert newest.text.index("file11.csv") < newest.text.index("file02.csv")
    assert "file01.csv" not in newest.text
    assert oldest.text.index("file01.csv") < oldest.text.index("file00.csv")
    assert "file02.csv" not in oldest.text
    assert {"href": JOBS} in oldest.all("a")


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["", "/x/start", "/x/cancel", "/x/delete"])
def test_a_form_of_another_site_is_refused(service: Service, action: str) -> None:
    reply = service.ask("POST", f"{JOBS}{action}", sec_fetch_site="cross-site")

    assert reply.status == 400
    assert "a form of the page comes from the page itself, not from cross-site" in (
        Document(reply).text
    )


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://test", 404),
        ("http://evil.test", 400),
        ("null", 400),
        ("https://test:81", 400),
        ("http://[", 400),
    ],
)
def test_over_plain_http_the_origin_tells_the_site(
    service: Service, origin: str, status: int
) -> None:
    assert service.ask("POST", f"{JOBS}/x/delete", origin=origin).status == status


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "choose one file"),
        ([("a.csv", ROWS), ("b.csv", ROWS)], "choose one file"),
        ([("rows.xlsx", ROWS)], "'rows.xlsx' ends with none of .csv, .jsonl, .ndjson, .npy, .png"),
    ],
)
def test_a_form_that_makes_no_job_says_why(
    service: Service, world: BatchWorld, files: list[tuple[str, bytes]], text: str
) -> None:
    reply = send(service, JOBS, {}, *files)

    assert reply.status == 400
    assert text in Document(reply).text
    assert world.orders.list("prices").jobs == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"files": []}, "no file was chosen"),
        ({"files": [{"name": "<b>.csv", "size": 1}]}, "these are no files of a job"),
        ({}, "these are no files of a job"),
    ],
)
def test_a_script_is_told_in_json_what_is_wrong(service: Service, body: object, text: str) -> None:
    reply = as_json(service, body)

    assert reply.status == 400
    assert text in reply.json["error"]


def test_a_script_may_send_as_many_files_as_every_other_caller(world: BatchWorld) -> None:
    files = [{"name": f"{at}.png", "size": 1} for at in range(1001)]
    with running(orders=world.orders, max_body_bytes=100_000) as service:
        service.serve(world.export)
        most, more = as_json(service, {"files": files[:1000]}), as_json(service, {"files": files})

    assert (most.status, more.status) == (201, 400)
    assert "length <= 1000" in more.json["error"]


def test_what_is_not_there_is_a_page_that_says_so(service: Service, world: BatchWorld) -> None:
    job_id = made(service, world, b"rooms,town\n1,Aa\n")

    early = service.ask("GET", f"{JOBS}/{job_id}/output")
    world.work()

    assert (early.status, "it has no output" in Document(early).text) == (400, True)
    assert service.ask("GET", f"{JOBS}/{job_id}/refused.csv").status == 404
    assert service.ask("GET", f"{JOBS}/nothing/output").status == 404
    assert service.ask("GET", "/page/models/cats/jobs").status == 404


def test_a_very_long_list_of_refused_rows_is_given_as_it_lies_in_the_store(
    service: Service, world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "LONGEST_LIST", 10)
    job_id = made(service, world)
    world.work()

    reply = service.ask("GET", f"{JOBS}/{job_id}/refused.csv")

    assert reply.status == 303
    assert world.links.get(reply.headers["location"])[1].startswith(b'{"row":1')


def test_what_others_call_their_files_is_text(service: Service, world: BatchWorld) -> None:
    wanted = NewJob(
        content_type="text/csv", input=f"s3://models/batch/inputs/{EVIL}"
    )  # its last part is the name
    world.orders.make(world.export.alias, wanted)

    page = listed(service)

    assert "script> waits for a worker" in page.text
    assert only_our_own(page)


# --- who may, and where ---------------------------------------------------------------------------


def test_a_key_for_another_model_sees_no_jobs(world: BatchWorld, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ours", "theirs")}
    keys = [
        {"sha256": digests["ours"], "models": ["prices"]},
        {"sha256": digests["theirs"], "models": ["shapes"]},
    ]
    file.write_text(json.dumps(keys))

    def status(service: Service, key: str, method: str = "GET", target: str = JOBS) -> int:
        word = base64.b64encode(f"me:{key}".encode()).decode()
        return service.ask(method, target, authorization=f"Basic {word}").status

    with running(orders=world.orders, api_keys_file=str(file)) as service:
        service.serve(world.export)

        assert service.ask("GET", JOBS).status == 401
        assert status(service, "ours") == 200
        assert status(service, "theirs") == 403
        assert status(service, "theirs", "POST") == 403
        assert status(service, "theirs", "POST", f"{JOBS}/x/delete") == 403


def test_a_server_of_a_folder_says_that_jobs_need_the_store(tmp_path: Path) -> None:
    with running(models=sample_folder(tmp_path)) as service:
        page = Document(service.ask("GET", PAGE))
        jobs = service.ask("GET", JOBS)

    assert "This server serves a folder and has no store" in page.text
    assert jobs.status == 404


def test_a_model_page_needs_no_answer_of_the_store(service: Service, world: BatchWorld) -> None:
    page = Document(service.ask("GET", PAGE))

    assert {"href": JOBS} in page.all("a")
    assert world.orders.list("prices").jobs == []
