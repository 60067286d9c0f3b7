"""The Open Inference Protocol over HTTP, requirement by requirement (OIP-1 to 8, BIN-1 to 5)."""

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from tests.unit.rondo_inference.asked import Reply, Service, running
from tests.unit.rondo_inference.exported import prices_export

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -2.0],
    "FP32": [0.1, -1e30],
    "FP64": [0.1, -1e300],
    "BYTES": ["", "Zürich"],
}
DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def tensor(name: str, datatype: str, shape: list[int], data: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def floats(data: object = (1.5, 2.5), shape: tuple[int, ...] = (2, 1)) -> dict[str, object]:
    return {"inputs": [tensor("x", "FP32", list(shape), data)]}


def infer(service: Service, body: object, model: str = "floats", **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.ask("POST", f"/v2/models/{model}/infer", data, **headers)


def raw(kind: str, values: list[Any]) -> bytes:
    if kind == "BYTES":
        return b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)
    return np.array(values, DTYPES[kind]).tobytes()


def binary(header: dict[str, Any], *blobs: bytes) -> tuple[bytes, int]:
    text = json.dumps(header).encode()
    return b"".join([text, *blobs]), len(text)


def ask_binary(
    service: Service, header: dict[str, Any], *blobs: bytes, model: str = "floats"
) -> Reply:
    body, size = binary(header, *blobs)
    return infer(service, body, model, inference_header_content_length=str(size))


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/v2", {"name", "version", "extensions"}),
        ("/v2/models/prices", {"name", "versions", "platform", "inputs", "outputs"}),
        ("/v2/models/prices/versions/1", {"name", "versions", "platform", "inputs", "outputs"}),
        ("/v2/models/prices/ready", {"name", "ready"}),
        ("/v2/models/prices/versions/1/ready", {"name", "ready"}),
        ("/v2/health/live", {"live"}),
        ("/v2/health/ready", {"live", "ready"}),
    ],
)
def test_oip_1_every_path_is_there(samples: Service, path: str, keys: set[str]) -> None:
    reply = samples.ask("GET", path)

    assert (reply.status, set(reply.json)) == (200, keys)


def test_oip_1_a_version_can_be_named(samples: Service) -> None:
    body = {"inputs": [tensor("columns", "FP32", [1, 2], [3, 1])]}

    first = infer(samples, body, "prices/versions/1")
    latest = infer(samples, body, "prices")

    assert (first.json["model_version"], first.json["outputs"][0]["data"]) == ("1", [14])
    assert (latest.json["model_version"], latest.json["outputs"][0]["data"]) == ("2", [15])


def test_oip_2_the_id_comes_back_and_outputs_are_chosen(samples: Service) -> None:
    every = infer(samples, floats() | {"id": "7"})
    chosen = infer(samples, floats() | {"outputs": [{"name": "y"}]})
    unknown = infer(samples, floats() | {"outputs": [{"name": "z"}]})

    assert every.json["id"] == "7"
    assert "id" not in chosen.json
    assert (unknown.status, unknown.json) == (
        400,
        {"error": "the model has no output 'z'; it has 'y'"},
    )


@pytest.mark.parametrize("data", [[1.5, 2.5], [[1.5], [2.5]]])
def test_oip_3_data_may_be_flat_or_nested(samples: Service, data: list[object]) -> None:
    reply = infer(samples, floats(data))

    assert reply.json == {
        "model_name": "floats",
        "model_version": "1",
        "outputs": [tensor("y", "FP32", [2, 1], [1.5, 2.5])],
    }


def test_oip_4_errors_have_a_status_and_a_text(samples: Service) -> None:
    refused, unknown = infer(samples, {"inputs": []}), infer(samples, floats(), "cats")
    with running() as service:
        service.promote(prices_export().with_file("model.onnx", b"broken"))
        service.watcher.scan()
        away = infer(service, floats(), "prices")

    assert [reply.status for reply in (refused, unknown, away)] == [400, 404, 503]
    assert all(list(reply.json) == ["error"] for reply in (refused, unknown, away))


@pytest.mark.parametrize("as_binary", [False, True])
def test_oip_5_every_datatype_goes_in_and_out(samples: Service, *, as_binary: bool) -> None:
    shape = [1, 2]
    if as_binary:
        blobs = [raw(kind, values) for kind, values in VALUES.items()]
        inputs: list[dict[str, object]] = [
            {
                "name": f"IN_{kind}",
                "datatype": kind,
                "shape": shape,
                "parameters": {"binary_data_size": len(blob)},
            }
            for kind, blob in zip(VALUES, blobs, strict=True)
        ]
        header = {"inputs": inputs, "parameters": {"binary_data_output": True}}
        reply = ask_binary(samples, header, *blobs, model="identity")
        size = int(reply.headers["inference-header-content-length"])

        assert reply.body[size:] == b"".join(blobs)
    else:
        inputs = [tensor(f"IN_{kind}", kind, shape, one) for kind, one in VALUES.items()]
        reply = infer(samples, {"inputs": inputs}, "identity")
        found = {one["name"]: one["data"] for one in reply.json["outputs"]}

        assert found.pop("OUT_FP32") == pytest.approx(VALUES["FP32"])
        assert found == {f"OUT_{k}": one for k, one in VALUES.items() if k != "FP32"}


def test_oip_5_metadata_has_minus_one_for_a_variable_side(samples: Service) -> None:
    found = samples.ask("GET", "/v2/models/floats").json

    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]


def test_oip_5_bf16_is_taken_where_the_model_takes_fp32(samples: Service) -> None:
    header = {
        "inputs": [
            {
                "name": "x",
                "datatype": "BF16",
                "shape": [1, 2],
                "parameters": {"binary_data_size": 4},
            }
        ]
    }

    reply = ask_binary(samples, header, struct.pack("<HH", 0x3F80, 0xC000))

    assert reply.json["outputs"][0]["data"] == [1.0, -2.0]


def test_oip_6_ready_means_all_models_are_and_live_stays_while_draining() -> None:
    statuses = []
    with running() as service:
        for step in ("start", "scanned", "draining"):
            if step == "scanned":
                service.serve(prices_export())
            if step == "draining":
                service.drain()
            replies = [service.ask("GET", f"/v2/health/{one}") for one in ("live", "ready")]
            statuses.append([reply.status for reply in replies])
            ready = replies[1].json

    assert statuses == [[200, 503], [200, 200], [200, 503]]
    assert ready == {"live": False, "ready": False}


def test_oip_6_a_model_that_cannot_be_loaded_is_not_ready() -> None:
    with running() as service:
        service.promote(prices_export().with_file("model.onnx", b"broken"))
        service.watcher.scan()

        assert service.ask("GET", "/v2/models/prices/ready").status == 503


def test_oip_8_the_repository_is_listed_loaded_and_unloaded(samples: Service) -> None:
    def index(ready: bool) -> list[tuple[str, str, str]]:  # noqa: FBT001
        reply = samples.ask("POST", "/v2/repository/index", {"ready": ready})
        return [
            (one["name"], one["version"], one["state"])
            for one in reply.json
            if one["name"] == "floats"
        ]

    before = index(ready=False)
    unload = samples.ask("POST", "/v2/repository/models/floats/unload", {"parameters": {}})
    after, only_ready = index(ready=False), index(ready=True)
    again = samples.ask("POST", "/v2/repository/models/floats/unload")
    load = samples.ask("POST", "/v2/repository/models/floats/load", {})
    twice = samples.ask("POST", "/v2/repository/models/floats/load", {})
    unknown = samples.ask("POST", "/v2/repository/models/cats/load", {})

    assert before == [("floats", "1", "READY")]
    assert (after, only_ready) == ([("floats", "1", "UNAVAILABLE")], [])
    assert index(ready=True) == before
    assert [reply.status for reply in (unload, again, load, twice, unknown)] == [
        200, 404, 200, 200, 404,
    ]  # fmt: skip
    assert samples.ask("POST", "/v2/repository/index", b"[").status == 400


def test_oip_8_statistics_count_rows_runs_and_failures(samples: Service) -> None:
    infer(samples, floats())
    infer(samples, floats())

    every = samples.ask("GET", "/v2/models/stats").json["model_stats"]
    (one,) = samples.ask("GET", "/v2/models/floats/versions/1/stats").json["model_stats"]
    unknown = samples.ask("GET", "/v2/models/cats/stats")

    assert len(every) > 1
    assert (one["name"], one["version"]) == ("floats", "1")
    assert (one["inference_count"], one["execution_count"]) == (4, 2)
    assert one["inference_stats"]["success"]["count"] == 2
    assert one["batch_stats"][0]["batch_size"] == 2
    assert one["last_inference"] > 0
    assert unknown.status == 404


def test_bin_1_numbers_are_little_endian_and_bytes_have_a_length(samples: Service) -> None:
    blob = struct.pack("<f", 1.5) + struct.pack("<f", -2.0)
    header = {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [2, 1],
                "parameters": {"binary_data_size": len(blob)},
            }
        ]
    }

    reply = ask_binary(samples, header, blob)

    assert reply.json["outputs"][0]["data"] == [1.5, -2.0]


def one_binary(size: object, shape: tuple[int, ...] = (1, 1), kind: str = "FP32") -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {
        "inputs": [{"name": "x", "datatype": kind, "shape": list(shape), "parameters": parameters}]
    }


@pytest.mark.parametrize("length", ["-1", "x", "999999", "", "1e2", "99999999999999"])
def test_bin_2_a_malformed_header_length_is_refused(samples: Service, length: str) -> None:
    body, _ = binary(one_binary(4), b"0000")

    reply = infer(samples, body, inference_header_content_length=length)

    assert (reply.status, list(reply.json)) == (400, ["error"])


@pytest.mark.parametrize(
    ("header", "blob"),
    [
        (one_binary(4), b"000"),
        (one_binary(4), b"00000"),
        (one_binary(8), b"0" * 8),
        (one_binary(-1), b"0000"),
        (one_binary("4"), b"0000"),
        (one_binary(True), b"0000"),
        (one_binary(4.0), b"0000"),
        (one_binary(4, (-1, -1)), b"0000"),
        (one_binary(0, (0, 1)), b""),
        (one_binary(4, (1, 2**62)), b"0000"),
        (one_binary(0, (2**62, 2**62, 0)), b""),
        (one_binary(0, (65_537, 0)), b""),
        (one_binary(8, (1, 2**40), "BYTES"), b"0" * 8),
        (one_binary(4, (1,) * 40), b"0000"),
        (one_binary(4, kind="FP99"), b"0000"),
        (one_binary(4, kind="INT32"), b"0000"),
        (one_binary(4, kind="BYTES"), b"\xff\xff\xff\xff"),
        (one_binary(8, (1, 1), "BYTES"), b"\x00\x00\x00\x00xxxx"),
        (one_binary(2, (1, 1), "BYTES"), b"xx"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1]}]}, b""),
    ],
)
def test_bin_2_blobs_that_do_not_fit_are_refused(
    samples: Service, header: dict[str, Any], blob: bytes
) -> None:
    reply = ask_binary(samples, header, blob)

    assert (reply.status, list(reply.json)) == (400, ["error"])


def test_bin_3_an_output_overrides_the_request_and_the_reply_tells_its_length(
    samples: Service,
) -> None:
    both = {"parameters": {"binary_data_output": True}}
    one = {"outputs": [{"name": "y", "parameters": {"binary_data": False}}]}

    as_json = infer(samples, floats() | both | one)
    as_binary = infer(samples, floats() | both)
    size = int(as_binary.headers["inference-header-content-length"])
    (described,) = json.loads(as_binary.body[:size])["outputs"]

    assert as_json.json["outputs"][0]["data"] == [1.5, 2.5]
    assert "inference-header-content-length" not in as_json.headers
    assert as_binary.headers["content-type"] == "application/octet-stream"
    assert described["parameters"] == {"binary_data_size": 8}
    assert as_binary.body[size:] == np.array([1.5, 2.5], "<f4").tobytes()
    assert infer(samples, floats() | {"parameters": {"binary_data_output": 1}}).status == 400


def test_bin_4_a_raw_body_is_the_one_input(samples: Service) -> None:
    reply = infer(samples, raw("FP32", [1, 2]), inference_header_content_length="0")
    words = infer(samples, b"all of it", "words", inference_header_content_length="0")
    several = infer(samples, b"1234", "identity", inference_header_content_length="0")
    odd = infer(samples, b"12345", inference_header_content_length="0")
    size = int(words.headers["inference-header-content-length"])

    assert reply.body.endswith(raw("FP32", [1, 2]))
    assert words.body[size:] == raw("BYTES", ["all of it"])
    assert [one.status for one in (several, odd)] == [400, 400]


def test_bin_5_the_extension_is_advertised(samples: Service) -> None:
    assert "binary_tensor_data" in samples.ask("GET", "/v2").json["extensions"]


def test_bin_5_json_and_binary_inputs_may_be_mixed(samples: Service) -> None:
    blob = raw("FP64", [2.5])
    inputs: list[dict[str, object]] = [
        {"name": f"IN_{kind}", "datatype": kind, "shape": [1, 1], "data": values[:1]}
        for kind, values in VALUES.items()
        if kind != "FP64"
    ]
    inputs.append(
        {
            "name": "IN_FP64",
            "datatype": "FP64",
            "shape": [1, 1],
            "parameters": {"binary_data_size": len(blob)},
        }
    )

    reply = ask_binary(samples, {"inputs": inputs}, blob, model="identity")

    assert {one["name"]: one["data"] for one in reply.json["outputs"]}["OUT_FP64"] == [2.5]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_bin_5_bodies_may_be_compressed(samples: Service, encoding: str, pack: Any) -> None:
    body, size = binary(one_binary(4), raw("FP32", [1.5]))

    reply = infer(
        samples, pack(body), content_encoding=encoding, inference_header_content_length=str(size)
    )

    assert reply.json["outputs"][0]["data"] == [1.5]


def test_a_table_may_be_sent_column_by_column(samples: Service) -> None:
    rooms, towns = (
        tensor("rooms", "INT64", [2], [3, 1]),
        tensor("town", "BYTES", [2, 1], ["Bonn", "Aa"]),
    )

    reply = infer(samples, {"inputs": [rooms, towns]}, "prices")
    missing = infer(samples, {"inputs": [rooms]}, "prices")
    unequal = infer(samples, {"inputs": [rooms, tensor("town", "BYTES", [1], ["Aa"])]}, "prices")
    extra = infer(
        samples, {"inputs": [rooms, towns, tensor("size", "INT64", [2], [1, 2])]}, "prices"
    )

    assert reply.json["outputs"][0]["data"] == [15, 3]
    assert [one.status for one in (missing, unequal, extra)] == [400, 400, 400]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is not JSON"),
        (b"[]", "not an inference request"),
        (b'{"inputs": 3}', "not an inference request"),
        (
            b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 9_000,
            "nested too",
        ),
        (floats([1, 2, 3]), "has 3 values, shape [2, 1] has 2"),
        (floats(["a", "b"]), "is not a tensor of FP32"),
        (floats([[1], [2, 3]]), "ragged"),
        (floats((), (0, 1)), "the batch is empty"),
        (floats([1], (1, 2**60)), f"has 1 values, shape [1, {2**60}] has {2**60}"),
        (floats([[1]], (2**60, 2**60)), "has 1 values"),
        (floats([], (0, 2**60)), f"shape [0, {2**60}] holds nothing"),
        (floats([], (2**60, 0)), "its other sides make up to 65536"),
        (floats([[]], (65_537, 0)), "its other sides make up to 65536"),
        (floats([1], (1,)), "has shape [1], the model takes [-1, -1]"),
        ({"inputs": [tensor("z", "FP32", [1, 1], [1])]}, "the model has no input 'z'"),
        ({"inputs": [tensor("x", "FP64", [1, 1], [1])]}, "is FP64, the model takes FP32"),
        ({"inputs": [tensor("x", "X", [1, 1], [1])]}, "datatype 'X' is none of"),
        ({"inputs": [tensor("x", "FP32", [1, 1], [1])] * 2}, "is there twice"),
    ],
)
def test_malformed_requests_are_refused_with_the_reason(
    samples: Service, body: object, error: str
) -> None:
    reply = infer(samples, body)

    assert reply.status == 400
    assert error in reply.json["error"]


def test_a_table_has_neither_columns_nor_inputs_of_other_names(samples: Service) -> None:
    reply = infer(samples, {"inputs": [tensor("z", "FP32", [1, 1], [1])]}, "prices")

    assert (reply.status, reply.json["error"]) == (
        400,
        "the model has no input 'z'; it has 'columns'",
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [("INT8", 128), ("UINT8", -1), ("INT32", 1.5), ("BOOL", 2), ("BOOL", "x"), ("INT64", 2**70)],
)
def test_values_that_a_datatype_cannot_hold_are_refused(
    samples: Service, kind: str, value: object
) -> None:
    inputs = [tensor(f"IN_{k}", k, [1, 1], one[:1]) for k, one in VALUES.items() if k != kind]
    inputs.append(tensor(f"IN_{kind}", kind, [1, 1], [value]))

    assert infer(samples, {"inputs": inputs}, "identity").status == 400


def test_nan_is_a_number_for_a_model_of_tensors(samples: Service) -> None:
    reply = infer(
        samples, b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[NaN]}]}'
    )

    assert reply.status == 200
    assert b"NaN" in reply.body


def test_bytes_that_are_no_text_are_refused_by_a_model_of_text(samples: Service) -> None:
    header = {
        "inputs": [
            {
                "name": "x",
                "datatype": "BYTES",
                "shape": [1],
                "parameters": {"binary_data_size": 5},
            }
        ]
    }

    reply = ask_binary(samples, header, b"\x01\x00\x00\x00\xff", model="words")

    assert (reply.status, "UTF-8" in reply.json["error"]) == (400, True)
