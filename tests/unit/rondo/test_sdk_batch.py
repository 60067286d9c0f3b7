"""`rondo predict --batch`: jobs, how they go on, and what is refused."""

import hashlib
import json
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from rondo.commands.seams import Seams
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_batch import OUTPUT, ROWS, FakeBatch
from tests.unit.rondo.fake_operator_api import Command


@pytest.fixture
def batch() -> FakeBatch:
    return FakeBatch()


@pytest.fixture
def predict(command: Command, batch: FakeBatch, clock: ManualClock, tmp_path: Path) -> Command:
    (tmp_path / "in.csv").write_bytes(ROWS)
    seams = Seams(transport=batch, clock=clock, environ={})

    def run(*arguments: str, expect: int = 0) -> Result:
        return command("predict", *arguments, expect=expect, given=seams)

    return run


def test_a_file_is_sent_scored_and_fetched(
    predict: Command, batch: FakeBatch, tmp_path: Path
) -> None:
    result = predict("--batch", "in.csv", "out.csv", "prices")

    assert (tmp_path / "out.csv").read_bytes() == OUTPUT
    assert "2 records to out.csv by version 3 of prices" in result.output
    assert batch.stored["/job1/in.csv"] == ROWS
    assert batch.jobs["job1"]["wanted"] == {
        "content_type": "text/csv",
        "accept": "text/csv",
        "files": [
            {"name": "in.csv", "size": len(ROWS), "sha256": hashlib.sha256(ROWS).hexdigest()}
        ],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_how_many_rows_are_done_stands_beside_the_bar(predict: Command) -> None:
    result = predict("--batch", "in.csv", "out.csv", "prices")

    assert "in.csv: completed, 2 rows" in result.stderr


def test_the_only_model_need_not_be_named(predict: Command, batch: FakeBatch) -> None:
    result = predict("--batch", "in.csv", "out.jsonl", "--json")

    last = json.loads(result.stdout.splitlines()[-1])
    assert last == {
        "job_id": "job1",
        "model": "prices",
        "version": 3,
        "records": 2,
        "failed_records": 0,
        "warnings": [],
    }
    batch.models = ("a", "b")
    assert (
        "name the model; served are a, b"
        in predict("--batch", "in.csv", "out.csv", expect=1).output
    )
    batch.models = ()
    assert "served are none" in predict("--batch", "in.csv", "out.csv", expect=1).output


def test_records_that_do_not_fit_are_a_file_of_their_own(
    predict: Command, batch: FakeBatch, tmp_path: Path
) -> None:
    batch.failed = 1

    result = predict("--batch", "in.csv", "out.csv", "prices")

    assert (
        "1 did not fit: out.csv says why in their lines, out.csv.failures.jsonl lists"
        in result.output
    )
    assert (tmp_path / "out.csv.failures.jsonl").read_bytes() == b'{"row": 1}\n'


IGNORED = "is no column of the model, and ignored"


def test_columns_that_were_ignored_are_told_few_of_them(predict: Command, batch: FakeBatch) -> None:
    names = ["id", "\x1b[2J", "", "d", "e", "f"]
    batch.warnings = [{"column": name, "rule": IGNORED} for name in names] + [{"more": 40}]

    result = predict("--batch", "in.csv", "out.csv", "prices")

    assert result.stdout.splitlines()[1:] == [
        f"column 'id': {IGNORED}",
        f"column '\\x1b[2J': {IGNORED}",
        f"column '': {IGNORED}",
        f"column 'd': {IGNORED}",
        f"column 'e': {IGNORED}",
        "41 more",
    ]


def test_columns_that_were_ignored_are_told_to_programs_as_the_server_tells_them(
    predict: Command, batch: FakeBatch
) -> None:
    told: list[dict[str, object]] = [{"column": "", "rule": IGNORED}, {"more": 2}]

    without = predict("--batch", "in.csv", "a.csv", "prices", "--json")
    batch.warnings = told
    found = predict("--batch", "in.csv", "b.csv", "prices", "--json")

    assert [json.loads(one.stdout)["warnings"] for one in (without, found)] == [[], told]


def test_a_folder_of_pictures_is_sent_file_by_file(
    predict: Command, batch: FakeBatch, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("b.png", "a 1.JPG", "_c.jpeg", "notes.txt"):
        (tmp_path / "pictures" / name).write_bytes(name.encode())

    predict("--batch", "pictures", "out.csv", "prices")

    wanted = batch.jobs["job1"]["wanted"]
    assert wanted["content_type"] == "image/png"
    assert [file["name"] for file in wanted["files"]] == ["000000_c.jpeg", "a-1.JPG", "b.png"]
    assert batch.stored["/job1/a-1.JPG"] == b"a 1.JPG"


@pytest.mark.parametrize("dies_at", ["GET /batch/prices/jobs/job1", "GET /job1/output"])
def test_an_interrupted_command_goes_on_with_its_job(
    predict: Command, batch: FakeBatch, tmp_path: Path, dies_at: str
) -> None:
    batch.dies_at = dies_at
    predict("--batch", "in.csv", "out.csv", "prices", expect=1)
    batch.dies_at = ""

    predict("--batch", "in.csv", "out.csv", "prices")

    assert sorted(batch.jobs) == ["job1"]
    assert (tmp_path / "out.csv").read_bytes() == OUTPUT


@pytest.mark.parametrize(
    "spoil", ["other bytes", "gone", "not a note", "failed", "other model", "cancelled", "waiting"]
)
def test_a_note_of_another_job_is_not_followed(
    predict: Command, batch: FakeBatch, tmp_path: Path, spoil: str
) -> None:
    batch.dies_at = "GET /batch/prices/jobs/job1"
    predict("--batch", "in.csv", "out.csv", "prices", expect=1)
    batch.dies_at, note = "", tmp_path / ".out.csv.rondo-job"
    match spoil:
        case "other bytes":
            (tmp_path / "in.csv").write_bytes(ROWS + b"3,Aa\n")
        case "gone":
            batch.jobs["job9"] = batch.jobs.pop("job1")
        case "not a note":
            note.write_bytes(note.read_bytes()[:-5])
        case "other model":
            note.write_bytes(note.read_bytes().replace(b"prices", b"others"))
        case state:
            batch.jobs["job1"]["state"] = state.upper()

    predict("--batch", "in.csv", "out.csv", "prices")

    assert len(batch.jobs) == (1 if spoil == "cancelled" else 2)
    assert batch.starts[-1] == ("job1" if spoil == "cancelled" else "job2")


@pytest.mark.parametrize(
    ("arguments", "complaint", "expect"),
    [
        (("--batch", "in.txt", "out.csv", "prices"), ".txt is not one of .csv, .jsonl", 1),
        (("--batch", "in.csv", "out.npy", "prices"), "the output is .csv or .jsonl", 1),
        (("--batch", "empty", "out.csv", "prices"), "has no file that ends in .png", 1),
        (("--batch", "none.csv", "out.csv", "prices"), "does not exist", 2),
        (("--batch", "in.csv", "out.csv", "prices", "in.csv"), "give either", 2),
        (("prices",), "give either", 2),
    ],
)
def test_what_could_never_work_is_refused(
    predict: Command,
    batch: FakeBatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    complaint: str,
    expect: int,
) -> None:
    (tmp_path / "in.txt").write_bytes(ROWS)
    (tmp_path / "empty").mkdir()

    assert complaint in predict(*arguments, expect=expect).output
    assert batch.jobs == {}


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
@pytest.mark.parametrize("name", ["in.csv", "./in.csv", "link.csv", "hard.csv"])
def test_the_input_is_never_overwritten(
    predict: Command, batch: FakeBatch, tmp_path: Path, name: str, flags: tuple[str, ...]
) -> None:
    (tmp_path / "link.csv").symlink_to("in.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "in.csv")

    result = predict("--batch", "in.csv", name, "prices", *flags, expect=1)

    assert f"{Path(name)} is the input: name another file for the output" in result.output
    assert (tmp_path / "in.csv").read_bytes() == ROWS
    assert batch.jobs == {}


@pytest.mark.parametrize("name", ["out.csv", "out.csv.failures.jsonl"])
def test_an_output_that_exists_is_overwritten_only_if_it_is_said(
    predict: Command, batch: FakeBatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"mine")

    result = predict("--batch", "in.csv", "out.csv", "prices", expect=1)
    kept = (tmp_path / name).read_bytes(), len(batch.jobs)
    predict("--batch", "in.csv", "out.csv", "prices", "--overwrite")

    assert f"{name} exists: name another file, remove it, or say --overwrite" in result.output
    assert kept == (b"mine", 0)
    assert (tmp_path / "out.csv").read_bytes() == OUTPUT
    assert not (tmp_path / "out.csv.failures.jsonl").exists()


def test_an_output_of_the_job_that_is_gone_on_with_is_written_again(
    predict: Command, batch: FakeBatch, tmp_path: Path
) -> None:
    batch.failed, batch.dies_at = 1, "GET /job1/failures"
    predict("--batch", "in.csv", "out.csv", "prices", expect=1)
    batch.dies_at = ""

    predict("--batch", "in.csv", "out.csv", "prices")

    assert sorted(batch.jobs) == ["job1"]
    assert (tmp_path / "out.csv").read_bytes() == OUTPUT
    assert (tmp_path / "out.csv.failures.jsonl").read_bytes() == b'{"row": 1}\n'


@pytest.mark.parametrize("model", [("prices",), ()])
def test_a_server_without_jobs_is_told_and_what_to_do(
    command: Command, clock: ManualClock, tmp_path: Path, model: tuple[str, ...]
) -> None:
    def folder(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/catalogue":
            return httpx.Response(200, json={"models": [{"name": "prices"}]})
        return httpx.Response(404, json={"error": f"no such path: {request.url.path}"})

    (tmp_path / "in.csv").write_bytes(ROWS)
    seams = Seams(transport=httpx.MockTransport(folder), clock=clock, environ={})

    result = command("predict", "--batch", "in.csv", "out.csv", *model, expect=1, given=seams)

    assert "this server has no batch jobs, since it serves a folder" in result.stderr
    assert "ask without --batch" in result.stderr


def test_a_job_that_failed_is_told_with_its_reason(
    predict: Command, batch: FakeBatch, tmp_path: Path
) -> None:
    batch.state_at_end = "FAILED"

    result = predict("--batch", "in.csv", "out.csv", "prices", expect=1)

    assert "job job1 is FAILED: no reason is told" in result.output
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / ".out.csv.rondo-job").exists()
