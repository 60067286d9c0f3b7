"""The OpenAPI document says what the server does: schemathesis asks what it allows, and what not.

Every request goes through a connection's bytes, the routes, a real engine and back, in process.
``FUZZ_CASES`` says how many there are in all, at least; `make fuzz-api` asks for 100,000.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rondo_inference.batch.wire import InputFile, NewJob
from rondo_inference.contracts.messages import Request
from rondo_inference.contracts.openapi import Documents
from tests.unit.rondo_inference.asked import Process, running
from tests.unit.rondo_inference.batch_world import BatchWorld
from tests.unit.rondo_inference.exported import sample_folder

CASES = int(os.environ.get("FUZZ_CASES", "10000"))
MODELS = ("prices", "shapes", "floats", "words", "identity")
SHARES = 126
"""What half of all cases is parted into: a model has twelve shares of requests that fit, and eleven
of those that do not; three for each way to predict, one for each other operation that varies. The
operations in which any model may be named have 31 of either for each of two models, those of a
container of many models seven."""

UNLOAD = "/v2/repository/models/{model}/unload"

FITTING = ("/v1/models/prices:predict", "/v1/models/shapes:predict")
"""What the document says of their rows is all there is to say. Where a request chooses a side of a
tensor, JSON Schema cannot say that all rows have the same one."""

AnyCase = Case[Any]
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, world: BatchWorld) -> Iterator[Process]:
    folder = sample_folder(tmp_path_factory.mktemp("models"))
    with (
        running(models=folder, orders=world.orders, max_body_bytes=10_000_000) as service,
        Process.of(service) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def document(process: Process) -> Any:
    return schemathesis.openapi.from_dict(process.ask("GET", "/openapi.json", b"", {}).json)


def operations(document: Any) -> list[Any]:
    return [found.ok() for found in document.get_all_operations()]


def is_of(path: str, model: str) -> bool:
    return model in path.replace(":", "/").split("/")


def varies(operation: Any, mode: GenerationMode) -> bool:
    """Whether a mode has many requests of an operation: any text is a right query."""
    parts = operation.body or operation.path_parameters
    return bool(parts or (operation.query and mode is GenerationMode.POSITIVE))


def share(operation: Any) -> int:
    return 3 if operation.path.endswith((":predict", "/infer", "/invocations", "/invoke")) else 1


def answered(process: Process, case: AnyCase) -> Response:
    """Send a case as `requests` would put it on the wire."""
    wanted = case.as_transport_kwargs(base_url="http://test")
    parts = ("method", "url", "headers", "params", "json", "data", "files", "cookies")
    sent = requests.Request(**{name: wanted[name] for name in parts if name in wanted}).prepare()
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    assert isinstance(body, bytes)
    url = urlsplit(str(sent.url))
    target = f"{url.path}?{url.query}" if url.query else url.path
    headers = {
        name.lower(): value if isinstance(value, str) else value.decode("latin-1")
        for name, value in sent.headers.items()
        if name.lower() != "content-length"
    }
    reply = process.ask(str(sent.method), target, body, headers)
    told = {name: [value] for name, value in reply.headers.items()}
    return Response(reply.status, told, as_document_says(reply.body), sent, 0.0, verify=False)


def as_document_says(body: bytes) -> bytes:
    """Write null for TF Serving's bare words: JSON Schema knows no number that is not finite."""
    if b"NaN" not in body and b"Infinity" not in body:
        return body
    try:
        return json.dumps(json.loads(body, parse_constant=lambda _: None)).encode()
    except ValueError:
        return body


def checks_of(case: AnyCase, mode: GenerationMode) -> list[CheckFunction]:
    fits = case.operation.path in FITTING and case.media_type == "application/json"
    return [*CHECKS, positive_data_acceptance] if fits and mode.is_positive else CHECKS


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_what_a_model_answers_is_in_the_document(
    process: Process, world: BatchWorld, document: Any, model: str, mode: GenerationMode
) -> None:
    varying = [one for one in operations(document) if is_of(one.path, model) and varies(one, mode)]

    for operation in varying:
        jobs = jobs_of(process, world, model) if "{job}" in operation.path else []
        fuzz(process, operation, mode, {"job": jobs} if jobs else {})

    paths = {one.path for one in varying}
    assert len(paths) >= (6 if mode.is_positive else 5), paths


def jobs_of(process: Process, world: BatchWorld, model: str) -> list[str]:
    """Make jobs: an id that is made up names none."""
    alias = process.service.catalogue.resolve(model).wanted
    wanted = NewJob(content_type="text/csv", files=[InputFile(size=1)])
    return [world.orders.make(alias, wanted).job_id for _ in range(5)]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize("model", ["prices", "shapes"])
def test_paths_in_which_any_model_is_named_are_in_the_document(
    process: Process, model: str, mode: GenerationMode
) -> None:
    """What a key for one model is told, so that names and bodies belong together."""
    documents = Documents(process.service.catalogue, jobs=True, many=False)
    document = schemathesis.openapi.from_dict(documents.of(Request(models=(model,))))
    varying = [one for one in operations(document) if is_shared(one.path) and varies(one, mode)]

    for operation in sorted(varying, key=lambda one: one.path == UNLOAD):
        fuzz(process, operation, mode, {"version": [1], "label": ["champion", "v1"]})
    load = f"/v2/repository/models/{model}/load"
    assert process.ask("POST", load, b"", {}).status == 200
    for version in process.service.catalogue.versions(model):  # who asks for one has it loaded
        ask = f"/v1/models/{model}/versions/{version}:predict"
        assert process.ask("POST", ask, b"", {}).status == 400

    assert sum(share(one) for one in varying) == 31


def is_shared(path: str) -> bool:
    return not any(is_of(path, model) for model in MODELS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_what_a_container_of_many_models_answers_is_in_the_document(
    tmp_path: Path, mode: GenerationMode
) -> None:
    folder = sample_folder(tmp_path)
    with running(many=True) as service, Process.of(service) as process:
        for model in MODELS:
            wanted = {"model_name": model, "url": str(folder / model)}
            assert process.ask("POST", "/models", json.dumps(wanted).encode(), {}).status == 200
        found = schemathesis.openapi.from_dict(process.ask("GET", "/openapi.json", b"", {}).json)
        varying = [
            one for one in operations(found) if one.path.startswith("/models") and varies(one, mode)
        ]
        for operation in sorted(varying, key=lambda one: one.method == "delete"):
            fuzz(process, operation, mode, {"name": list(MODELS)})

    assert sum(share(one) for one in varying) == (7 if mode.is_positive else 6)


def fuzz(
    process: Process, operation: Any, mode: GenerationMode, known: Mapping[str, Sequence[object]]
) -> None:
    """Make requests of an operation; half of them name what there is, where that is known."""
    parts = {
        name: st.none() | st.sampled_from(values)
        for name, values in known.items()
        if f"{{{name}}}" in operation.path
    }

    @settings(
        max_examples=-(-CASES * share(operation) // (2 * SHARES)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), named=st.fixed_dictionaries(parts))
    def is_kept(case: AnyCase, named: dict[str, object]) -> None:
        case.path_parameters.update({name: one for name, one in named.items() if one is not None})
        case.validate_response(answered(process, case), checks=checks_of(case, mode))

    is_kept()


def test_what_takes_nothing_is_found(process: Process, document: Any) -> None:
    plain = [one for one in operations(document) if not varies(one, GenerationMode.POSITIVE)]

    for operation in plain:
        case = operation.Case()
        response = answered(process, case)
        case.validate_response(response, checks=CHECKS)
        assert response.status_code == 200, operation.label

    assert len(plain) == 7 + 5 * len(MODELS)
