"""Updates that no trainer makes. All have the right length, so that the door lets them pass."""

import json
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rondo_core.weights import Layout, encode

__all__ = ["FILES", "BadFile", "good"]

Tensor = tuple[str, str, tuple[int, ...]]
"""Name, dtype of four bytes an item, shape."""

KERNEL: Tensor = ("scores/kernel", "F32", (64, 10))
BIAS: Tensor = ("scores/bias", "F32", (10,))


def good(layout: Layout) -> bytes:
    """Return an update that changes nothing."""
    return encode(layout, np.zeros(layout.size, np.float32))


def _with_value(column: int, value: float) -> Callable[[Layout], bytes]:
    def make(layout: Layout) -> bytes:
        flat = np.zeros(layout.size, np.float32)
        flat[column] = value
        return encode(layout, flat)

    return make


def _of(*tensors: Tensor) -> Callable[[Layout], bytes]:
    entries, start = {}, 0
    for name, dtype, shape in tensors:
        stop = start + 4 * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}
        start = stop
    header = json.dumps(entries, separators=(",", ":")).encode()
    return lambda layout: _file(layout, header, bytes(start))


def _size_bomb(layout: Layout) -> bytes:
    """Claim that the header has a tebibyte."""
    return (2**40).to_bytes(8, "little") + good(layout)[8:]


def _nested_bomb(layout: Layout) -> bytes:
    """Nest more deeply than a parser can follow."""
    return _file(layout, b'{"a":' + b"[" * (layout.size_bytes - 13), b"")


def _pickle(layout: Layout) -> bytes:
    return b"\x80\x04\x95".ljust(layout.size_bytes, b".")


def _file(layout: Layout, header: bytes, data: bytes) -> bytes:
    padded = header.ljust(layout.size_bytes - 8 - len(data))
    return len(padded).to_bytes(8, "little") + padded + data


class BadFile(NamedTuple):
    """What is declared, uploaded and reported as it should be; code and reason of the verdict."""

    make: Callable[[Layout], bytes]
    code: str
    reason: str


FILES = {
    "wrong-layer": BadFile(
        _of(("marks/kernel", "F32", (64, 10)), BIAS), "wrong-header", "scores/kernel: missing"
    ),
    "missing-layer": BadFile(_of(KERNEL), "wrong-header", "scores/bias: missing"),
    "wrong-shape": BadFile(
        _of(("scores/kernel", "F32", (10, 64)), BIAS),
        "wrong-header",
        "scores/kernel: shape (10, 64), expected (64, 10)",
    ),
    "wrong-dtype": BadFile(
        _of(("scores/kernel", "I32", (64, 10)), BIAS),
        "wrong-header",
        "scores/kernel: dtype I32, expected float32",
    ),
    "nan": BadFile(
        _with_value(11, np.nan),
        "not-finite",
        "scores/kernel at [1, 1] is nan, not a finite number",
    ),
    "infinity": BadFile(
        _with_value(649, -np.inf),
        "not-finite",
        "scores/bias at [9] is -inf, not a finite number",
    ),
    "size-bomb": BadFile(
        _size_bomb, "wrong-header", "a header of 1099511627776 bytes is over the limit of"
    ),
    "nested-bomb": BadFile(_nested_bomb, "wrong-header", "the header is not JSON: "),
    "pickle": BadFile(_pickle, "wrong-header", "this is a pickle, not a safetensors file"),
}
