"""Inference servers in turn, on the same model, the same pictures, the same machine, in one run.

Peers run from environments of their own, made below ``build/bench`` on first use. Each figure is
the median of several turns; CPU time is that of the server's whole process tree. Written to
``build/bench/inference.json``.

``python -m bench.inference [--turns N] [--seconds S] [--only NAME ...]``
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from bench import machine
from rondo_local.environments import checkout, ensure_virtual
from rondo_local.readiness import free_port

PEERS = Path(__file__).parent / "peers"
BUILD = checkout() / "build" / "bench"
MODELS = checkout() / "build" / "models"
SIDE, CLASSES = 28, 10
START_SECONDS = 60.0
Measured = dict[str, float]


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers.

    Attributes:
        name: in the table.
        command: port -> argv.
        environ: what it needs beside PATH.
        folder: where it starts.
        requests: kind of request -> the whole of it.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    requests: Mapping[str, bytes]
    environ: Mapping[str, str]
    folder: Path = PEERS


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


def servers(model: Path, folder: Path) -> dict[str, Server]:
    """Return all servers by name; makes their environments."""
    plain = {"ORT_DISABLE_TELEMETRY": "1"}
    peer = {"json": as_json("/predict", 1), "rows": as_json("/predict", 100)}
    python = {
        name: str(ensure_virtual(PEERS / f"{name}.txt", BUILD / name))
        for name in ("mlserver", "litserve", "bentoml", "fastapi")
    }
    _mlserver_folder(folder, model)
    ours = {
        "json": as_json("/v1/models/digits:predict", 1),
        "rows": as_json("/v1/models/digits:predict", 100),
        "oip json": as_oip(1),
        "binary": as_binary(1),
        "rows binary": as_binary(100),
    }
    bento = str(Path(python["bentoml"]).parent / "bentoml")
    mlserver = str(Path(python["mlserver"]).parent / "mlserver")
    return {
        "rondo": Server("rondo", _rondo, ours, plain),
        "fastapi": Server(
            "fastapi",
            lambda port: [python["fastapi"], "serve_fastapi.py", str(model), str(port)],
            peer,
            plain,
        ),
        "mlserver": Server(
            "mlserver",
            lambda port: _mlserver(mlserver, folder, port),
            {"json": as_oip(1), "rows": as_oip(100)},
            plain | {"PYTHONPATH": str(PEERS)},
            folder,
        ),
        "litserve": Server(
            "litserve",
            lambda port: [python["litserve"], "serve_litserve.py", str(model), str(port)],
            peer,
            plain,
        ),
        "bentoml": Server(
            "bentoml",
            lambda port: [bento, "serve", "serve_bentoml:Digits", "--port", str(port), "-q"],
            peer,
            plain | {"MODEL": str(model), "BENTOML_DO_NOT_TRACK": "1", "HOME": str(folder)},
        ),
    }


def _rondo(port: int, *more: str) -> list[str]:
    program = str(Path(sys.executable).parent / "rondo-inference")
    return [program, "serve", "--models", str(MODELS), "--port", str(port), *more]


def _mlserver_folder(folder: Path, model: Path) -> None:
    settings = {
        "name": "digits",
        "implementation": "mlserver_onnx.OnnxModel",
        "parameters": {"uri": str(model)},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))


def _mlserver(program: str, folder: Path, port: int) -> list[str]:
    settings = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(),
        "metrics_port": free_port(), "parallel_workers": 0, "debug": False,
        "use_structured_logging": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    return [program, "start", str(folder)]


def echo(size: int) -> Server:
    """Return the floor for answers of a size."""
    return Server(
        "echo",
        lambda port: [sys.executable, "serve_echo.py", str(port), str(size)],
        {},
        {},
    )


@contextmanager
def running(server: Server, first: bytes) -> Iterator[tuple[int, int, float]]:
    """Start a server; yield its port, its process id and the seconds to its first answer."""
    port = free_port()
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            list(server.command(port)),
            env={"PATH": os.environ["PATH"], **server.environ},
            cwd=server.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while not _answers(port, first):
                if process.poll() is not None or time.monotonic() > began + START_SECONDS:
                    log.seek(0)
                    raise SystemExit(f"{server.name} does not answer:\n{log.read().decode()}")
                time.sleep(0.01)
            yield port, process.pid, time.monotonic() - began
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    family = [process.pid, *_children(process.pid)]
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        if _parent(pid) is not None:
            os.kill(pid, 9)


def _answers(port: int, first: bytes) -> bool:
    head, _, body = first.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode()
    headers = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None


def _children(pid: int) -> list[int]:
    parents = {int(one.name): _parent(int(one.name)) for one in Path("/proc").glob("[0-9]*")}
    found, added = {pid}, True
    while added:
        more = {one for one, parent in parents.items() if parent in found} - found
        found |= more
        added = bool(more)
    return sorted(found - {pid})


def _cpu_seconds(pid: int) -> float:
    ticks = 0
    for one in (pid, *_children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def load(port: int, pid: int, data: bytes, connections: int, seconds: float) -> Measured:
    """Load a server from another process; return its figures with CPU time per request."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        before = _cpu_seconds(pid)
        done = subprocess.run(
            [sys.executable, "-m", "bench.load", str(port), str(connections), str(seconds),
             file.name],
            capture_output=True, text=True, check=True, cwd=checkout(),
        )  # fmt: skip
    found: Measured = json.loads(done.stdout)
    found["cpu_us"] = (_cpu_seconds(pid) - before) / found["requests"] * 1e6
    return found


def median_of(turns: Sequence[Measured]) -> Measured:
    """Return the median of every figure."""
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def raw_engine(model: Path, inputs: "np.ndarray[Any, np.dtype[np.float32]]") -> Measured:
    """Return what the model call alone takes, in this process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name, times = session.get_inputs()[0].name, []
    before = time.process_time()
    for _ in range(2_000):
        start = time.perf_counter()
        session.run(None, {name: inputs})
        times.append(time.perf_counter() - start)
    cpu = time.process_time() - before
    return {"p50_us": statistics.median(times[100:]) * 1e6, "cpu_us": cpu / len(times) * 1e6}


def compare(found: Mapping[str, Server], turns: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Measure all servers in turn: 16 connections, and 100 rows on one."""
    plans = {"json": 16, "rows": 1, "oip json": 16, "binary": 16, "rows binary": 1}
    seen: dict[str, dict[str, list[Measured]]] = {name: {} for name in found}
    starts: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(turns):
        for name, server in found.items():
            with running(server, server.requests["json"]) as (port, pid, first):
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
    """Measure one connection of ours against the floor of the same bytes plus the raw engine."""
    seen: dict[str, list[Measured]] = {}
    sizes = {"json": 240, "binary": 300}
    model = MODELS / "digits" / "1" / "model.onnx"
    for _ in range(turns):
        for kind, size in sizes.items():
            data = ours.requests[kind]
            floor = echo(size)
            with running(floor, data) as (port, pid, _first):
                load(port, pid, data, 1, seconds / 4)
                seen.setdefault(f"echo {kind}", []).append(load(port, pid, data, 1, seconds))
            with running(ours, data) as (port, pid, _first):
                load(port, pid, data, 1, seconds / 4)
                seen.setdefault(f"rondo {kind}", []).append(load(port, pid, data, 1, seconds))
        seen.setdefault("engine", []).append(raw_engine(model, pictures(1)))
    found = {name: median_of(one) for name, one in seen.items()}
    for kind in sizes:
        for figure in ("p50_us", "cpu_us"):
            floor_us = found[f"echo {kind}"][figure] + found["engine"][figure]
            found[f"rondo {kind}"][f"over_{figure}"] = found[f"rondo {kind}"][figure] - floor_us
    return found


def swaps(count: int) -> dict[str, float]:
    """Swap versions of the digits model under load; return errors, p99 and memory.

    The load is 4 connections at once without pause: more than 80 % of what the machine can do.
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        source = MODELS / "digits" / "1"
        shutil.copytree(source, folder / "digits" / "1", ignore=_without_saved_model)
        server = Server(
            "rondo",
            lambda port: [*_rondo(port)[:3], str(folder), *_rondo(port)[4:]],
            {},
            {"ORT_DISABLE_TELEMETRY": "1", "MODEL_REFRESH_SECONDS": "0.05"},
        )
        data = as_binary(1)
        with running(server, data) as (port, pid, _first):
            steady = load(port, pid, data, 4, 4)
            before = _resident_mib(pid)
            with tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                argv = [sys.executable, "-m", "bench.load", str(port), "4", str(count * 0.2)]
                loading = subprocess.Popen(
                    [*argv, file.name], stdout=subprocess.PIPE, cwd=checkout()
                )
                for version in range(2, count + 2):
                    target = folder / "digits" / str(version)
                    shutil.copytree(source, folder / "new", ignore=_without_saved_model)
                    (folder / "new").rename(target)
                    _await_version(port, version)
                    shutil.rmtree(folder / "digits" / str(version - 1))
                output, _ = loading.communicate()
            during: Measured = json.loads(output)
            load(port, pid, data, 4, 1)
            return {
                "swaps": count,
                "errors": during["errors"],
                "requests": during["requests"],
                "steady_p99_us": steady["p99_us"],
                "during_p99_us": during["p99_us"],
                "resident_before_mib": before,
                "resident_after_mib": _resident_mib(pid),
            }


def _without_saved_model(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "saved_model"]


def _await_version(port: int, version: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/v1/models/digits/metadata")
        found = json.loads(connection.getresponse().read())
        connection.close()
        if found["model_spec"]["version"] == str(version):
            return
        time.sleep(0.01)
    raise SystemExit(f"version {version} was never served")


def many_models(count: int, held: int) -> dict[str, float]:
    """Ask many models under a cap that holds few; return the latencies of hits and misses."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        source = MODELS / "breast-cancer" / "1" / "model.onnx"
        for number in range(count):
            target = folder / f"m{number:04}" / "1"
            target.mkdir(parents=True)
            shutil.copy(source, target / "model.onnx")
        body = json.dumps({"instances": [[0.0] * 30]}).encode()
        first = request("/v1/models/m0000:predict", body)
        with running(_lazy(folder, 0), first) as (port, _pid, _first):
            cap = int(held * _model_bytes(port, body, min(count, 2 * held)))
        with running(_lazy(folder, cap), first) as (port, pid, _first):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            times: dict[str, list[float]] = {"miss": [], "hit": []}
            for number in range(count):
                for kind in ("miss", "hit"):
                    start = time.perf_counter()
                    connection.request("POST", f"/v1/models/m{number:04}:predict", body)
                    response = connection.getresponse()
                    response.read()
                    if response.status != http.HTTPStatus.OK:
                        raise SystemExit(f"model {number}: {response.status}")
                    times[kind].append(time.perf_counter() - start)
            connection.request("POST", "/v2/repository/index", b'{"ready": true}')
            loaded = len(json.loads(connection.getresponse().read()))
            resident = _resident_mib(pid)
    return {
        "models": count,
        "cap_bytes": cap,
        "loaded": loaded,
        "resident_mib": resident,
        "hit_p50_us": statistics.median(times["hit"]) * 1e6,
        "miss_p50_us": statistics.median(times["miss"]) * 1e6,
        "miss_p99_us": sorted(times["miss"])[int(count * 0.99)] * 1e6,
    }


def _lazy(folder: Path, cap: int) -> Server:
    environ = {"ORT_DISABLE_TELEMETRY": "1", "LOAD_ON_DEMAND": "1", "MODEL_REFRESH_SECONDS": "600"}
    return Server(
        "rondo",
        lambda port: [*_rondo(port)[:3], str(folder), *_rondo(port)[4:]],
        {},
        environ | {"MODEL_MEMORY_BYTES": str(cap)},
    )


def _model_bytes(port: int, body: bytes, count: int) -> float:
    """Return what one model takes, as the server measured it over several."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(count):
        connection.request("POST", f"/v1/models/m{number:04}:predict", body)
        connection.getresponse().read()
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    (line,) = [one for one in lines if one.startswith("rondo_inference_memory_bytes ")]
    return float(line.split()[1]) / count


def tiny(turns: int, seconds: float) -> dict[str, Measured]:
    """Measure a dense model of 784, 128 and 10 values, beside which everything else is large."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        target = folder / "tiny" / "1"
        target.mkdir(parents=True)
        (target / "model.onnx").write_bytes(_dense())
        server = Server(
            "rondo",
            lambda port: [*_rondo(port)[:3], str(folder), *_rondo(port)[4:]],
            {},
            {"ORT_DISABLE_TELEMETRY": "1"},
        )
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


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the comparison."""
    table = Table(
        "server", "request", "conn.", "requests/s", "p50 us", "p99 us", "CPU us", "ours ×"
    )
    ours = found["servers"]["rondo"]
    for name, kinds in found["servers"].items():
        for kind, one in kinds.items():
            if not isinstance(one, dict):
                continue
            same_bytes = "oip json" if (name, kind) == ("mlserver", "json") else kind
            ratio = ours[same_bytes]["requests_per_second"] / one["requests_per_second"]
            table.add_row(
                name, kind, "1" if kind.startswith("rows") else "16",
                f"{one['requests_per_second']:.0f}", f"{one['p50_us']:.0f}", f"{one['p99_us']:.0f}",
                f"{one['cpu_us']:.0f}", f"{ratio:.2f}",
            )  # fmt: skip
    for name, one in found["one connection"].items():
        over = f"{one['over_p50_us']:+.0f} us" if "over_p50_us" in one else ""
        rate = f"{one['requests_per_second']:.0f}" if "requests_per_second" in one else ""
        p99 = f"{one['p99_us']:.0f}" if "p99_us" in one else ""
        table.add_row(
            name, "", "1", rate, f"{one['p50_us']:.0f}", p99, f"{one['cpu_us']:.0f}", over
        )
    console.print(table)
    for name, one in found["tiny"].items():
        console.print("784-128-10", name, {key: round(value, 2) for key, value in one.items()})
    for name in ("swaps", "many models"):
        console.print(name, {key: round(one, 1) for key, one in found[name].items()})


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--models", type=int, default=1000)
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (MODELS / "digits").exists():
        raise SystemExit("there is no build/models: run `make sample-models`")
    with tempfile.TemporaryDirectory() as text:
        found = servers(MODELS / "digits" / "1" / "model.onnx", Path(text))
        chosen = {
            name: one
            for name, one in found.items()
            if options.only is None or name in {"rondo", *options.only}
        }
        result: dict[str, Any] = {
            "machine": machine.machine() | {"load": os.getloadavg()[0]},
            "versions": machine.versions("onnxruntime", "uvloop", "httptools", "numpy"),
            "servers": compare(chosen, options.turns, options.seconds),
            "one connection": one_connection(found["rondo"], options.turns, options.seconds),
            "tiny": tiny(options.turns, options.seconds),
            "swaps": swaps(options.swaps),
            "many models": many_models(options.models, held=20),
        }
    (BUILD / "inference.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    show(result, Console())


if __name__ == "__main__":
    main()
