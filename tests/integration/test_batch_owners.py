"""Data owners with a key each, on the real processes, also by the command: their own jobs alone."""

import hashlib
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.packages import ROOT
from tests.emulators import Aws
from tests.integration.batch_stack import (
    BatchStack,
    answers_csv,
    batch_stack,
    http_get,
    http_put,
    prices_csv,
    until,
)
from tests.unit.rondo_inference.exported import prices_export

JOBS = "/batch/prices/jobs"
GUIDE = (ROOT / "docs" / "batch.md").read_text("utf-8")
PAGE = "/page/models/prices/jobs"
BATCH = ("--batch", "in.csv", "out.csv", "prices")


@dataclass(frozen=True)
class Caller:
    """Who holds a key."""

    stack: BatchStack
    key: str

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        status, _, found = self.stack.call(method, path, body, x_api_key=self.key)
        return status, found

    def page(self) -> str:
        """Return the page of past jobs."""
        address = ("127.0.0.1", self.stack.port)
        with closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
            connection.request("GET", PAGE, headers={"x-api-key": self.key})
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode()

    def listed(self) -> list[str]:
        return [job["job_id"] for job in self.ask("GET", JOBS)[1]["jobs"]]

    def make(self, data: bytes) -> str:
        """Make a job, put its file at its link, and start it."""
        files = [{"name": "in.csv", "size": len(data)}]
        status, job = self.ask("POST", JOBS, {"content_type": "text/csv", "files": files})
        assert status == 201, job
        (link,) = job["uploads"]
        assert http_put(link["url"], link["headers"], data) == 200
        assert self.ask("POST", f"{JOBS}/{job['job_id']}/start")[0] == 200
        return str(job["job_id"])

    def over(self, job_id: str) -> Mapping[str, Any]:
        """Wait until a job is over."""
        path = f"{JOBS}/{job_id}"
        until(lambda: self.ask("GET", path)[1]["state"] in {"COMPLETED", "FAILED"})
        found: Mapping[str, Any] = self.ask("GET", path)[1]
        return found


@pytest.fixture
def stack(ministack: Aws, redis_url: str, tmp_path: Path) -> Iterator[BatchStack]:
    keys = {"first": "clinic-a", "first-next": "clinic-a", "second": "clinic-b"}
    may: dict[str, dict[str, object]] = {
        key: {"owner": owner, "models": ["prices"]} for key, owner in keys.items()
    }
    may["slow"] = {"owner": "clinic-c", "rate": 1, "burst": 2}
    may["elsewhere"] = {"owner": "clinic-d", "models": ["digits"]}
    file = tmp_path / "keys.json"
    entries = [
        {"sha256": hashlib.sha256(key.encode()).hexdigest(), **rights}
        for key, rights in may.items()
    ]
    file.write_text(json.dumps(entries))
    with batch_stack(ministack, redis_url, tmp_path) as running:
        running.promote(prices_export(1))
        running.start(API_KEYS_FILE=str(file))
        running.start("batch-intake")
        running.start("batch-worker")
        yield running


def predict(
    stack: BatchStack, key: str | None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the real command; the key stands in the variable."""
    environment = {
        **stack.environment,
        "HOME": str(stack.folder),
        "RONDO_INFERENCE_URL": f"http://127.0.0.1:{stack.port}",
        **({} if key is None else {"RONDO_API_KEY": key}),
    }
    return subprocess.run(
        [str(Path(sys.executable).parent / "rondo"), "predict", *arguments],
        env=environment,
        cwd=stack.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_runs_a_job_of_its_keys_owner(stack: BatchStack) -> None:
    (stack.folder / "in.csv").write_bytes(prices_csv(200))

    in_batch = predict(stack, "first", *BATCH)
    of_rows = predict(stack, "first", "prices", "in.csv")

    assert in_batch.returncode == 0, in_batch.stderr
    assert (stack.folder / "out.csv").read_bytes() == answers_csv(200)
    assert of_rows.returncode == 0, of_rows.stderr
    assert "answered by version 1 of prices" in of_rows.stdout
    assert [len(Caller(stack, key).listed()) for key in ("first", "second")] == [1, 0]


def test_the_command_of_the_guide_reads_the_key_of_a_file(stack: BatchStack) -> None:
    (stack.folder / "in.csv").write_bytes(prices_csv(200))
    (line,) = re.findall(r"```sh\nrondo (predict --key-file .*)\n```", GUIDE)
    _, *arguments = [word.replace("~", str(stack.folder)) for word in line.split()]
    file = Path(arguments[1])
    file.parent.mkdir()
    file.touch(0o600)
    file.write_text("second\n")

    done = predict(stack, "first", *arguments)

    assert done.returncode == 0, done.stderr
    assert (stack.folder / "out.csv").read_bytes() == answers_csv(200)
    assert [len(Caller(stack, key).listed()) for key in ("first", "second")] == [0, 1]


def test_the_command_waits_as_often_as_the_keys_limit_says(stack: BatchStack) -> None:
    (stack.folder / "in.csv").write_bytes(prices_csv(2000))

    done = predict(stack, "slow", *BATCH[:3])

    assert done.returncode == 0, done.stderr
    assert (stack.folder / "out.csv").read_bytes() == answers_csv(2000)
    told = http_get(f"http://127.0.0.1:{stack.port}/metrics").decode()
    assert any('status="429"' in line for line in told.splitlines() if "http_seconds_c" in line)


def test_what_the_server_refuses_is_one_line_and_makes_no_job(stack: BatchStack) -> None:
    (stack.folder / "in.csv").write_bytes(prices_csv(3))
    jobs = f"POST http://127.0.0.1:{stack.port}{JOBS} answered"
    everything = f"name the model: GET http://127.0.0.1:{stack.port}/catalogue answered 403: "

    for key, arguments, told in (
        (None, BATCH, f"{jobs} 401: send a key"),
        ("unknown", BATCH, f"{jobs} 401: send a key"),
        ("elsewhere", BATCH, f"{jobs} 403: the key is not for model 'prices'"),
        ("first", BATCH[:3], everything),
        (None, ("prices", "in.csv"), "/invocations answered 401: send a key"),
    ):
        done = predict(stack, key, *arguments)
        last = done.stderr.splitlines()[-1]
        assert (done.returncode, done.stdout) == (1, "")
        assert last.startswith("Error: ")
        assert told in last
        assert ("set RONDO_API_KEY, or name a file" in last) == (key is None)

    assert not (stack.folder / "out.csv").exists()
    assert Caller(stack, "first").listed() == []


def test_two_holders_of_keys_to_one_model_do_not_see_each_others_jobs(stack: BatchStack) -> None:
    first, rotated, second = (Caller(stack, key) for key in ("first", "first-next", "second"))
    job_id, other_id = first.make(prices_csv(20)), second.make(prices_csv(5))
    path, none = f"{JOBS}/{job_id}", "0" * len(job_id)
    first.over(job_id)

    for method, action in (("GET", ""), ("POST", "/start"), ("POST", "/cancel"), ("DELETE", "")):
        status, said = second.ask(method, path + action)
        absent = second.ask(method, f"{JOBS}/{none}{action}")
        assert (status, {"error": said["error"].replace(job_id, none)}) == absent
        assert status == 404

    assert first.listed() == rotated.listed() == [job_id]
    assert second.listed() == [other_id]
    assert (job_id in first.page(), other_id in first.page()) == (True, False)
    assert (job_id in second.page(), other_id in second.page()) == (False, True)
    assert http_get(rotated.ask("GET", path)[1]["output"]["url"]) == answers_csv(20)
    assert rotated.ask("DELETE", path)[0] == 204
    assert first.listed() == []


def test_what_was_sent_for_anothers_job_cannot_be_predicted_again(stack: BatchStack) -> None:
    first, second = Caller(stack, "first"), Caller(stack, "second")
    sent = first.over(first.make(prices_csv(20)))["input"]
    wanted = {"content_type": "text/csv", "input": sent}

    own, others = (one.over(one.ask("POST", JOBS, wanted)[1]["job_id"]) for one in (first, second))

    assert (own["state"], others["state"]) == ("COMPLETED", "FAILED")
    assert others["reason"].endswith("/in.csv does not exist")
