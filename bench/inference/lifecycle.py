"""What changes below the load: versions that are swapped, models that come and go."""

import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.inference.asked import as_binary, request
from bench.inference.measuring import START_SECONDS, Measured, load, resident_mib, running
from bench.inference.servers import MODELS, Server, on_folder
from rondo_local.environments import checkout


def swaps(count: int) -> dict[str, float]:
    """Swap versions of the digits model under load; return errors, p99 and memory.

    The load is 4 connections at once without pause: more than 80 % of what the machine can do.
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        source = MODELS / "digits" / "1"
        shutil.copytree(source, folder / "digits" / "1", ignore=_without_saved_model)
        server = on_folder(folder, MODEL_REFRESH_SECONDS="0.05")
        data = as_binary(1)
        with running(server, data) as (port, pid, _first):
            steady = load(port, pid, data, 4, 4)
            before = resident_mib(pid)
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
                "resident_after_mib": resident_mib(pid),
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
            resident = resident_mib(pid)
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
    return on_folder(
        folder, LOAD_ON_DEMAND="1", MODEL_REFRESH_SECONDS="600", MODEL_MEMORY_BYTES=str(cap)
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
