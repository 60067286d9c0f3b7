"""Triton's own clients against a server, run by their own Python: HTTP and gRPC, sync and aio.

``with_tritonclient.py HTTP_ADDRESS GRPC_ADDRESS`` prints one line for each thing that works.
"""

# ruff: noqa: T201

import asyncio
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as sync_grpc
import tritonclient.grpc.aio as aio_grpc
import tritonclient.http as sync_http
import tritonclient.http.aio as aio_http
from tritonclient.utils import InferenceServerException

DTYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip


def values(kind: str) -> Any:
    """Return a 2 x 3 array of a datatype."""
    if kind == "BYTES":
        return np.array([["a", "", "Zürich"], ["b", "c", "d"]], object)
    return (np.arange(6).reshape(2, 3) % 2).astype(DTYPES[kind])


def inputs(module: Any, **options: Any) -> list[Any]:
    """Return the inputs of ``identity`` as a module wants them."""
    found = []
    for kind in DTYPES:
        one = module.InferInput(f"IN_{kind}", [2, 3], kind)
        one.set_data_from_numpy(values(kind), **options)
        found.append(one)
    return found


def check(result: Any) -> None:
    """Check that everything came back."""
    for kind in DTYPES:
        found = result.as_numpy(f"OUT_{kind}")
        if kind == "BYTES":
            found = np.array([one.decode() for one in found.ravel()], object).reshape(2, 3)
        assert np.array_equal(found, values(kind)), (kind, found)


def homes(module: Any, **options: Any) -> list[Any]:
    """Return two rows for ``homes``, of which the second has an area below its minimum."""
    rows = module.InferInput("columns", [2, 2], "FP32")
    rows.set_data_from_numpy(np.array([[3, 20], [4, 9]], np.float32), **options)
    return [rows]


def check_told(result: Any, text: str) -> None:
    """Check that there is an answer, and that it tells of that area."""
    assert result.as_numpy("price").tolist() == [[204], [95]]
    assert "below minimum 10.0" in text, text


def check_told_over_http(client: sync_http.InferenceServerClient) -> None:
    """Check that an answer in JSON and one in binary tell."""
    for binary in (False, True):
        wanted = [sync_http.InferRequestedOutput("price", binary_data=binary)]
        reply = client.infer("homes", homes(sync_http), outputs=wanted)
        check_told(reply, reply.get_response()["parameters"]["rondo_warnings"])


def with_http(address: str) -> None:
    """Run the synchronous HTTP client."""
    with sync_http.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("identity")
        assert not client.is_model_ready("cats")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert client.get_model_metadata("identity")["name"] == "identity"
        check(client.infer("identity", inputs(sync_http)))
        for compression in ("gzip", "deflate"):
            check(
                client.infer(
                    "identity",
                    inputs(sync_http),
                    request_compression_algorithm=compression,
                    response_compression_algorithm=compression,
                )
            )
        wanted = [sync_http.InferRequestedOutput("y", binary_data=False)]
        one = sync_http.InferInput("x", [1, 2], "FP32")
        one.set_data_from_numpy(np.ones((1, 2), np.float32), binary_data=False)
        reply = client.infer("floats", [one], outputs=wanted, request_id="7")
        assert reply.get_response()["id"] == "7"
        assert reply.as_numpy("y").tolist() == [[1, 1]]
        assert client.async_infer("floats", [one]).get_result().as_numpy("y").tolist() == [[1, 1]]
        check_told_over_http(client)
        raw = client.generate_request_body(inputs(sync_http))
        assert raw[1] is not None
        index = {one["name"]: one["state"] for one in client.get_model_repository_index()}
        assert index["floats"] == "READY"
        client.unload_model("words")
        assert not client.is_model_ready("words")
        client.load_model("words")
        assert client.is_model_ready("words")
        (stats,) = client.get_inference_statistics("floats")["model_stats"]
        assert stats["inference_count"] >= 2
        expect_error(lambda: client.infer("cats", [one]))
    print("http")


def with_grpc(address: str) -> None:
    """Run the synchronous gRPC client."""
    with sync_grpc.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("identity", "1")
        assert not client.is_model_ready("cats")
        assert client.get_server_metadata().name == "rondo-inference"
        assert len(client.get_model_metadata("identity").inputs) == len(DTYPES)
        check(client.infer("identity", inputs(sync_grpc)))
        assert any(one.name == "floats" for one in client.get_model_repository_index().models)
        client.unload_model("words")
        assert not client.is_model_ready("words")
        client.load_model("words")
        assert client.get_inference_statistics("identity").model_stats[0].inference_count >= 2
        one = sync_grpc.InferInput("x", [1, 2], "FP32")
        one.set_data_from_numpy(np.ones((1, 2), np.float32))
        reply = client.infer("floats", [one], request_id="7")
        assert reply.get_response().id == "7"
        reply = client.infer("homes", homes(sync_grpc))
        check_told(reply, reply.get_response().parameters["rondo_warnings"].string_param)
        expect_error(lambda: client.infer("cats", [one]))
    print("grpc")


def expect_error(call: Any) -> None:
    """Check that a call is refused with our text."""
    text = ""
    try:
        call()
    except InferenceServerException as exc:
        text = str(exc)
    assert "no model 'cats'" in text, text


async def with_aio(http: str, grpc: str) -> None:
    """Run both asynchronous clients."""
    async with aio_http.InferenceServerClient(http) as client:
        assert await client.is_server_ready()
        check(await client.infer("identity", inputs(sync_http)))
    print("http aio")
    async with aio_grpc.InferenceServerClient(grpc) as client:
        assert await client.is_server_ready()
        check(await client.infer("identity", inputs(sync_grpc)))
    print("grpc aio")


if __name__ == "__main__":
    with_http(sys.argv[1])
    with_grpc(sys.argv[2])
    asyncio.run(with_aio(sys.argv[1], sys.argv[2]))
