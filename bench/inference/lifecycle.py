"""What changes below the load: versions that are swapped, models that come and go."""

import http.client
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.inference.asked import as_binary, request
from bench.inference.measuring import START_SECONDS, Measured, load, resident_mib, running
from bench.inference.servers import BUILD, MODELS, Server, on_folder

CALLERS = 16
"""As many as of the other figures; see `speed`."""
LOAD = 0.8
"""Of the requests a second that the server answers when it is asked without pause."""
SWAP_SECONDS = 1.0
"""From one swap to the next."""
SWAPS_IN_A_ROW = 10
RATE_SECONDS = 2.0


def swaps(count: int) -> dict[str, float]:
    """Swap versions of the digits model under load; return errors, p99 and memory.

    Requests come at fixed times, on whichever of 16 connections is free. A few seconds with swaps
    and as many without take turns, so that whatever else the machine does meets both; before each
    turn it is measured anew what the server can do, since that drifts. p99 and ratio are the
    medians of the turns. Memory is compared with that after a first load without swaps.
    """
    with tempfile.TemporaryDirectory(dir=BUILD) as text:  # where a file may have several names
        folder = Path(text)
        _prepare(folder, count)
        server = on_folder(folder / "served", MODEL_REFRESH_SECONDS="0.25")
        data = as_binary(1)
        with running(server, data) as (port, pid, _first):
            rates, steady, during = [], [], []
            asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            load(port, pid, data, CALLERS, RATE_SECONDS)  # what batches take is no swap's
            before = resident_mib(pid)
            for first in range(2, count + 2, SWAPS_IN_A_ROW):
                versions = range(first, min(first + SWAPS_IN_A_ROW, count + 2))
                seconds = len(versions) * SWAP_SECONDS
                rate = LOAD * load(port, pid, data, CALLERS, RATE_SECONDS)["requests_per_second"]
                rates.append(rate)
                loaded = partial(load, port, pid, data, CALLERS, seconds, rate=rate)
                steady.append(loaded())
                with ThreadPoolExecutor(1) as thread:
                    loading = thread.submit(loaded)
                    _swap_in_turn(folder, asking, versions)
                    during.append(loading.result())
            asking.close()
            time.sleep(SWAP_SECONDS)  # the last version that was replaced goes
            return {
                "swaps": count,
                "requests_per_second": statistics.median(rates),
                **_latency(steady, during),
                "resident_before_mib": before,
                "resident_after_mib": resident_mib(pid),
            }


def _prepare(folder: Path, count: int) -> None:
    """Make all versions now, the first to be served: who is measured shares the CPUs with us."""
    source = MODELS / "digits" / "1"
    _place(source, folder / "served" / "digits" / "1")
    for version in range(2, count + 2):
        _place(source, folder / "next" / str(version))
    (folder / "past").mkdir()


def _latency(steady: Sequence[Measured], during: Sequence[Measured]) -> dict[str, float]:
    ratios = [one["p99_us"] / other["p99_us"] for one, other in zip(during, steady, strict=True)]
    return {
        "errors": sum(one["errors"] for one in (*during, *steady)),
        "requests": sum(one["requests"] for one in during),
        "steady_p99_us": statistics.median(one["p99_us"] for one in steady),
        "during_p99_us": statistics.median(one["p99_us"] for one in during),
        "ratio": statistics.median(ratios),
    }


def _swap_in_turn(
    folder: Path, connection: http.client.HTTPConnection, versions: Iterable[int]
) -> None:
    began = time.monotonic()
    for number, version in enumerate(versions):
        time.sleep(max(0.0, began + number * SWAP_SECONDS - time.monotonic()))
        (folder / "next" / str(version)).rename(folder / "served" / "digits" / str(version))
        _await_version(connection, version)
        before = str(version - 1)
        (folder / "served" / "digits" / before).rename(folder / "past" / before)


def _place(source: Path, target: Path) -> None:
    """Give a version's files another name."""
    shutil.copytree(source, target, ignore=_without_saved_model, copy_function=os.link)


def _without_saved_model(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "saved_model"]


def _await_version(connection: http.client.HTTPConnection, version: int) -> None:
    """Ask seldom, on one connection, for who is measured answers that, too."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)
        connection.request("GET", "/v1/models/digits/metadata")
        found = json.loads(connection.getresponse().read())
        if found["model_spec"]["version"] == str(version):
            return
    raise SystemExit(f"version {version} was never served")


def many_models(count: int, held: int) -> dict[str, float]:
    """Ask many models under a cap that holds few; return the latencies of hits and misses.

    They are the files of one, the digits model, under a thousand names: a load reads memory.
    """
    with tempfile.TemporaryDirectory(dir=BUILD) as text:  # where names can be given to the file
        folder = Path(text)
        source = MODELS / "digits" / "1"
        for number in range(count):
            target = folder / f"m{number:04}" / "1"
            target.mkdir(parents=True)
            for name in ("model.onnx", "model.onnx.data"):
                (target / name).hardlink_to(source / name)
        body = json.dumps({"instances": [[[[0.0]] * 28] * 28]}).encode()
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
