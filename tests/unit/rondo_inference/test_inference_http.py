import asyncio
import json
import threading
from collections.abc import Iterator, Mapping

import pytest

from rondo_core.errors import Conflict
from rondo_inference.contracts.messages import Answer, Request, Route, route_pattern
from rondo_inference.domain.tensors import Tensors
from rondo_inference.registry.slots import Slot
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import Export, prices_export, shapes_export
from tests.unit.rondo_inference.fakes import TABLE, WatchingEngine, in_flight, served_by

ROW = {"instances": [{"rooms": 3, "town": "Bonn"}]}
WRITTEN = "application/json, text/csv, application/jsonlines, application/x-npy, application/x-npz"
READ = f"{WRITTEN}, image/png, image/jpeg, multipart/form-data"
CSV_BODY = b"rooms,town\n3,Bonn\n1,Aa\n"


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as found:
        yield found


# --- TF Serving -----------------------------------------------------------------------------------


def test_tfs_predict_answers_by_row_and_names_the_version(service: Service) -> None:
    service.serve(prices_export(7))

    reply = service.ask("POST", "/v1/models/prices:predict", ROW)

    assert (reply.status, reply.json) == (200, {"predictions": [[3 + 10 + 7]]})
    assert reply.headers == {
        "content-type": "application/json",
        "content-length": str(len(reply.body)),
        "x-rondo-version": "7",
        "x-rondo-run": "run-a/70",
    }


def test_tfs_predict_answers_by_column(service: Service) -> None:
    service.serve(prices_export(7))

    reply = service.ask(
        "POST", "/v1/models/prices:predict", {"inputs": {"rooms": [1, 2], "town": ["Aa", "Aa"]}}
    )

    assert reply.json == {"outputs": [[8], [9]]}


def test_tfs_predict_of_pictures_gives_probabilities(service: Service) -> None:
    service.serve(shapes_export())

    reply = service.ask("POST", "/v1/models/shapes:predict", {"instances": [[[0, 0], [0, 0]]]})

    assert reply.json == {"predictions": [[0.5, 0.5]]}


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v1/models/prices:predict", "2"),
        ("/V1/Models/prices:PREDICT", "2"),
        ("/v1/models/prices/labels/champion:predict", "2"),
        ("/v1/models/prices/labels/candidate:predict", "3"),
        ("/v1/models/prices/versions/3:predict", "3"),
    ],
)
def test_tfs_paths_choose_the_version(service: Service, path: str, version: str) -> None:
    service.serve(prices_export(2), prices_export(3, label="candidate"))

    assert service.ask("POST", path, ROW).headers["x-rondo-version"] == version


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/v1/models/cats:predict", 404, "no model 'cats'; served are: prices"),
        (
            "/v1/models/prices/versions/9:predict",
            404,
            "model 'prices' has no version 9; served versions: [2]",
        ),
        (
            "/v1/models/prices/labels/beta:predict",
            404,
            "model 'prices' has no label 'beta'; served versions: [2]",
        ),
        ("/v1/models/prices/versions/one:predict", 404, None),
        ("/v1/models/prices:explain", 404, "no such path: /v1/models/prices:explain"),
    ],
)
def test_tfs_errors_are_one_text(
    service: Service, path: str, status: int, error: str | None
) -> None:
    service.serve(prices_export(2))

    reply = service.ask("POST", path, ROW)

    assert reply.status == status
    assert reply.json == {"error": error or f"no such path: {path}"}


def test_tfs_status_tells_how_each_version_stands(service: Service) -> None:
    service.serve(prices_export(2))
    service.serve(prices_export(3).with_file("model.onnx", b"not a model"))

    reply = service.ask("GET", "/v1/models/prices")

    first, second = reply.json["model_version_status"]
    assert first == {
        "version": "2",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert (second["version"], second["state"]) == ("3", "END")
    assert second["status"]["error_code"] == "FAILED_PRECONDITION"
    assert "ONNX Runtime refuses it" in second["status"]["error_message"]


@pytest.mark.parametrize("path", ["versions/3", "labels/candidate"])
def test_tfs_status_of_one_version(service: Service, path: str) -> None:
    service.serve(prices_export(2), prices_export(3, label="candidate"))

    reply = service.ask("GET", f"/v1/models/prices/{path}")

    assert [one["version"] for one in reply.json["model_version_status"]] == ["3"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("cats", "no model 'cats'; served are: prices"),
        ("prices/versions/9", "model 'prices' has no version 9"),
        ("prices/labels/beta", "model 'prices' has no label 'beta'; served versions: [2]"),
    ],
)
def test_tfs_status_of_what_is_not_there_is_not_found(
    service: Service, path: str, error: str
) -> None:
    service.serve(prices_export(2))

    reply = service.ask("GET", f"/v1/models/{path}")

    assert (reply.status, reply.json) == (404, {"error": error})


# --- SageMaker ------------------------------------------------------------------------------------


def test_sagemaker_ping_has_an_empty_body_and_waits_for_the_first_scan(service: Service) -> None:
    before = service.ask("GET", "/ping")
    service.serve()
    after = service.ask("GET", "/ping")

    assert (before.status, before.body) == (503, b"")
    assert (after.status, after.body, after.headers) == (200, b"", {"content-length": "0"})


def test_sagemaker_json_gives_tensorflow_servings_json(service: Service) -> None:
    service.serve(prices_export(7))

    reply = service.ask("POST", "/invocations", ROW, content_type="application/json")

    assert reply.json == {"predictions": [[20]]}
    assert reply.headers["x-rondo-version"] == "7"
    assert (
        reply.headers["x-amzn-sagemaker-custom-attributes"]
        == "rondo-model=prices; rondo-version=7; rondo-run=run-a/70"
    )


@pytest.mark.parametrize(
    ("body", "headers", "media", "answer"),
    [
        (ROW, {}, "application/json", b'{"predictions":[[20.0]]}'),
        (ROW, {"accept": "*/*"}, "application/json", b'{"predictions":[[20.0]]}'),
        (
            ROW,
            {"content_type": "application/json", "accept": "text/csv"},
            "text/csv; charset=utf-8",
            b"price\n20.0\n",
        ),
        (
            CSV_BODY,
            {"content_type": "text/csv; charset=utf-8"},
            "text/csv; charset=utf-8",
            b"price\n20.0\n8.0\n",
        ),
        (
            CSV_BODY,
            {"content_type": "Text/CSV", "accept": "application/json, text/csv;q=0.9"},
            "application/json",
            b'{"predictions":[{"price":20.0},{"price":8.0}]}',
        ),
    ],
)
def test_sagemaker_types_in_and_out(
    service: Service,
    body: bytes | Mapping[str, object],
    headers: Mapping[str, str],
    media: str,
    answer: bytes,
) -> None:
    service.serve(prices_export(7))

    reply = service.ask("POST", "/invocations", body, **headers)

    assert (reply.status, reply.headers["content-type"], reply.body) == (200, media, answer)


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (
            b"x",
            {"content_type": "image/gif"},
            415,
            f"image/gif is not read here; send one of {READ}",
        ),
        (
            CSV_BODY,
            {"content_type": "text/csv", "accept": "image/png"},
            406,
            f"image/png is not written here; accept one of {WRITTEN}",
        ),
        (
            b"",
            {"content_type": "text/csv"},
            400,
            "the CSV is empty; its first line must name the columns",
        ),
        (
            b"",
            {},
            400,
            'the body is empty; send JSON with "instances" or "inputs"',
        ),
        (
            b"rooms\n1\n",
            {"content_type": "text/csv"},
            400,
            "the CSV's header lacks column 'town'; it has 'rooms'",
        ),
        (
            b"rooms,town\nmany,Aa\n",
            {"content_type": "text/csv"},
            400,
            "row 0, column 'rooms': 'many' is not a number",
        ),
        (
            b'{"instances": [[1, "Aa"], [NaN, "Aa"]]}',
            {},
            400,
            "row 1, column 'rooms': 'NaN' is not a number",
        ),
    ],
)
def test_sagemaker_refusals_say_why_and_name_the_version_asked(
    service: Service, body: bytes, headers: Mapping[str, str], status: int, error: str
) -> None:
    service.serve(prices_export(7))

    reply = service.ask("POST", "/invocations", body, **headers)

    assert (reply.status, reply.json["error"]) == (status, error)
    assert reply.headers["x-rondo-version"] == "7"
    assert "rondo-version=7" in reply.headers["x-amzn-sagemaker-custom-attributes"]


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/invocations", {"x_amzn_sagemaker_target_model": "prices"}),
        ("/invocations?model=prices", {}),
    ],
)
def test_of_several_models_header_or_parameter_names_one(
    service: Service, target: str, headers: Mapping[str, str]
) -> None:
    service.serve(prices_export(7), shapes_export())

    assert service.ask("POST", target, ROW, **headers).json == {"predictions": [[20]]}


def test_of_several_models_none_named_is_refused_and_they_are_listed(service: Service) -> None:
    service.serve(prices_export(7), shapes_export())

    reply = service.ask("POST", "/invocations?other=1", ROW)

    assert (reply.status, reply.json) == (
        400,
        {"error": "name the model; served are prices, shapes"},
    )


def test_a_model_that_is_not_served_is_not_found_also_when_there_is_only_one(
    service: Service,
) -> None:
    service.serve(prices_export(7))

    reply = service.ask("POST", "/invocations?model=cats", ROW)

    assert (reply.status, reply.json) == (
        404,
        {"error": "no model 'cats'; served are: prices"},
    )


def test_without_a_model_the_service_is_unavailable(service: Service) -> None:
    service.serve()

    reply = service.ask("POST", "/invocations", ROW)

    assert (reply.status, reply.json) == (503, {"error": "no model is served yet"})


# --- operations -----------------------------------------------------------------------------------


def test_readiness_follows_the_first_scan_and_the_drain_while_liveness_stays(
    service: Service,
) -> None:
    statuses = []
    for step in ("start", "scanned", "draining"):
        if step == "scanned":
            service.serve(prices_export())
        if step == "draining":
            service.drain()
        statuses.append(
            tuple(service.ask("GET", path).status for path in ("/readyz", "/ping", "/healthz"))
        )

    assert statuses == [(503, 503, 200), (200, 200, 200), (503, 503, 200)]


def test_while_draining_a_connection_is_closed_after_its_answer(service: Service) -> None:
    service.serve(prices_export(7))
    service.drain()

    reply = service.ask("POST", "/v1/models/prices:predict", ROW)

    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_the_list_of_models_says_how_to_ask_them(service: Service) -> None:
    service.serve(prices_export(7), shapes_export())
    service.serve(prices_export(8).with_file("model.onnx", b"not a model"))
    service.serve(prices_export(9, label="candidate").with_file("model.onnx", b"not a model"))

    candidate, prices, shapes = service.ask("GET", "/catalogue").json["models"]

    assert (candidate["label"], candidate["state"], "version" in candidate) == (
        "candidate",
        "END",
        False,
    )
    assert "ONNX Runtime refuses it" in prices["failure"]
    assert (prices["version"], prices["run"], prices["state"]) == (7, "run-a/70", "AVAILABLE")
    assert [column["name"] for column in prices["input"]["columns"]] == ["rooms", "town"]
    assert prices["metrics"] == {"loss": 0.5}
    assert shapes["input"]["kind"] == "image"
    assert shapes["output"] == {"kind": "classes", "labels": ["light", "dark"]}
    assert "failure" not in shapes


def test_metrics_count_requests_rows_and_time(service: Service) -> None:
    service.serve(prices_export(7))
    service.ask("POST", "/v1/models/prices:predict", {"instances": [[1, "Aa"]] * 3})
    service.ask("POST", "/v1/models/prices:predict", b"{")
    service.ask("GET", "/nothing")

    lines = service.ask("GET", "/metrics").body.decode().splitlines()

    assert 'rondo_inference_rows_total{model="prices",version="7"} 3.0' in lines
    assert 'rondo_inference_request_seconds_count{model="prices",version="7"} 1.0' in lines
    name = "rondo_inference_http_seconds_count"
    assert f'{name}{{route="tfs-predict",status="200"}} 1.0' in lines
    assert f'{name}{{route="tfs-predict",status="400"}} 1.0' in lines
    assert f'{name}{{route="unknown",status="404"}} 1.0' in lines


def test_a_prediction_is_in_flight_until_it_is_answered(service: Service) -> None:
    export, engine = prices_export(7), WatchingEngine(service.metrics)
    service.catalogue.store(Slot(export.alias, served_by(export, engine)))
    before = in_flight(service.metrics)

    reply = service.ask("POST", "/v1/models/prices:predict", ROW)

    assert reply.status == 200
    assert (before, engine.seen, in_flight(service.metrics)) == (0, [1], 0)


# --- HTTP -----------------------------------------------------------------------------------------


def test_another_method_is_not_allowed_and_the_right_one_is_named(service: Service) -> None:
    reply = service.ask("GET", "/invocations")

    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert reply.json == {"error": "GET is not allowed here"}


def test_a_body_in_pieces_is_put_together(service: Service) -> None:
    service.serve(prices_export(7))
    data = json.dumps(ROW).encode()

    reply = asyncio.run(service.call("POST", "/invocations", chunks=[data[:5], b"", data[5:]]))

    assert reply is not None
    assert reply.json == {"predictions": [[20]]}


def test_a_caller_that_asks_before_sending_too_much_is_refused_unread(service: Service) -> None:
    headers = {"content-length": "10001", "expect": "100-continue"}

    reply = asyncio.run(service.call("POST", "/invocations", chunks=[], headers=headers))

    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert reply.json == {"error": "the body is longer than 10000 bytes"}


@pytest.mark.parametrize("headers", [{}, {"content-length": "18000"}])
def test_too_long_a_body_is_read_to_its_end_so_that_the_refusal_arrives(
    service: Service, headers: Mapping[str, str]
) -> None:
    chunks: list[bytes | None] = [b" " * 6_000] * 3

    reply = asyncio.run(service.call("POST", "/invocations", chunks=chunks, headers=headers))

    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (413, "close")


def test_a_body_just_over_the_limit_in_one_piece_is_refused(service: Service) -> None:
    assert service.ask("POST", "/invocations", b" " * 10_001).status == 413


def test_a_body_without_end_is_not_read_for_ever(service: Service) -> None:
    chunks: list[bytes | None] = [b" " * 6_000] * 9  # the connection is cut before they end

    reply = asyncio.run(
        service.call("POST", "/invocations", chunks=chunks, headers={"content-length": "999999"})
    )

    assert reply is not None
    assert reply.status == 413


def test_a_caller_that_goes_away_gets_no_answer(service: Service) -> None:
    assert asyncio.run(service.call("POST", "/invocations", chunks=[b"{", None])) is None


class BrokenEngine:
    """Fails as a program fails."""

    signature = TABLE

    def run(self, inputs: Tensors) -> Tensors:
        raise ZeroDivisionError(f"secret path, {len(inputs[0])} rows")


def test_an_unknown_error_gives_a_reference_and_no_detail(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    export = prices_export(7)
    service.catalogue.store(Slot(export.alias, served_by(export, BrokenEngine())))

    reply = service.ask("POST", "/v1/models/prices:predict", ROW)

    (record,) = [one for one in caplog.records if one.message == "request failed"]
    assert reply.status == 500
    assert reply.json == {"error": f"internal error, reference {record.reference}"}  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


class WrongEngine:
    """A session whose model wants another shape."""

    signature = TABLE

    def __init__(self, service: Service) -> None:
        service.serve(shapes_export())
        self._engine = service.catalogue.find("shapes").engine

    def run(self, inputs: Tensors) -> Tensors:
        return self._engine.run(inputs)


def test_an_export_that_fails_while_serving_is_not_the_callers_fault(service: Service) -> None:
    export = prices_export(7)
    service.catalogue.store(Slot(export.alias, served_by(export, WrongEngine(service))))

    reply = service.ask("POST", "/v1/models/prices:predict", ROW)

    assert reply.status == 500
    assert reply.json["error"].startswith("internal error, reference ")
    assert reply.headers["x-rondo-version"] == "7"


def test_an_error_of_another_family_has_its_own_status(service: Service) -> None:
    def refuse(_: Request) -> Answer:
        raise Conflict("x" * 3_000)

    route = Route("conflict", "GET", route_pattern("/conflict"), refuse)
    service.app.admissions.routes = [route]

    reply = service.ask("GET", "/conflict")

    assert (reply.status, len(reply.json["error"])) == (409, 2_000)


def test_more_rows_than_a_batch_are_answered_in_order() -> None:
    with running(max_body_bytes=1_000_000) as service:
        service.serve(prices_export(1))

        reply = service.ask("POST", "/invocations", {"instances": [[n, "Aa"] for n in range(600)]})

        assert reply.json["predictions"] == [[n + 1] for n in range(600)]


# --- the swap -------------------------------------------------------------------------------------


async def _hammer(
    service: Service, stop: threading.Event, seen: list[tuple[int, str, float]]
) -> None:
    body = json.dumps({"instances": [[0, "Aa"]]}).encode()
    while not stop.is_set():
        reply = await service.call("POST", "/invocations", chunks=[body])
        assert reply is not None
        answer = reply.json["predictions"][0][0] if reply.status == 200 else -1
        seen.append((reply.status, reply.headers.get("x-rondo-version", ""), answer))


def test_twenty_promotions_under_load_lose_no_request_and_mix_no_versions(
    service: Service,
) -> None:
    service.serve(prices_export(1))
    stop = threading.Event()
    seen: list[list[tuple[int, str, float]]] = [[] for _ in range(4)]

    async def hammer() -> None:
        await asyncio.gather(*(_hammer(service, stop, one) for one in seen))

    thread = threading.Thread(target=asyncio.run, args=(hammer(),))
    thread.start()
    for version in range(2, 22):
        service.serve(prices_export(version))
        if version % 5 == 0:  # a bad one in between changes nothing
            spoiled: Export = prices_export(100 + version).with_file("model.onnx", b"bad")
            service.serve(spoiled)
    stop.set()
    thread.join()

    answers = [answer for one in seen for answer in one]
    assert {status for status, _, _ in answers} == {200}
    assert all(version == str(int(answer)) for _, version, answer in answers)
    assert len({version for _, version, _ in answers}) > 3
    assert all(
        [int(version) for _, version, _ in one] == sorted(int(version) for _, version, _ in one)
        for one in seen
    )
