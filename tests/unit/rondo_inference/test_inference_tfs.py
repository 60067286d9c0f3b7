"""TF Serving's REST API, requirement by requirement (TFS-1 to TFS-12)."""

import base64
import json
import math
from http import HTTPStatus

import pytest

from rondo_core.errors import Conflict, Invalid, NotFound, RondoError, Unavailable
from rondo_inference.domain.batching import DeadlinePassed, QueueFull
from rondo_inference.web.access import Forbidden, TooMany, Unknown
from rondo_inference.web.refusals import status_of
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import prices_export, prices_onnx, shapes_export

ROW = {"instances": [[3, "Bonn"]]}


@pytest.mark.parametrize(
    ("method", "path", "version"),
    [
        ("POST", "/v1/models/prices:predict", "2"),
        ("POST", "/V1/MODELS/prices:PREDICT", "2"),
        ("POST", "/v1/models/%70rices/labels/cand%69date:predict", "1"),
        ("POST", "/v1/models/prices/versions/1:predict", "1"),
    ],
)
def test_tfs_1_paths_match_in_both_cases_and_percent_decoded(
    samples: Service, method: str, path: str, version: str
) -> None:
    reply = samples.ask(method, path, ROW)

    assert (reply.status, reply.headers["x-rondo-version"]) == (200, version)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/prices/versions/x:predict",
        "/v1/models/a/b:predict",
        "/v1/models/prices:explain",
        "/v1/models/prices/labels/a/b",
    ],
)
def test_tfs_1_other_paths_are_not_found(samples: Service, path: str) -> None:
    assert samples.ask("POST", path, ROW).status == 404


def test_tfs_2_a_request_has_instances_or_inputs_but_not_both(samples: Service) -> None:
    for model, one in (("prices", [[3, "Bonn"]]), ("floats", [[3.0]])):
        path = f"/v1/models/{model}:predict"
        named = {"signature_name": "serving_default", "instances": one}
        both = samples.ask("POST", path, {"instances": one, "inputs": one})
        none = samples.ask("POST", path, {"signature_name": "serving_default"})
        other = samples.ask("POST", path, {"signature_name": "other", "instances": one})

        assert samples.ask("POST", path, named).status == 200
        assert [reply.status for reply in (both, none, other)] == [400, 400, 400]
        assert "not both" in both.json["error"]
        assert "'other'" in other.json["error"]


def test_tfs_3_rows_are_bare_values_of_one_input_and_objects_of_several(samples: Service) -> None:
    bare = samples.ask("POST", "/v1/models/floats:predict", {"instances": [[1.5], [2.5]]})
    named = samples.ask("POST", "/v1/models/floats:predict", {"instances": [{"x": [1.5]}]})

    assert bare.json == {"predictions": [[1.5], [2.5]]}
    assert named.json == {"predictions": [[1.5]]}


def identity_row(value: int) -> dict[str, object]:
    row: dict[str, object] = {
        f"IN_{kind}": [value]
        for kind in (
            "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
            "FP16", "FP32", "FP64",
        )
    }  # fmt: skip
    return row | {"IN_BOOL": [True], "IN_BYTES": ["é"]}


def test_tfs_3_several_outputs_give_an_object_per_row(samples: Service) -> None:
    rows = [identity_row(1), identity_row(2)]

    reply = samples.ask("POST", "/v1/models/identity:predict", {"instances": rows})

    expected = [{key.replace("IN_", "OUT_"): one for key, one in row.items()} for row in rows]
    assert reply.json == {"predictions": expected}


def test_tfs_3_rows_of_several_inputs_must_name_them_all(samples: Service) -> None:
    path, row = "/v1/models/identity:predict", identity_row(1)
    del row["IN_BOOL"]

    missing = samples.ask("POST", path, {"instances": [row]})
    extra = samples.ask("POST", path, {"instances": [identity_row(1) | {"IN_X": [1]}]})
    bare = samples.ask("POST", path, {"instances": [[1]]})

    assert missing.json == {"error": "row 0 has no 'IN_BOOL'"}
    assert extra.json == {"error": "row 0 has 'IN_X', which the model does not take"}
    assert "row 0: not an object" in bare.json["error"]


def test_tfs_4_columns_are_a_tensor_or_named_tensors(samples: Service) -> None:
    path = "/v1/models/floats:predict"
    columns = {key: [value, value] for key, value in identity_row(7).items()}

    bare = samples.ask("POST", path, {"inputs": [[1.5], [2.5]]})
    named = samples.ask("POST", path, {"inputs": {"x": [[1.5]]}})
    several = samples.ask("POST", "/v1/models/identity:predict", {"inputs": columns})
    nameless = samples.ask("POST", "/v1/models/identity:predict", {"inputs": [[1]]})

    assert bare.json == {"outputs": [[1.5], [2.5]]}
    assert named.json == {"outputs": [[1.5]]}
    assert several.json["outputs"]["OUT_INT8"] == [[7], [7]]
    assert '"inputs" must be an object' in nameless.json["error"]


def test_tfs_5_bytes_are_base64_both_ways(samples: Service) -> None:
    encoded = base64.b64encode("Zürich".encode()).decode()
    path = "/v1/models/words:predict"

    reply = samples.ask("POST", path, {"instances": [{"b64": encoded}, "plain"]})
    malformed = samples.ask("POST", path, {"instances": [{"b64": "=!"}]})
    more_keys = samples.ask("POST", path, {"instances": [{"b64": encoded, "other": 1}]})

    assert reply.json == {"predictions": [{"b64": encoded}, {"b64": "cGxhaW4="}]}
    assert (malformed.status, more_keys.status) == (400, 400)


def test_tfs_6_numbers_may_be_bare_nan_and_infinity_both_ways(samples: Service) -> None:
    body = b'{"instances": [[NaN], [Infinity], [-Infinity], [1e2], [1e39]]}'

    reply = samples.ask("POST", "/v1/models/floats:predict", body)
    values = [row[0] for row in json.loads(reply.body)["predictions"]]

    assert reply.status == 200
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 100, math.inf]
    assert b"NaN" in reply.body


def test_tfs_7_status_tells_of_one_version_or_all(samples: Service) -> None:
    every = samples.ask("GET", "/v1/models/prices").json["model_version_status"]
    one = samples.ask("GET", "/v1/models/prices/versions/2").json["model_version_status"]
    nameless = samples.ask("GET", "/v1/models")

    assert [(status["version"], status["state"]) for status in every] == [
        ("1", "AVAILABLE"),
        ("2", "AVAILABLE"),
    ]
    assert one == [
        {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert (nameless.status, nameless.json) == (400, {"error": "Missing model name in request."})


def standing(service: Service, path: str) -> tuple[str, str, str]:
    """Return state, error code and error message of the only version that a status tells of."""
    (one,) = service.ask("GET", f"/v1/models/{path}").json["model_version_status"]
    return one["state"], one["status"]["error_code"], one["status"]["error_message"]


def test_tfs_7_a_version_that_was_unloaded_ended_well(samples: Service) -> None:
    before = standing(samples, "floats")
    samples.ask("POST", "/v2/repository/models/floats/unload")
    unloaded = [standing(samples, path) for path in ("floats", "floats/versions/1")]
    samples.ask("POST", "/v2/repository/models/floats/load")

    assert unloaded == [("END", "OK", "")] * 2
    assert standing(samples, "floats") == before == ("AVAILABLE", "OK", "")


def test_tfs_7_a_version_that_failed_to_load_ended_with_an_error() -> None:
    with running() as service:
        service.serve(prices_export(3).with_file("model.onnx", b"not a model"))

        state, code, text = standing(service, "prices/versions/3")

    assert (state, code) == ("END", "FAILED_PRECONDITION")
    assert "ONNX Runtime refuses it" in text


def test_tfs_7_a_version_that_is_being_loaded_has_no_error_yet() -> None:
    with running() as service:
        service.catalogue.want(prices_export(3).alias, lazy=False)

        assert standing(service, "prices/versions/3") == ("LOADING", "OK", "")


def test_tfs_7_a_version_that_waits_for_its_first_request_has_not_begun() -> None:
    with running() as service:
        service.catalogue.want(prices_export(3).alias, lazy=True)

        assert standing(service, "prices/versions/3") == ("START", "OK", "")


@pytest.mark.parametrize("path", ["prices/versions/9", "prices/labels/cats", "cats"])
def test_tfs_7_of_what_never_was_there_is_no_status(samples: Service, path: str) -> None:
    reply = samples.ask("GET", f"/v1/models/{path}")

    assert (reply.status, list(reply.json)) == (404, ["error"])


def test_tfs_8_metadata_is_of_the_latest_version_unless_one_is_named(samples: Service) -> None:
    latest = samples.ask("GET", "/v1/models/prices/metadata").json
    first = samples.ask("GET", "/v1/models/prices/versions/1/metadata").json
    signature = latest["metadata"]["signature_def"]["signature_def"]["serving_default"]

    assert latest["model_spec"] == {"name": "prices", "signature_name": "", "version": "2"}
    assert first["model_spec"]["version"] == "1"
    assert signature["inputs"]["columns"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["columns"]["tensor_shape"]["dim"]] == [
        "-1",
        "2",
    ]


def test_tfs_9_regress_and_classify_answer_results(samples: Service) -> None:
    regress = {"context": {"town": "Bonn"}, "examples": [{"rooms": 3}, {"rooms": [1]}]}
    classify = {"examples": [{"image": [0, 0, 0, 0]}]}

    prices = samples.ask("POST", "/v1/models/prices:regress", regress)
    shapes = samples.ask("POST", "/v1/models/shapes:classify", classify)

    assert prices.json == {"results": [15, 13]}
    assert shapes.json == {"results": [[["light", 0.5], ["dark", 0.5]]]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("prices:classify", {"examples": [{"rooms": 1, "town": "Aa"}]}),
        ("shapes:regress", {"examples": [{"image": [0, 0, 0, 0]}]}),
        ("floats:regress", {"examples": [{"x": 1}]}),
        ("prices:regress", {"examples": []}),
        ("prices:regress", {"examples": [1]}),
        ("prices:regress", {"instances": []}),
        ("prices:regress", {"signature_name": "x", "examples": [{"rooms": 1, "town": "Aa"}]}),
        ("prices:regress", {"examples": [{"rooms": 1}]}),
    ],
)
def test_tfs_9_what_is_no_example_is_refused(
    samples: Service, path: str, body: dict[str, object]
) -> None:
    assert samples.ask("POST", f"/v1/models/{path}", body).status == 400


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (Invalid("x"), 400),
        (Unknown("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (TooMany(1.0), 429),
        (QueueFull("x"), 429),
        (DeadlinePassed("x"), 503),
        (Unavailable("x"), 503),
        (RondoError("x"), None),
    ],
)
def test_tfs_10_each_family_of_errors_has_its_status(exc: RondoError, status: int | None) -> None:
    assert status_of(exc) == (None if status is None else HTTPStatus(status))


def test_tfs_10_an_error_is_one_text(samples: Service) -> None:
    reply = samples.ask("POST", "/v1/models/cats:predict", ROW)

    assert reply.status == 404
    assert list(reply.json) == ["error"]


def test_tfs_11_replies_are_json_and_the_requests_type_does_not_matter(samples: Service) -> None:
    for kind in ("", "text/plain", "application/x-www-form-urlencoded"):
        reply = samples.ask("POST", "/v1/models/prices:predict", ROW, content_type=kind)

        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")


def test_tfs_11_other_sites_may_ask_only_by_flag() -> None:
    statuses, allowed = [], []
    for cors in (False, True):
        with running(cors=cors) as service:
            service.serve(prices_export())
            path = "/v1/models/prices:predict"
            option = service.ask("OPTIONS", path, origin="https://example.org")
            plain = service.ask("POST", path, ROW, origin="https://example.org")
            odd = service.ask("OPTIONS", path, origin="file://x")
            statuses.append((option.status, plain.status, odd.status))
            allowed.append(plain.headers.get("access-control-allow-origin"))

    assert statuses == [(405, 200, 405), (200, 200, 400)]
    assert allowed == [None, "*"]


def test_pages_of_other_sites_send_and_read_the_headers_of_every_contract() -> None:
    with running(cors=True) as service:
        service.serve(prices_export())
        path = "/v1/models/prices:predict"
        option = service.ask("OPTIONS", path, origin="https://example.org")
        plain = service.ask("POST", path, ROW, origin="https://example.org")

    sent = option.headers["access-control-allow-headers"].split(", ")
    read = plain.headers["access-control-expose-headers"].split(", ")
    assert {"inference-header-content-length", "x-amzn-sagemaker-target-model"} < set(sent)
    assert {"x-amz-invocation-type", "traceparent", "content-encoding"} < set(sent)
    assert {name for name in plain.headers if name.startswith("x-")} < set(read)
    assert {"x-rondo-warnings", "x-amz-function-error", "retry-after"} < set(read)


def test_tfs_12_a_label_never_hits_a_version_that_is_not_loaded() -> None:
    with running() as service:
        service.serve(prices_export(1, label="beta"))
        broken = prices_export(2, label="beta").with_file("model.onnx", prices_onnx(9))
        service.serve(broken)

        reply = service.ask("POST", "/v1/models/prices/labels/beta:predict", ROW)
        statuses = service.ask("GET", "/v1/models/prices").json["model_version_status"]

    assert (reply.status, reply.headers["x-rondo-version"]) == (200, "1")
    assert [status["state"] for status in statuses] == ["AVAILABLE", "END"]


def test_files_are_read_on_this_route_too(samples: Service) -> None:
    path = "/v1/models/prices:predict"

    reply = samples.ask("POST", path, b"rooms,town\n3,Bonn\n", content_type="text/csv")

    assert (reply.status, reply.body) == (200, b"price\n15.0\n")


def test_pictures_are_base64_in_json_too() -> None:
    with running() as service:
        service.serve(shapes_export())
        reply = service.ask("POST", "/v1/models/shapes:predict", {"instances": [{"b64": "AAAA"}]})

    assert (reply.status, reply.json["error"]) == (400, "row 0: is neither PNG nor JPEG")
