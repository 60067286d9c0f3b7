"""The servers, and how each is started."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inference.asked import as_binary, as_json, as_oip
from rondo_core.errors import NotFound
from rondo_local.environments import checkout, ensure_virtual, find_python_311
from rondo_local.readiness import free_port

PEERS = Path(__file__).parents[1] / "peers"
BUILD = checkout() / "build" / "bench"
MODELS = checkout() / "build" / "models"
_PLAIN = {"ORT_DISABLE_TELEMETRY": "1"}
_DEBIAN_PYTHON = "/usr/bin/python3"
"""PyTriton brings a Python 3.11 of its own, which reads the library of whoever starts it: Debian
12's fits, later ones do not."""


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


def servers(model: Path, folder: Path) -> dict[str, Server]:
    """Return all servers by name; makes their environments."""
    plain = _PLAIN
    peer = {"json": as_json("/predict", 1), "rows": as_json("/predict", 100)}
    python = {
        name: str(ensure_virtual(PEERS / f"{name}.txt", BUILD / name))
        for name in ("mlserver", "litserve", "bentoml", "fastapi")
    }
    _mlserver_folder(folder, model)
    bento = str(Path(python["bentoml"]).parent / "bentoml")
    mlserver = str(Path(python["mlserver"]).parent / "mlserver")
    return {
        "rondo": ours(),
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
        **_pytriton(model),
    }


def _pytriton(model: Path) -> dict[str, Server]:
    """Return Triton without a GPU, where there is a Python that it runs with."""
    try:
        debian = find_python_311((_DEBIAN_PYTHON,))
    except NotFound:
        return {}
    folder = BUILD / "pytriton"
    python = str(ensure_virtual(PEERS / "pytriton.txt", folder, python=debian))
    requests = {"oip json": as_oip(1), "binary": as_binary(1), "rows binary": as_binary(100)}
    return {
        "pytriton": Server(
            "pytriton",
            lambda port: [python, "serve_pytriton.py", str(model), str(port), str(free_port())],
            requests,
            _PLAIN,
        )
    }


def ours() -> Server:
    """Return our own on the sample models, and all that it is asked."""
    requests = {
        "json": as_json("/v1/models/digits:predict", 1),
        "rows": as_json("/v1/models/digits:predict", 100),
        "oip json": as_oip(1),
        "binary": as_binary(1),
        "rows binary": as_binary(100),
    }
    return on_folder(MODELS, requests)


def on_folder(folder: Path, requests: Mapping[str, bytes] | None = None, **environ: str) -> Server:
    """Return our own on a folder of models; it computes with what the peers compute with."""
    program = str(Path(sys.executable).parent / "rondo-inference")
    return Server(
        "rondo",
        lambda port: [program, "serve", "--models", str(folder), "--port", str(port)],
        requests or {},
        _PLAIN | {"ENGINES": "onnxruntime"} | environ,
    )


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


def echo(size: int, model: Path | None = None) -> Server:
    """Return the floor for answers of a size; with a model, it computes a picture for each."""
    computed = [] if model is None else [str(model)]
    return Server(
        "echo",
        lambda port: [sys.executable, "serve_echo.py", str(port), str(size), *computed],
        {},
        _PLAIN,
    )
