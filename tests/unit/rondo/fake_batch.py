"""A fake of inference's batch routes, and of the store's links."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

__all__ = ["OUTPUT", "ROWS", "FakeBatch"]

ROWS = b"rooms,town\n1,Aa\n2,Bonn\n"
OUTPUT = b"price,error\n2.0,\n13.0,\n"


@dataclass
class FakeBatch(httpx.BaseTransport):
    """Inference with one model, whose jobs take two looks."""

    models: tuple[str, ...] = ("prices",)
    state_at_end: str = "COMPLETED"
    failed: int = 0
    warnings: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    dies_at: str = ""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        path = request.url.path
        if self.dies_at and f"{request.method} {path}".startswith(self.dies_at):
            raise KeyboardInterrupt
        if request.url.host == "store.test":
            return self._store(request, path)
        if path == "/catalogue":
            return httpx.Response(200, json={"models": [{"name": one} for one in self.models]})
        *_, model, jobs, job_id, action = [*path.split("/"), "", ""][:6]
        assert (model, jobs) == ("prices", "jobs")
        if not job_id:
            return self._make(json.loads(request.content))
        if job_id not in self.jobs:
            return httpx.Response(404, json={"error": f"no job {job_id}"})
        if action == "start":
            self.starts.append(job_id)
            self.jobs[job_id]["state"] = "SUBMITTED"
        else:
            self._move(self.jobs[job_id])
        return httpx.Response(200, json=self.jobs[job_id])

    def _make(self, wanted: dict[str, Any]) -> httpx.Response:
        job_id = f"job{len(self.jobs) + 1}"
        job = {"job_id": job_id, "model": "prices", "version": 3, "state": "WAITING"}
        self.jobs[job_id] = job | {"wanted": wanted}
        links = [
            {
                "name": file["name"],
                "url": f"http://store.test/{job_id}/{file['name']}",
                "headers": {"If-None-Match": "*"},
            }
            for file in wanted["files"]
        ]
        return httpx.Response(201, json=job | {"uploads": links})

    def _move(self, job: dict[str, Any]) -> None:
        if job["state"] == "SUBMITTED":
            job |= {"state": "RUNNING", "progress": 0.5}
        elif job["state"] == "RUNNING":
            job |= {"state": self.state_at_end, "progress": 1.0, "records": 2}
            job["records_done"] = 2
            job["failed_records"] = self.failed
            if self.warnings:
                job["warnings"] = self.warnings
            made = {"output": OUTPUT, "failures": b'{"row": 1}\n'}
            for name, data in made.items():
                self.stored[f"/{job['job_id']}/{name}"] = data
                if name == "output" or self.failed:
                    url = f"http://store.test/{job['job_id']}/{name}"
                    job[name] = {"location": "s3://b/k", "url": url}

    def _store(self, request: httpx.Request, path: str) -> httpx.Response:
        if request.method == "PUT":
            assert request.headers["If-None-Match"] == "*"
            self.stored[path] = request.content
            return httpx.Response(200)
        return httpx.Response(200, content=self.stored[path])
