"""Two data owners with a key each, on the real processes: neither sees the other's jobs."""

import hashlib
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
PAGE = "/page/models/prices/jobs"


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
    file = tmp_path / "keys.json"
    entries = [
        {"sha256": hashlib.sha256(key.encode()).hexdigest(), "owner": owner, "models": ["prices"]}
        for key, owner in keys.items()
    ]
    file.write_text(json.dumps(entries))
    with batch_stack(ministack, redis_url, tmp_path) as running:
        running.promote(prices_export(1))
        running.start(API_KEYS_FILE=str(file))
        running.start("batch-intake")
        running.start("batch-worker")
        yield running


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
