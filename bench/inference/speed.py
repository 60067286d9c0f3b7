"""How fast: ours beside others, one connection beside its floor, a model that costs nothing."""

import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from bench.inference.asked import CLASSES, SIDE, pictures, request
from bench.inference.measuring import Measured, load, median_of, raw_engine, running
from bench.inference.servers import MODELS, Server, echo, on_folder


def compare(found: Mapping[str, Server], turns: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Measure all servers in turn: 16 connections, and 100 rows on one."""
    plans = {"json": 16, "rows": 1, "oip json": 16, "binary": 16, "rows binary": 1}
    seen: dict[str, dict[str, list[Measured]]] = {name: {} for name in found}
    starts: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(turns):
        for name, server in found.items():
            with running(server, next(iter(server.requests.values()))) as (port, pid, first):
                starts[name].append(first)
                for kind, data in server.requests.items():
                    load(port, pid, data, plans[kind], seconds / 4)
                    one = load(port, pid, data, plans[kind], seconds)
                    seen[name].setdefault(kind, []).append(one)
    return {
        name: {kind: median_of(measured) for kind, measured in kinds.items()}
        | {"first_answer_seconds": statistics.median(starts[name])}
        for name, kinds in seen.items()
    }


def one_connection(ours: Server, turns: int, seconds: float) -> dict[str, Any]:
    """Measure one connection of ours beside what nobody can do without.

    That is an echo of as many bytes, and the model call. Added up they take less than in one
    process, where each call finds the other's data in the cache and a caller that waits longer
    wakes later; ``over_floor`` is over a server that does both and nothing else.
    """
    seen: dict[str, list[Measured]] = {}
    sizes = {"json": 240, "binary": 300}
    model = MODELS / "digits" / "1" / "model.onnx"
    for _ in range(turns):
        for kind, size in sizes.items():
            data = ours.requests[kind]
            for name, server in (
                (f"echo {kind}", echo(size)),
                (f"floor {kind}", echo(size, model)),
                (f"rondo {kind}", ours),
            ):
                with running(server, data) as (port, pid, _first):
                    load(port, pid, data, 1, seconds / 4)
                    seen.setdefault(name, []).append(load(port, pid, data, 1, seconds))
        seen.setdefault("engine", []).append(raw_engine(model, pictures(1)))
    found = {name: median_of(one) for name, one in seen.items()}
    for kind in sizes:
        mine = found[f"rondo {kind}"]
        for figure in ("p50_us", "cpu_us"):
            added = found[f"echo {kind}"][figure] + found["engine"][figure]
            mine |= {
                f"over_sum_{figure}": mine[figure] - added,
                f"over_floor_{figure}": mine[figure] - found[f"floor {kind}"][figure],
            }
    return found


def tiny(turns: int, seconds: float) -> dict[str, Measured]:
    """Measure a dense model of 784, 128 and 10 values, beside which everything else is large."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        target = folder / "tiny" / "1"
        target.mkdir(parents=True)
        (target / "model.onnx").write_bytes(_dense())
        server = on_folder(folder)
        rows = pictures(1).reshape(1, SIDE * SIDE)
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, SIDE * SIDE]}
        head = json.dumps(
            {"inputs": [tensor | {"parameters": {"binary_data_size": rows.nbytes}}],
             "parameters": {"binary_data_output": True}}
        ).encode()  # fmt: skip
        kinds = {
            "json": request(
                "/v1/models/tiny:predict", json.dumps({"instances": rows.tolist()}).encode()
            ),
            "binary": request(
                "/v2/models/tiny/infer",
                head + rows.tobytes(),
                inference_header_content_length=str(len(head)),
            ),
        }
        engine = raw_engine(target / "model.onnx", rows)
        found: dict[str, Measured] = {"engine": engine}
        for kind, data in kinds.items():
            seen = []
            for _ in range(turns):
                with running(server, data) as (port, pid, _first):
                    load(port, pid, data, 16, seconds / 4)
                    seen.append(load(port, pid, data, 16, seconds))
            found[kind] = median_of(seen)
            share = 1 - engine["cpu_us"] / found[kind]["cpu_us"]
            found[kind]["share_that_is_not_model"] = share
    return found


def _dense() -> bytes:
    random = np.random.Generator(np.random.PCG64(1))
    sizes = {"a": (SIDE * SIDE, 128), "b": (128, CLASSES)}
    infos = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("MatMul", ["active", "b"], ["y"]),
        ],
        "dense",
        [infos("x", TensorProto.FLOAT, ["n", SIDE * SIDE])],
        [infos("y", TensorProto.FLOAT, ["n", CLASSES])],
        [
            numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
            for name, shape in sizes.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    data: bytes = model.SerializeToString()
    return data
