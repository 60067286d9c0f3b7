import asyncio
import json
import logging
import re
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from rondo_core import client_wire, operator_wire, wire
from rondo_core.errors import SettingsInvalid
from rondo_core.settings import read_settings
from rondo_core.telemetry import JsonFormatter, Metrics
from rondo_gateway.settings import Settings
from rondo_gateway.web.access import AccessLog
from rondo_gateway.web.bodies import MAX_BODY_BYTES
from rondo_gateway.web.operator_routes import MAX_REGISTRATION_BYTES
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_world import OPERATOR, TOKEN, World, refused, update_url

ENROL = "/v1/enrolments"


async def nothing() -> Message:
    return {"type": "http.request"}


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return our own log lines as they are written."""
    formatter = JsonFormatter("gateway")
    ours = [record for record in caplog.records if record.name.startswith("rondo_gateway")]
    return [json.loads(formatter.format(record)) for record in ours]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_a_body_over_the_limit_is_refused_before_it_is_read(http: Http) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)

    response = http.post(ENROL, content=body)

    assert str(MAX_BODY_BYTES) in refused(response, 413, "body-too-large")["message"]


def test_a_body_that_hides_its_length_is_refused_at_the_limit(http: Http) -> None:
    sent: list[None] = []

    async def endless() -> Any:
        while len(sent) < 100:
            sent.append(None)
            yield b" " * 65_536

    response = http.post(ENROL, content=endless())

    refused(response, 413, "body-too-large")


def test_a_registration_may_be_longer_and_is_limited_too(http: Http) -> None:
    url = "/v1/models/digits/specs"

    long = http.post(url, content=b" " * (MAX_BODY_BYTES + 1), headers=OPERATOR)
    too_long = http.post(url, content=b" " * (MAX_REGISTRATION_BYTES + 1), headers=OPERATOR)

    refused(long, 400, "malformed-json")
    refused(too_long, 413, "body-too-large")


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_body_is_said_to_be_empty(http: Http, body: bytes) -> None:
    response = http.post(ENROL, content=body)

    assert refused(response, 400, "malformed-json")["message"] == "the body is empty; send JSON"


@pytest.mark.parametrize(
    ("method", "path", "field", "value", "message"),
    [
        ("POST", "/v1/runs", "rounds", 0, "Expected `int` >= 1, found 0 - at `$.rounds`"),
        ("POST", "/v1/models/m/invites", "uses", "2", "got `str`, found '2' - at `$.uses`"),
    ],
)
def test_a_field_that_breaks_a_rule_is_told_with_its_value(
    http: Http, method: str, path: str, field: str, value: object, message: str
) -> None:
    body = {"model": "m", field: value}

    response = http.run(http.client.request(method, path, json=body, headers=OPERATOR))

    assert message in refused(response, 422, "invalid-body")["message"]


def test_a_stranger_is_refused_before_the_body_is_looked_at(http: Http) -> None:
    response = http.put(update_url(), content=b"x" * (MAX_BODY_BYTES + 1))

    refused(response, 401, "token-missing")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/nothing", 404, "not-found"), ("DELETE", ENROL, 405, "method-not-allowed")],
)
def test_what_does_not_exist_is_a_problem_too(
    http: Http, method: str, path: str, status: int, code: str
) -> None:
    response = http.run(http.client.request(method, path))

    refused(response, status, code)


def test_an_unexpected_error_is_told_by_its_correlation_id_only(
    world: World, http: Http, log: pytest.LogCaptureFixture
) -> None:
    world.store.broken = True

    response = http.get("/v1/models", headers=OPERATOR)

    problem = refused(response, 500, "internal")
    assert "secret" not in response.text
    failed, handled = lines(log)
    assert "ZeroDivisionError" in failed["traceback"]
    assert failed["correlation_id"] == handled["correlation_id"] == problem["correlation_id"]
    assert (handled["level"], handled["outcome"]) == ("error", "internal")


def test_a_table_that_does_not_answer_is_a_matter_of_trying_again(world: World, http: Http) -> None:
    world.store.down = True

    response = http.get("/v1/models", headers=OPERATOR)

    assert "rondo-table" not in refused(response, 503, "unavailable")["message"]
    assert response.headers["Retry-After"] == "1"


def test_a_row_that_cannot_be_read_is_our_own_fault(world: World, http: Http) -> None:
    world.begun()
    world.change(("RUN#run-1", "META"), rounds="three")  # type: ignore[arg-type]  # a plain pair

    response = http.get("/v1/runs/run-1", headers=OPERATOR)

    refused(response, 500, "internal")


def test_each_call_is_one_line_without_body_query_or_token(
    world: World, http: Http, log: pytest.LogCaptureFixture
) -> None:
    headers = world.enrolled().headers()

    response = http.put(update_url("?colour=blue"), content=b'{"secret": 1}', headers=headers)

    (line,) = lines(log)
    assert line["message"] == "request handled"
    assert line["route"] == "PUT /v1/runs/{run}/rounds/{round}/attempts/{attempt}/update"
    assert (line["run_id"], line["round"], line["client_id"]) == ("run-1", "1", "north-00000001")
    assert (line["status"], line["outcome"]) == (422, "invalid-body")
    assert line["correlation_id"] == response.headers["X-Correlation-ID"]
    text = json.dumps(line)
    assert "secret" not in text
    assert "blue" not in text
    assert headers["Authorization"].removeprefix("Bearer ") not in text


def test_calls_are_counted_by_route_and_outcome(world: World, http: Http) -> None:
    http.get("/v1/models", headers=OPERATOR)
    http.get("/v1/models/digits", headers=OPERATOR)
    http.get("/v1/nothing")

    text = http.get("/metrics").text

    count = "rondo_http_requests_total"
    assert f'{count}{{kind="GET /v1/models",outcome="ok"}} 1.0' in text
    assert f'{count}{{kind="GET /v1/models/{{model}}",outcome="not-found"}} 1.0' in text
    assert f'{count}{{kind="GET unknown",outcome="not-found"}} 1.0' in text
    assert world.metrics.registry.get_sample_value("rondo_waiting_clients", {"kind": ""}) is None


def test_answers_are_not_to_be_kept_by_anybody(world: World, http: Http) -> None:
    world.enrolled()

    response = http.get("/v1/models", headers=OPERATOR)

    assert response.headers["Cache-Control"] == "no-store"
    assert TOKEN not in response.text


def test_health_is_asked_without_a_token_and_not_logged(
    http: Http, log: pytest.LogCaptureFixture
) -> None:
    statuses = [http.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")]

    assert statuses == [200, 200, 200]
    assert lines(log) == []


def test_a_gateway_without_its_table_is_alive_but_not_ready(world: World, http: Http) -> None:
    world.store.down = True

    assert http.get("/healthz").status_code == 200
    assert http.get("/readyz").status_code == 503


def test_a_stopping_gateway_is_not_ready(world: World, http: Http) -> None:
    world.door.watcher.close()

    assert http.get("/readyz").status_code == 503


def test_the_openapi_document_names_only_schemas_that_it_holds(http: Http) -> None:
    text = http.get("/openapi.json").text

    document = json.loads(text)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in text
    modules = (client_wire, operator_wire, wire)
    names = [(module, name) for module in modules for name in module.__all__]
    structs = {name for module, name in names if isinstance(getattr(module, name), type)}
    assert structs <= set(document["components"]["schemas"])


def test_every_call_says_what_it_takes_and_gives_and_how_it_fails(http: Http) -> None:
    paths = http.get("/openapi.json").json()["paths"]

    operations = [
        (path, method, call) for path, calls in paths.items() for method, call in calls.items()
    ]
    assert len(operations) == 14
    for path, method, call in operations:
        assert call["description"], path
        assert ("requestBody" in call) == (method in {"put", "post"}), path
        assert ("security" in call) == (path != ENROL), path
        answers = call["responses"]
        assert "Problem" in json.dumps(answers.pop("default"))
        assert all(answer["content"]["application/json"]["schema"] for answer in answers.values())


def test_the_body_of_a_run_is_described_without_the_envelope(http: Http) -> None:
    wanted = http.get("/openapi.json").json()["components"]["schemas"]["RunWanted"]

    assert {"run_id", "model", "rounds", "training"} <= set(wanted["properties"])
    assert not {"event_id", "occurred_at"} & set(wanted["properties"])
    assert wanted["required"] == ["model"]


def test_the_docs_page_works_without_script_and_without_another_host(http: Http) -> None:
    page = http.get("/docs")

    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=['\"]https?://", page.text)
    assert "/v1/runs/{run}/rounds/{round}/attempts/{attempt}/update" in page.text
    assert "id='Declaration'" in page.text
    assert page.text.count("<section") == page.text.count("</section>")


def test_an_error_after_half_an_answer_cuts_the_connection_and_is_logged(
    log: pytest.LogCaptureFixture,
) -> None:
    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/"}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(AccessLog(half, metrics=Metrics())(scope, nothing, send))

    assert [message["type"] for message in sent] == ["http.response.start"]
    assert [line["message"] for line in lines(log)] == ["request failed", "request handled"]


def test_what_is_no_call_is_passed_on() -> None:
    passed: list[Scope] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        passed.append(scope)

    async def send(_message: Message) -> None: ...

    asyncio.run(AccessLog(application, metrics=Metrics())({"type": "lifespan"}, nothing, send))

    assert passed == [{"type": "lifespan"}]


def test_settings_have_safe_defaults_and_name_what_is_wrong() -> None:
    settings = read_settings(Settings, {"PORT": "9000"})

    assert (settings.host, settings.port, settings.upload_endpoint_url) == ("127.0.0.1", 9000, None)
    with pytest.raises(SettingsInvalid, match="WATCH_SECONDS"):
        read_settings(Settings, {"WATCH_SECONDS": "often"})
