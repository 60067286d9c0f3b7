"""KServe's own clients against a server, run by their own Python: REST (v1, v2) and gRPC.

``with_kserve.py HTTP_ADDRESS GRPC_ADDRESS`` prints one line for each thing that works.
"""

# ruff: noqa: T201

import asyncio
import sys

import numpy as np
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)

ROWS = [[1.5, 2.5]]


def homes(*, binary: bool) -> InferRequest:
    """Return two rows for ``homes``, of which the second has an area below its minimum."""
    rows = InferInput("columns", [2, 2], "FP32")
    rows.set_data_from_numpy(np.array([[3, 20], [4, 9]], np.float32), binary_data=binary)
    return InferRequest("homes", [rows])


def request(*, binary: bool) -> InferRequest:
    """Return a request for ``floats``."""
    one = InferInput("x", [1, 2], "FP32")
    one.set_data_from_numpy(np.array(ROWS, np.float32), binary_data=binary)
    return InferRequest("floats", [one], request_id="7")


async def with_rest(url: str) -> None:
    """Run the REST client with both protocols."""
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "floats")
    assert not await client.is_model_ready(url, "cats")
    for binary in (False, True):
        reply = await client.infer(url, request(binary=binary), model_name="floats")
        assert reply.id == "7"
        assert reply.outputs[0].as_numpy().tolist() == ROWS
        reply = await client.infer(url, homes(binary=binary), model_name="homes")
        assert reply.outputs[0].as_numpy().tolist() == [[204], [95]]
        assert "below minimum 10.0" in reply.parameters["rondo_warnings"]
    await client.close()
    print("rest v2")
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    reply = await client.infer(url, {"instances": ROWS}, model_name="floats")
    assert reply == {"predictions": ROWS}
    await client.close()
    print("rest v1")


async def with_grpc(address: str) -> None:
    """Run the gRPC client."""
    client = InferenceGRPCClient(address)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("floats")
    assert not await client.is_model_ready("cats")
    for binary in (False, True):
        reply = await client.infer(request(binary=binary))
        assert reply.id == "7"
        assert reply.outputs[0].as_numpy().tolist() == ROWS
        reply = await client.infer(homes(binary=binary))
        assert reply.outputs[0].as_numpy().tolist() == [[204], [95]]
        assert "below minimum 10.0" in reply.parameters["rondo_warnings"].string_param
    await client.close()
    print("grpc")


if __name__ == "__main__":
    asyncio.run(with_rest(f"http://{sys.argv[1]}"))
    asyncio.run(with_grpc(sys.argv[2]))
