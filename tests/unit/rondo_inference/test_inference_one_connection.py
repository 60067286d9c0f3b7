"""The same request again on one connection, of every door: answered alike, and decided anew."""

import asyncio
import hashlib
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rondo_inference.web.connection import Connection
from tests.unit.rondo_inference.asked import Reply, Service, Wire, head, running
from tests.unit.rondo_inference.exported import sample_folder
from tests.unit.rondo_inference.fakes import in_flight

ROWS = json.dumps({"instances": [[3, "Bonn"], [4, "Bonn"]]}).encode()
JSON = {"content-type": "application/json"}


def whole(target: str, body: bytes, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head("POST", target, {"content-length": str(len(body)), **named}) + body


def binary(**more: object) -> bytes:
    blob = np.array([[1.5, -2]], np.float32).tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 2],
        "parameters": {"binary_data_size": len(blob)},
    }
    text = json.dumps({"inputs": [tensor], **more}).encode()
    size = str(len(text))
    return whole("/v2/models/floats/infer", text + blob, inference_header_content_length=size)


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[1, 2]], np.float32))
    return file.getvalue()


REQUESTS = {
    "tfs": whole("/v1/models/prices:predict", ROWS),
    "tfs, a label": whole("/v1/models/prices/labels/candidate:predict", ROWS),
    "tfs, wrong": whole("/v1/models/prices:predict", ROWS.replace(b"3", b"x")),
    "tfs, no such model": whole("/v1/models/nobody:predict", ROWS),
    "csv": whole("/v1/models/prices:predict", b"rooms,town\n3,Bonn\n", content_type="text/csv"),
    "npy": whole("/v1/models/floats:predict", npy(), content_type="application/x-npy"),
    "oip": whole(
        "/v2/models/floats/infer",
        b'{"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}',
    ),
    "binary in": binary(),
    "binary in and out": binary(parameters={"binary_data_output": True}),
    "binary, with an id": binary(id="7", parameters={"binary_data_output": True}),
    "binary, of one output": binary(outputs=[{"name": "y", "parameters": {"binary_data": True}}]),
    "raw": whole("/v2/models/floats/infer", bytes(8), inference_header_content_length="0"),
    "sagemaker": whole("/invocations", ROWS, x_amzn_sagemaker_target_model="prices", **JSON),
    "lambda": whole("/2015-03-31/functions/prices/invocations", ROWS),
    "no path": whole("/nowhere", ROWS),
}


class Line:
    """One connection to a service that stays open."""

    def __init__(self, service: Service) -> None:
        self.wire = Wire()
        self._connection = Connection(service.shared())
        self._connection.connection_made(self.wire)
        self._sent = 0

    async def ask(self, request: bytes) -> Reply:
        self._connection.data_received(request)
        self._sent += 1
        replies = await self.wire.until(self._sent)
        for _ in range(3):
            await asyncio.sleep(0)
        return replies[self._sent - 1]


def told(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    return reply.status, {k: v for k, v in reply.headers.items() if k != "date"}, reply.body


def talk(service: Service, conversation: Callable[[Line], Awaitable[None]]) -> None:
    async def run() -> None:
        await conversation(Line(service))

    asyncio.run(run())


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_same_request_is_answered_alike(samples: Service, kind: str) -> None:
    async def conversation(line: Line) -> None:
        first, second, third = [told(await line.ask(REQUESTS[kind])) for _ in range(3)]
        assert first == second == third
        assert (first[0] == 200) == (kind not in {"tfs, wrong", "tfs, no such model", "no path"})

    talk(samples, conversation)
    assert in_flight(samples.metrics) == 0
    assert samples.app.budget.held == 0


def test_whatever_came_before_an_answer_is_its_own(samples: Service) -> None:
    async def alone(request: bytes) -> tuple[int, dict[str, str], bytes]:
        return told(await Line(samples).ask(request))

    async def run() -> None:
        expected = [await alone(request) for request in REQUESTS.values()]
        line = Line(samples)
        for _ in range(2):
            found = [told(await line.ask(request)) for request in REQUESTS.values()]
            assert found == expected

    asyncio.run(run())


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Service]:
    keys, digest = tmp_path / "keys.json", hashlib.sha256(b"mine").hexdigest()
    keys.write_text(json.dumps([{"sha256": digest, "models": ["prices"], "rate": 1, "burst": 2}]))
    with running(models=sample_folder(tmp_path / "models"), api_keys_file=str(keys)) as found:
        yield found


def test_each_request_takes_a_token_though_its_head_is_known(guarded: Service) -> None:
    request = whole("/v1/models/prices:predict", ROWS, x_api_key="mine")

    async def conversation(line: Line) -> None:
        assert [(await line.ask(request)).status for _ in range(3)] == [200, 200, 429]
        guarded.clock.advance(1)
        assert [(await line.ask(request)).status for _ in range(2)] == [200, 429]

    talk(guarded, conversation)


def test_what_was_unloaded_meanwhile_is_not_asked(samples: Service) -> None:
    async def conversation(line: Line) -> None:
        before = await line.ask(REQUESTS["binary in"])
        unloaded = await line.ask(whole("/v2/repository/models/floats/unload", b"{}"))
        after = [(await line.ask(REQUESTS["binary in"])).status for _ in range(2)]
        assert (before.status, unloaded.status, after) == (200, 200, [503, 503])

    talk(samples, conversation)
