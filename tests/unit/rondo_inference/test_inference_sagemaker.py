"""SageMaker's contracts and others, by requirement (SM, MME, MCE, BT, LB, K8)."""

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rondo_core.errors import SettingsInvalid
from rondo_core.model_rows import AliasRow
from rondo_core.settings import read_settings
from rondo_inference.command import environment
from rondo_inference.domain.npy import decode_npy, decode_npz, encode_npy, encode_npz
from rondo_inference.registry.served import ServedModel
from rondo_inference.settings import Settings
from rondo_inference.web.connection import Connection
from tests.unit.rondo_inference.asked import Reply, Service, Wire, head, running
from tests.unit.rondo_inference.exported import (
    identity_onnx,
    prices_export,
    sample_folder,
    shapes_export,
    write_onnx,
    write_version,
)

ROW = {"instances": [[3, "Bonn"]]}
VENDOR = "application/vnd.sagemaker-triton.binary+json"


def invoke(service: Service, body: object, model: str = "prices", **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.ask("POST", f"/invocations?model={model}", data, **headers)


def picture(kind: str = "PNG", size: tuple[int, int] = (2, 2), value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, value).save(file, kind)
    return file.getvalue()


def settings(argv: list[str], **environ: str) -> Settings:
    return read_settings(Settings, environment(argv, environ))


# --- one model ------------------------------------------------------------------------------------


def test_sm_1_the_container_is_started_with_serve_and_reads_opt_ml_model() -> None:
    found = settings(["serve"])

    assert (found.models_folder, found.port) == ("/opt/ml/model", 8080)
    assert settings([]).models_folder is None


def test_sm_1_the_folder_may_hold_one_version_alone(tmp_path: Path) -> None:
    write_version(prices_export(2), tmp_path)

    with running(models=tmp_path / "prices" / "2") as service:
        reply = service.ask("POST", "/invocations", ROW)

    assert reply.json == {"predictions": [[15]]}


def test_sm_2_invocations_and_ping_are_there(samples: Service) -> None:
    assert samples.ask("GET", "/ping").status == 200
    assert invoke(samples, ROW).json == {"predictions": [[15]]}


def test_sm_3_ping_has_an_empty_body_and_says_no_before_the_models_are_there() -> None:
    with running() as service:
        before = service.ask("GET", "/ping")
        service.serve(prices_export())
        after = service.ask("GET", "/ping")

    assert (before.status, before.body) == (503, b"")
    assert (after.status, after.body) == (200, b"")


def test_sm_4_unknown_headers_are_ignored_and_attributes_name_the_version(
    samples: Service,
) -> None:
    reply = invoke(
        samples,
        ROW,
        x_amzn_sagemaker_custom_attributes="a=b",
        x_amzn_sagemaker_inference_id="7",
        x_amzn_sagemaker_enable_explanations="no",
        x_unheard_of="1",
    )

    attributes = reply.headers["x-amzn-sagemaker-custom-attributes"]
    assert reply.status == 200
    assert attributes == "rondo-model=prices; rondo-version=2; rondo-run=run-a/20"
    assert len(attributes) <= 1024


def test_sm_5_errors_are_short_and_say_what_is_wrong(samples: Service) -> None:
    reply = invoke(samples, {"instances": [["x" * 50_00, "Bonn"]]})

    assert reply.status == 400
    assert len(reply.body) < 2100
    assert reply.json["rows"] == [
        {"row": 0, "column": "rooms", "rule": reply.json["rows"][0]["rule"]}
    ]


@pytest.mark.parametrize("limit", [6_291_456, 26_214_400])
def test_sm_6_a_body_up_to_the_limit_is_taken_and_one_byte_more_is_not(limit: int) -> None:
    body = json.dumps(ROW).encode()
    with running(max_body_bytes=limit) as service:
        service.serve(prices_export())
        fits = service.ask("POST", "/invocations", body.ljust(limit))
        longer = service.ask("POST", "/invocations", body.ljust(limit + 1))

    assert (fits.status, longer.status) == (200, 413)


def test_sm_7_binary_tensors_come_with_a_content_type_of_their_own(samples: Service) -> None:
    blob = np.array([[1.5]], "<f4").tobytes()
    described = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 1],
        "parameters": {"binary_data_size": 4},
    }
    message = {"inputs": [described], "parameters": {"binary_data_output": True}}
    text = json.dumps(message).encode()

    kind = f"{VENDOR};json-header-size={len(text)}"
    reply = invoke(samples, text + blob, "floats", content_type=kind)
    media, _, size = reply.headers["content-type"].partition(";json-header-size=")

    assert (reply.status, media) == (200, VENDOR)
    assert reply.body[int(size) :] == blob


@pytest.mark.parametrize("size", ["", "x", "-1", "99999", "99999999999999999999999"])
def test_sm_7_five_malformed_sizes_are_refused(samples: Service, size: str) -> None:
    kind = f"{VENDOR};json-header-size={size}"

    assert invoke(samples, b"{}", "floats", content_type=kind).status == 400


PRICE_JSON = b'{"predictions":[{"price":15.0}]}'


@pytest.mark.parametrize(
    ("body", "kind", "accept", "answer"),
    [
        (b'[[3, "Bonn"]]', "application/json", "", b'{"predictions":[[15.0]]}'),
        (b"rooms,town\n3,Bonn\n", "text/csv", "", b"price\n15.0\n"),
        (b"3,Bonn\n", "text/csv", "application/json", PRICE_JSON),
        (b'[3, "Bonn"]\n\n', "application/jsonlines", "", b'{"price":15.0}\n'),
        (b'{"rooms":3,"town":"Bonn"}', "application/jsons", "", b'{"price":15.0}\n'),
        (b"rooms,town\n3,Bonn\n", "text/csv", "application/x-ndjson", b'{"price":15.0}\n'),
        (encode_npy(np.array([[3.0, 1.0]])), "application/x-npy", "text/csv", b"price\n15.0\n"),
        (
            encode_npz({"arr_0": np.array([[3, 1]])}),
            "application/x-npz",
            "application/json",
            PRICE_JSON,
        ),
    ],
)
def test_sm_8_media_types_in_and_out(
    samples: Service, body: bytes, kind: str, accept: str, answer: bytes
) -> None:
    reply = invoke(samples, body, content_type=kind, accept=accept)

    assert (reply.status, reply.body) == (200, answer)


def test_sm_8_arrays_come_back_as_arrays(samples: Service) -> None:
    npy = invoke(samples, encode_npy(np.array([[3.0, 1.0]])), content_type="application/x-npy")
    npz = invoke(samples, ROW, accept="application/x-npz")

    assert decode_npy(npy.body).tolist() == [[15]]
    assert decode_npz(npz.body, max_bytes=10_000)["price"].tolist() == [[15]]


def test_sm_8_other_types_are_refused_both_ways(samples: Service) -> None:
    unread = invoke(samples, b"x", content_type="application/pdf")
    unwritten = invoke(samples, ROW, accept="application/pdf")

    assert (unread.status, unwritten.status) == (415, 406)


def test_sm_8_one_csv_column_is_a_flat_list(samples: Service) -> None:
    words = invoke(samples, b"a\nb\n", "words", content_type="text/csv")
    floats = invoke(samples, b"1,2\n3,4\n", "floats", content_type="text/csv")

    assert words.body == b"y_bytes\na\nb\n"
    assert floats.body == b"y_0,y_1\n1.0,2.0\n3.0,4.0\n"


@pytest.mark.parametrize(
    "body",
    [
        np.array([{"a": 1}], object).dumps(),
        b"\x93NUMPY\x01\x00\x08\x00{'x':1}\n",
        encode_npy(np.zeros((1, 2)))[:-1],
        b"\x93NUMPY\x07\x00\x08\x00{'x':1}\n",
        encode_npy(np.zeros((1, 2))).replace(b"<f8", b"|O8"),
        encode_npy(np.zeros((1, 2))).replace(b"(1, 2)", b"(-1,2)"),
    ],
)
def test_sm_8_arrays_are_never_unpickled_and_malformed_ones_are_refused(
    samples: Service, body: bytes
) -> None:
    assert invoke(samples, body, content_type="application/x-npy").status == 400


def test_sm_8_archives_are_read_within_bounds(samples: Service) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1_000_000))

    large = invoke(samples, bomb.getvalue(), content_type="application/x-npz")
    malformed = invoke(samples, b"PK\x03\x04", content_type="application/x-npz")

    assert (large.status, malformed.status) == (400, 400)
    assert "unpacks to 1000000 bytes" in large.json["error"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_sm_8_pictures_are_read(samples: Service, kind: str) -> None:
    reply = invoke(samples, picture(kind), "shapes", content_type=f"image/{kind.lower()}")

    assert reply.json == {
        "predictions": [{"label": "light", "probabilities": {"light": 0.5, "dark": 0.5}}]
    }


def test_sm_8_a_picture_of_another_size_is_refused_or_resized() -> None:
    body, statuses = picture(size=(4, 6)), []
    for size in ("refuse", "resize"):
        with running(picture_size=size) as service:
            service.serve(shapes_export())
            statuses.append(invoke(service, body, "shapes", content_type="image/png").status)

    assert statuses == [400, 200]


@pytest.mark.parametrize("body", [b"", b"\x89PNG\r\n\x1a\n", picture()[:40], b"GIF89a"])
def test_sm_8_what_is_no_picture_is_refused(samples: Service, body: bytes) -> None:
    reply = invoke(samples, body, "shapes", content_type="image/png")

    assert (reply.status, reply.json["error"][:6]) == (400, "row 0:")


def form(*parts: tuple[str, bytes]) -> tuple[bytes, str]:
    body = b"".join(
        b"--cut\r\nContent-Disposition: form-data; "
        + head.encode()
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        for head, content in parts
    )
    return body + b"--cut--\r\n", "multipart/form-data; boundary=cut"


FILE = 'name="file"; filename="{}"\r\nContent-Type: {}'


@pytest.mark.parametrize(
    ("parts", "model", "count"),
    [
        ([(FILE.format("a.png", "image/png"), picture())] * 3, "shapes", 3),
        ([(FILE.format("a.csv", "text/csv"), b"rooms,town\n3,Bonn\n")], "prices", 1),
        ([(FILE.format("a.npy", "application/octet-stream"), encode_npy(np.ones((2, 2)) * 0))],
         "prices", 2),
        ([(FILE.format("a.json", "application/json"), json.dumps(ROW).encode())], "prices", 1),
        ([('name="rooms"', b"3"), ('name="town"', b"Bonn")], "prices", 1),
    ],
)  # fmt: skip
def test_sm_8_forms_are_read(
    samples: Service, parts: list[tuple[str, bytes]], model: str, count: int
) -> None:
    body, kind = form(*parts)

    reply = invoke(samples, body, model, content_type=kind)

    assert (reply.status, len(reply.json["predictions"])) == (200, count)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=cut"),
        (b"--cut\r\nno head", "multipart/form-data; boundary=cut"),
        (b"--cut\r\nno head\r\n--cut--", "multipart/form-data; boundary=cut"),
        (form(('name="rooms"', b"3"))[0][:-4], "multipart/form-data; boundary=cut"),
        form((FILE.format("a.csv", "text/csv"), b"x"), (FILE.format("b.csv", "text/csv"), b"x")),
        form(('name="rooms"', b"3")),
    ],
)
def test_sm_8_malformed_forms_are_refused(samples: Service, body: bytes, kind: str) -> None:
    assert invoke(samples, body, content_type=kind).status == 400


# --- many models ----------------------------------------------------------------------------------


@pytest.fixture
def many() -> Iterator[Service]:
    with running(many=True) as found:
        yield found


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return sample_folder(tmp_path)


def load(service: Service, name: str, folder: object) -> Reply:
    return service.ask("POST", "/models", {"model_name": name, "url": str(folder)})


def test_mme_1_a_model_is_loaded_once(many: Service, artifacts: Path) -> None:
    url = str(artifacts / "prices")

    first, again = load(many, "hash1", url), load(many, "hash1", url)

    assert (first.status, first.json) == (200, {"modelName": "hash1", "modelUrl": url})
    assert again.status == 409


def test_mme_1_an_artifact_that_cannot_be_read_is_not_found(many: Service, artifacts: Path) -> None:
    write_onnx(artifacts, "broken", b"not a model")

    statuses = [
        load(many, "a", artifacts / "broken").status,
        load(many, "b", artifacts / "nowhere").status,
        load(many, "c", artifacts).status,
        load(many, "a", artifacts / "prices").status,
    ]

    assert statuses == [404, 404, 404, 200]


def test_mme_1_without_room_the_answer_is_507_and_nothing_stays(artifacts: Path) -> None:
    with running(many=True, model_memory_bytes=1) as service:
        refused = load(service, "hash1", artifacts / "prices")
        listed = service.ask("GET", "/models").json

    assert (refused.status, listed) == (507, {"models": []})


def test_mme_2_loaded_models_are_listed_page_by_page(many: Service, artifacts: Path) -> None:
    for number in range(101):
        load(many, f"hash{number:03}", artifacts / "floats")

    first = many.ask("GET", "/models").json
    second = many.ask("GET", f"/models?next_page_token={first['nextPageToken']}").json
    malformed = many.ask("GET", "/models?next_page_token=%ff")

    assert len(first["models"]) == 100
    assert first["models"][0] == {"modelName": "hash000", "modelUrl": str(artifacts / "floats")}
    assert [one["modelName"] for one in second["models"]] == ["hash100"]
    assert "nextPageToken" not in second
    assert malformed.status == 400


def test_mme_3_one_model_is_described_or_not_found(many: Service, artifacts: Path) -> None:
    load(many, "hash1", artifacts / "prices")

    found, missing = many.ask("GET", "/models/hash1"), many.ask("GET", "/models/hash2")

    assert found.json == {"modelName": "hash1", "modelUrl": str(artifacts / "prices")}
    assert missing.status == 404


def test_mme_4_a_deleted_model_is_gone_and_its_memory_with_it(
    many: Service, artifacts: Path
) -> None:
    load(many, "hash1", artifacts / "prices")
    before = many.parts.memory.used_bytes

    deleted = many.ask("DELETE", "/models/hash1")

    assert before > 0
    assert (deleted.status, many.parts.memory.used_bytes) == (200, 0)
    assert many.ask("DELETE", "/models/hash1").status == 404
    assert many.ask("POST", "/models/hash1/invoke", ROW).status == 404
    assert load(many, "hash1", artifacts / "prices").status == 200


def test_mme_5_a_loaded_model_is_invoked_by_name(many: Service, artifacts: Path) -> None:
    load(many, "hash1", artifacts / "prices")

    reply = many.ask(
        "POST",
        "/models/hash1/invoke",
        b"3,Bonn\n",
        content_type="text/csv",
        accept="application/jsonlines",
        x_amzn_sagemaker_target_model="some/model.tar.gz",
    )

    assert (reply.status, reply.body) == (200, b'{"price":15.0}\n')
    assert many.ask("POST", "/models/other/invoke", ROW).status == 404


@pytest.mark.parametrize(
    "url", ["/proc/self", "/sys", "/dev/mem", "relative", "/opt/../proc", "/a\0b", "file:///dev"]
)
def test_mme_6_names_are_opaque_and_odd_places_are_refused(many: Service, url: str) -> None:
    assert load(many, "../../etc".replace("/", "_"), url).status == 400


def test_mme_7_ping_is_well_without_a_model(many: Service) -> None:
    assert many.ask("GET", "/ping").status == 200


def test_mme_8_an_evicted_model_is_loaded_again_when_it_is_invoked(artifacts: Path) -> None:
    with running(many=True, model_memory_bytes=3_000_000) as service:
        service.parts.memory.measure = iter(range(0, 10**9, 1_000_000)).__next__
        for name in ("a", "b", "c", "d"):
            assert load(service, name, artifacts / "prices").status == 200
            service.clock.advance(1)
        listed = [one["modelName"] for one in service.ask("GET", "/models").json["models"]]
        invoked = service.ask("POST", "/models/a/invoke", ROW)

    assert listed == ["b", "c", "d"]
    assert invoked.json == {"predictions": [[15]]}


def test_mme_8_an_evicted_model_is_deleted_or_loaded_again(artifacts: Path) -> None:
    with running(many=True, model_memory_bytes=3_000_000) as service:
        service.parts.memory.measure = iter(range(0, 10**9, 1_000_000)).__next__
        for name in ("a", "b", "c", "d", "e"):
            load(service, name, artifacts / "prices")
            service.clock.advance(1)
        before = [service.ask("GET", f"/models/{name}").status for name in ("a", "b")]
        deleted = service.ask("DELETE", "/models/a")
        gone = service.ask("POST", "/models/a/invoke", ROW).status
        again = load(service, "b", artifacts / "floats")
        served = service.ask("POST", "/models/b/invoke", {"instances": [[1.5]]})

    assert before == [404, 404]
    assert (deleted.status, deleted.json["modelName"], gone) == (200, "a", 404)
    assert (again.status, again.json["modelUrl"]) == (200, str(artifacts / "floats"))
    assert served.json == {"predictions": [[1.5]]}


def test_mme_8_nothing_stays_of_a_load_that_breaks(many: Service, artifacts: Path) -> None:
    memory = many.parts.memory
    loads, memory.load = memory.load, {}.__getitem__  # type: ignore[assignment]

    broken = load(many, "a", artifacts / "prices").status
    memory.load = loads

    assert (broken, many.catalogue.names()) == (500, [])
    assert load(many, "a", artifacts / "prices").status == 200


def test_mme_8_nothing_stays_of_a_load_that_is_cancelled(many: Service, artifacts: Path) -> None:
    memory, go_on = many.parts.memory, threading.Event()
    loads = memory.load

    def slow(alias: AliasRow) -> ServedModel:
        go_on.wait(30)
        return loads(alias)

    async def cancelled() -> int:
        body = json.dumps({"model_name": "a", "url": str(artifacts / "prices")}).encode()
        ask = partial(many.app.respond, many.app.admit("POST", "/models", "", {}), body)
        first = asyncio.create_task(ask())
        await asyncio.sleep(0)  # now it waits for the load
        second = await ask()
        first.cancel()
        await asyncio.wait([first])
        names = many.catalogue.names()
        go_on.set()
        assert (first.cancelled(), names) == (True, [])
        return second.status

    memory.load = slow
    assert asyncio.run(cancelled()) == 409
    assert load(many, "a", artifacts / "prices").status == 200


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"model_name": "a"}', b'{"model_name": "", "url": "/tmp"}',
             b'{"model_name": "a/b", "url": "/tmp"}', b"\xff"]
)  # fmt: skip
def test_mme_9_a_malformed_load_is_a_bad_request(many: Service, body: bytes) -> None:
    assert many.ask("POST", "/models", body).status == 400


def test_without_the_setting_nobody_loads_from_the_disk(samples: Service, tmp_path: Path) -> None:
    assert load(samples, "a", tmp_path).status == 404


# --- others ---------------------------------------------------------------------------------------


def test_mce_1_the_port_is_the_one_that_sagemaker_names() -> None:
    bound = settings(["serve"], SAGEMAKER_BIND_TO_PORT="8099")
    chosen = settings(["serve", "--port", "7"], SAGEMAKER_BIND_TO_PORT="8099")

    assert (bound.port, chosen.port) == (8099, 7)


def test_mce_1_other_ports_are_inside_the_range() -> None:
    inside = settings(["serve", "--grpc-port", "9005"], SAGEMAKER_SAFE_PORT_RANGE="9000-9010")

    assert inside.grpc_port == 9005
    with pytest.raises(SettingsInvalid, match="GRPC_PORT=8001 is outside"):
        settings(["serve", "--grpc-port", "8001"], SAGEMAKER_SAFE_PORT_RANGE="9000-9010")


def test_bt_1_execution_parameters_suit_the_process() -> None:
    with running(threads=3, max_body_bytes=6 * 1024 * 1024) as service:
        found = service.ask("GET", "/execution-parameters").json

    assert found == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 6,
    }


def test_bt_1_one_output_line_per_input_line_in_order(samples: Service) -> None:
    body = b"".join(f'[{number}, "Aa"]\n'.encode() for number in range(200))

    reply = invoke(samples, body, content_type="application/jsonlines")

    lines = [json.loads(line)["price"] for line in reply.body.splitlines()]
    assert lines == [number + 2 for number in range(200)]


def call_function(service: Service, body: object, name: str = "prices", **headers: str) -> Reply:
    path = f"/2015-03-31/functions/{name}/invocations"
    return service.ask("POST", path, json.dumps(body).encode(), **headers)


def test_lb_1_a_function_is_a_model_and_its_qualifier_a_version(samples: Service) -> None:
    latest = call_function(samples, ROW)
    first = samples.ask("POST", "/2015-03-31/functions/prices/invocations?Qualifier=candidate", ROW)
    dry = call_function(samples, ROW, x_amz_invocation_type="DryRun")

    assert (latest.json, latest.headers["x-amz-executed-version"]) == ({"predictions": [[15]]}, "2")
    assert first.headers["x-amz-executed-version"] == "1"
    assert (dry.status, dry.body) == (204, b"")


def test_lb_1_what_the_function_finds_wrong_is_in_a_header(samples: Service) -> None:
    wrong = call_function(samples, {"instances": [[1]]})
    missing = call_function(samples, ROW, "cats")

    assert (wrong.status, wrong.headers["x-amz-function-error"]) == (200, "Unhandled")
    assert wrong.json["errorType"] == "RowFaults"
    assert missing.status == 404


@pytest.mark.parametrize(
    ("kind", "most", "status"),
    [("RequestResponse", 6, 200), ("DryRun", 6, 204), ("Event", 1, 202)],
)
def test_lb_1_a_payload_over_so_many_megabytes_is_refused(
    kind: str, most: int, status: int
) -> None:
    with running(max_body_bytes=8_000_000) as service:
        service.serve(prices_export())
        path, body = "/2015-03-31/functions/prices/invocations", json.dumps(ROW).encode()
        longest, longer = (body.ljust(most * 1024 * 1024 + more) for more in (0, 1))
        fits = service.ask("POST", path, longest, x_amz_invocation_type=kind)
        refused = service.ask("POST", path, longer, x_amz_invocation_type=kind)

    assert (fits.status, refused.status) == (status, 413)
    assert refused.headers["x-amzn-errortype"] == "RequestTooLargeException"


@pytest.mark.parametrize("body", [ROW, {"instances": [[1]]}])
def test_lb_1_an_event_is_accepted_and_nobody_is_told_what_came_of_it(
    samples: Service, body: dict[str, object]
) -> None:
    reply = call_function(samples, body, x_amz_invocation_type="Event")

    assert (reply.status, reply.body, "x-amz-function-error" in reply.headers) == (202, b"", False)


def test_lb_1_a_payload_is_json_unless_it_is_said_to_be_a_file(samples: Service) -> None:
    path, row = "/2015-03-31/functions/prices/invocations", json.dumps(ROW).encode()
    kinds = ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain")
    answers = [samples.ask("POST", path, row, content_type=kind) for kind in kinds]
    table = samples.ask("POST", path, b"rooms,town\n3,Bonn\n", content_type="text/csv")

    assert [answer.json for answer in answers] == [{"predictions": [[15]]}] * len(kinds)
    assert table.body == b"price\n15.0\n"


ARN = "arn:aws:lambda:eu-central-1:123456789012:function:prices"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("prices:1", "1"),
        ("prices:candidate", "1"),
        ("prices:$LATEST", "2"),
        ("123456789012:function:prices", "2"),
        ("123456789012:function:prices:1", "1"),
        (ARN, "2"),
        (f"{ARN}:candidate", "1"),
        (f"{ARN}:1", "1"),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:prices:2", "2"),
    ],
)
def test_lb_1_a_function_is_named_by_name_or_arn_with_a_qualifier_or_without(
    samples: Service, name: str, version: str
) -> None:
    reply = call_function(samples, ROW, name)

    assert (reply.status, reply.headers.get("x-amz-executed-version")) == (200, version)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("arn:aws:s3:::prices", "is no name and no ARN of a function"),
        ("prices:1?Qualifier=2", "qualifier '2' is not that of the function, '1'"),
    ],
)
def test_lb_1_what_names_no_function_is_refused(samples: Service, name: str, text: str) -> None:
    name, _, query = name.partition("?")
    path = f"/2015-03-31/functions/{name}/invocations?{query}"

    reply = samples.ask("POST", path, ROW)

    assert reply.status == 400
    assert text in reply.json["Message"]


def test_lb_1_another_invocation_type_is_refused(samples: Service) -> None:
    reply = call_function(samples, ROW, x_amz_invocation_type="Later")

    assert (reply.status, reply.json["Type"]) == (400, "User")
    assert reply.headers["x-amzn-errortype"] == "InvalidParameterValueException"
    assert "'Later' is not one of RequestResponse, Event, DryRun" in reply.json["Message"]


def test_k8_1_readiness_goes_first_and_connections_are_closed_while_draining(
    samples: Service,
) -> None:
    samples.drain()

    ready, live = samples.ask("GET", "/v2/health/ready"), samples.ask("GET", "/v2/health/live")
    answer = invoke(samples, ROW)

    assert (ready.status, live.status, answer.status) == (503, 200, 200)
    assert answer.headers["connection"] == "close"


def test_identity_of_one_fixed_batch_is_served(tmp_path: Path) -> None:
    write_onnx(tmp_path, "fixed", identity_onnx("FP32", sides=(2, 1)))

    with running(models=tmp_path) as service:
        fits = service.ask("POST", "/v1/models/fixed:predict", {"inputs": [[1], [2]]})
        other = service.ask("POST", "/v1/models/fixed:predict", {"inputs": [[1]]})

    assert (fits.json, other.status) == ({"outputs": [[1], [2]]}, 400)


def test_mme_4_a_deleted_model_is_gone_for_who_asked_it_on_the_same_connection(
    many: Service, artifacts: Path
) -> None:
    load(many, "hash1", artifacts / "prices")
    body = json.dumps(ROW).encode()
    request = head("POST", "/models/hash1/invoke", {"content-length": str(len(body))}) + body

    async def conversation() -> list[int]:
        wire, connection = Wire(), Connection(many.shared())
        connection.connection_made(wire)
        for number in (1, 2):
            connection.data_received(request)
            await wire.until(number)
        await many.call("DELETE", "/models/hash1")
        connection.data_received(request)
        return [reply.status for reply in await wire.until(3)]

    assert asyncio.run(conversation()) == [200, 200, 404]
