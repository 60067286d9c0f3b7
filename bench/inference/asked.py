"""What the servers are asked, byte by byte."""

import json

import numpy as np
from sklearn.datasets import load_breast_cancer

SIDE, CLASSES = 28, 10


def pictures(rows: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Return pictures of random pixels, the same every time."""
    random = np.random.Generator(np.random.PCG64(7))
    return random.integers(0, 256, (rows, SIDE, SIDE, 1)).astype(np.float32)


def request(path: str, body: bytes, **headers: str) -> bytes:
    """Return a whole HTTP request."""
    named = {"host": "bench", "content-length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{n.replace('_', '-')}: {v}" for n, v in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_json(path: str, rows: int) -> bytes:
    """Return pictures as ``{"instances": …}``."""
    body = json.dumps({"instances": pictures(rows)[..., 0].tolist()}).encode()
    return request(path, body, content_type="application/json")


def as_oip(rows: int) -> bytes:
    """Return pictures as the Open Inference Protocol's JSON."""
    found = pictures(rows)
    tensor = {"name": "image", "datatype": "FP32", "shape": list(found.shape)}
    body = json.dumps({"inputs": [tensor | {"data": found.ravel().tolist()}]}).encode()
    return request("/v2/models/digits/infer", body, content_type="application/json")


def as_binary(rows: int) -> bytes:
    """Return pictures as binary tensors, both ways."""
    found = pictures(rows)
    size = {"binary_data_size": found.nbytes}
    tensor = {"name": "image", "datatype": "FP32", "shape": list(found.shape), "parameters": size}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return request(
        "/v2/models/digits/infer",
        text + found.tobytes(),
        content_type="application/octet-stream",
        inference_header_content_length=str(len(text)),
    )


def large_csv(path: str) -> bytes:
    """Return 20 MB of rows for the breast cancer model."""
    names = load_breast_cancer().feature_names
    random = np.random.Generator(np.random.PCG64(7))
    row = ",".join(f"{value:.4f}" for value in random.random(len(names)))
    body = "\n".join([",".join(names), *[row] * (20_000_000 // len(row))]).encode()
    return request(path, body, content_type="text/csv")


def nested(path: str) -> bytes:
    """Return 20 MB of lists in lists in lists, 50 deep, with nothing in them."""
    one = b"[" * 50 + b"]" * 50
    body = b'{"instances":[' + b",".join([one] * (20_000_000 // len(one))) + b"]}"
    return request(path, body, content_type="application/json")
