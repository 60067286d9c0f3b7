"""Requests that nobody would write, at the doors that the OpenAPI document cannot describe.

Binary tensors, spoiled files, paths and headers of any kind, and what the document leaves out.
Every request goes through a connection's bytes, the routes, a real engine and back, in process.
``FUZZ_CASES`` is how many requests the document's own fuzz has, in ``test_inference_openapi.py``;
here are four tenths of it.
"""

import gzip
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rondo_inference.domain.npy import encode_npy, encode_npz
from tests.unit.rondo_inference.asked import Process, Reply, running
from tests.unit.rondo_inference.exported import sample_folder

CASES = int(os.environ.get("FUZZ_CASES", "10000"))
PER_EXAMPLE = 5
"""Requests of one example: making an example costs more than answering it."""

MODELS = ("prices", "shapes", "identity", "floats", "words", "cats")
DATATYPES = (
    "BOOL",
    "UINT8",
    "INT32",
    "INT64",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
    "BF16",
    "",
)
KINDS = (
    "application/json", "text/csv", "application/jsonlines", "application/x-npy",
    "application/x-npz", "image/png", "image/jpeg", "multipart/form-data; boundary=cut",
    "application/octet-stream", "application/vnd.sagemaker-triton.binary+json;json-header-size=9",
    "text/plain", "", "*/*", "a/b; c=",
)  # fmt: skip
ALLOWED = {200, 204, 400, 401, 403, 404, 405, 406, 409, 413, 415, 503, 507}
"""503 only while a model that somebody unloaded is away; 500 never."""

fuzzed = settings(
    max_examples=max(1, CASES // (10 * PER_EXAMPLE)),
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = sample_folder(tmp_path_factory.mktemp("models"))
    with running(models=folder) as service, Process.of(service) as process:
        yield process


def check(reply: Reply, asked: object) -> None:
    """A fault is never ours, every refusal says why, and JSON is JSON."""
    assert reply.status in ALLOWED, (asked, reply)
    if reply.headers.get("content-encoding") == "gzip":  # long answers, to who takes it
        reply = replace(reply, body=gzip.decompress(reply.body))
    if reply.status >= 400 and reply.headers.get("content-type") == "application/json":
        assert isinstance(reply.json["error"], str), (asked, reply)
        assert reply.json["error"], asked
    elif reply.status == 200 and reply.headers.get("content-type") == "application/json":
        assert reply.body, asked
        json.loads(reply.body)


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["Bonn", "Aa", "NaN", "1e400", "1_0", ""]),
)
words = st.sampled_from(
    ["instances", "inputs", "rooms", "town", "image", "x", "b64", "signature_name", "examples",
     "context", "name", "shape", "data", "parameters", "outputs", "id", "model_name", "url"]
)  # fmt: skip
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 9), st.sampled_from(["Aa", "Bonn", "Cc"])).map(list),
        st.fixed_dictionaries({"rooms": leaves, "town": leaves}),
        st.lists(leaves, max_size=4),
        anything,
    ),
    max_size=4,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "columns", "image", "IN_FP32", "rooms", "town", ""]),
        "shape": st.lists(st.integers(-1, 4), max_size=4),
        "datatype": st.sampled_from(DATATYPES),
    },
    optional={
        "data": st.lists(leaves, max_size=4) | anything,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "content_type"]), st.integers(-1, 40) | leaves
        ),
    },
)
message = st.one_of(
    st.fixed_dictionaries({"instances": rows}),
    st.fixed_dictionaries({"inputs": anything}),
    st.fixed_dictionaries(
        {"inputs": st.lists(tensors, max_size=3)},
        optional={
            "id": st.text(max_size=3),
            "outputs": st.lists(st.fixed_dictionaries({"name": words}), max_size=2),
            "parameters": st.dictionaries(st.just("binary_data_output"), leaves),
        },
    ),
    st.fixed_dictionaries({"examples": rows}, optional={"context": anything}),
    anything,
)
json_paths = st.one_of(
    st.builds(
        "/v1/models/{}{}:{}".format,
        st.sampled_from(MODELS),
        st.sampled_from(["/versions/1", "/versions/99", "/labels/champion", "/labels/x"]),
        st.sampled_from(["predict", "classify", "regress", "explain"]),
    ),
    st.builds("/v2/models/{}/versions/1/infer".format, st.sampled_from(MODELS)),
    st.builds("/invocations?model={}".format, st.sampled_from(MODELS)),
    st.builds(
        "/2015-03-31/functions/{}/invocations".format, st.sampled_from([*MODELS, "prices:1", ":"])
    ),
    st.sampled_from(["/v2/repository/index", "/v2/repository/models/words/load", "/models"]),
)


@fuzzed
@given(asked=st.lists(st.tuples(json_paths, message), min_size=PER_EXAMPLE, max_size=PER_EXAMPLE))
def test_json_of_any_shape_is_answered_or_refused(
    process: Process, asked: list[tuple[str, object]]
) -> None:
    for path, body in asked:
        reply = process.ask("POST", path, json.dumps(body).encode(), {})
        check(reply, (path, body))


def _valid() -> dict[str, bytes]:
    picture = io.BytesIO()
    Image.new("L", (2, 2)).save(picture, "PNG")
    jpeg = io.BytesIO()
    Image.new("L", (2, 2)).save(jpeg, "JPEG")
    table = np.array([[3.0, 1.0]])
    part = b'--cut\r\nContent-Disposition: form-data; name="f"; filename="a.csv"\r\n\r\n'
    return {
        "application/json": b'{"instances": [[3, "Bonn"], {"rooms": 1, "town": "Aa"}]}',
        "text/csv": b'rooms,town\n3,Bonn\n1,"Aa"\n',
        "application/jsonlines": b'[3, "Bonn"]\n{"rooms": 1, "town": "Aa"}\n',
        "application/x-npy": encode_npy(table),
        "application/x-npz": encode_npz({"columns": table}),
        "image/png": picture.getvalue(),
        "image/jpeg": jpeg.getvalue(),
        "multipart/form-data; boundary=cut": part + b"rooms,town\n3,Bonn\n\r\n--cut--\r\n",
    }


VALID = _valid()


def spoiled(body: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """Replace, remove and insert single bytes."""
    data = bytearray(body)
    for kind, at, byte in changes:
        place = at % (len(data) + 1)
        if kind == 0 and data:
            data[place % len(data)] = byte
        elif kind == 1 and data:
            del data[place % len(data) :][: 1 + byte % 8]
        else:
            data[place:place] = bytes([byte]) * (1 + byte % 3)
    return bytes(data)


changes = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 5000), st.integers(0, 255)), max_size=4
)
files = st.tuples(
    st.sampled_from(sorted(VALID)), st.sampled_from(KINDS), st.booleans(), changes,
    st.sampled_from(["prices", "shapes", "floats", "words", "identity"]),
    st.sampled_from(["", "text/csv", "application/json", "application/jsonlines",
                     "application/x-npy", "application/x-npz", "image/png", "a;q=x,*/*;q=0.1"]),
)  # fmt: skip


@fuzzed
@given(asked=st.lists(files, min_size=PER_EXAMPLE, max_size=PER_EXAMPLE))
def test_files_with_spoiled_bytes_are_answered_or_refused(
    process: Process, asked: list[Any]
) -> None:
    for valid, other, honest, spoils, model, accept in asked:
        headers = {"content-type": valid if honest else other, "accept": accept}
        body = spoiled(VALID[valid], spoils)
        reply = process.ask("POST", f"/invocations?model={model}", body, headers)
        check(reply, (headers, body))


@st.composite
def binaries(draw: st.DrawFn) -> tuple[str, bytes, dict[str, str]]:
    """Make a request of binary tensors that may fit or not."""
    kind = draw(st.sampled_from(DATATYPES))
    shape = draw(st.lists(st.integers(-1, 3), max_size=3))
    blob = draw(st.binary(max_size=24))
    size = draw(st.one_of(st.just(len(blob)), st.integers(-2, 40)))
    tensor = {
        "name": draw(st.sampled_from(["x", "IN_FP32"])),
        "shape": shape,
        "datatype": kind,
        "parameters": {"binary_data_size": size},
    }
    text = json.dumps({"inputs": [tensor]}).encode()
    length = draw(
        st.one_of(st.just(str(len(text))), st.integers(-1, 300).map(str), st.text(max_size=3))
    )
    plain = "".join(char for char in length if char.isprintable() and ord(char) < 256)
    vendor = draw(st.booleans())
    if vendor:
        kind = f"application/vnd.sagemaker-triton.binary+json;json-header-size={plain}"
        headers = {"content-type": kind}
    else:
        headers = {"inference-header-content-length": plain}
    model = draw(st.sampled_from(["floats", "words", "identity"]))
    path = f"/invocations?model={model}" if vendor else f"/v2/models/{model}/infer"
    return path, text + blob, headers


@fuzzed
@given(asked=st.lists(binaries(), min_size=PER_EXAMPLE, max_size=PER_EXAMPLE))
def test_binary_tensors_with_wrong_lengths_are_answered_or_refused(
    process: Process, asked: list[tuple[str, bytes, dict[str, str]]]
) -> None:
    for path, body, headers in asked:
        check(process.ask("POST", path, body, headers), (path, body, headers))


paths = st.one_of(
    st.sampled_from(
        ["/", "/v1/models", "/v1/models/prices/metadata", "/v2", "/v2/models/floats", "/ping",
         "/v2/models/stats", "/catalogue", "/openapi.json", "/docs", "/metrics", "/v2/health/ready",
         "/v2/models/floats/versions/999999999999999999", "/execution-parameters", "/%00", "/%ff",
         "/v1/models/%2e%2e/versions/1", "//", "/v1/models/a%2fb:predict"]
    ),
    st.text("abc/:%.?v12models{}", max_size=30).map(lambda text: "/" + text),
)  # fmt: skip
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
odd_headers = st.dictionaries(
    st.sampled_from(["accept", "content-type", "content-encoding", "x-request-id", "traceparent",
                     "accept-encoding", "x-amzn-sagemaker-target-model", "origin"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
    | st.sampled_from(["gzip", "deflate", "prices", "*/*"]),
    max_size=3,
)  # fmt: skip


@fuzzed
@given(
    asked=st.lists(
        st.tuples(methods, paths, odd_headers, st.binary(max_size=8)),
        min_size=PER_EXAMPLE,
        max_size=PER_EXAMPLE,
    )
)
def test_any_path_method_and_header_is_answered(
    process: Process, asked: list[tuple[str, str, dict[str, str], bytes]]
) -> None:
    for method, path, headers, body in asked:
        if method == "HEAD":
            continue
        check(process.ask(method, path, body, headers), (method, path, headers, body))
