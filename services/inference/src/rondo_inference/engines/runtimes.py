"""Which runtimes there are here, and what each needs of an export."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from rondo_core.errors import SettingsInvalid
from rondo_core.exports import ONNX_FILE, SAVED_MODEL_FOLDER, TFLITE_FILE
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.onnx_runtime import open_onnx, prime

__all__ = ["Engines", "Runtime", "Step", "open_engines"]

Step = Callable[[], AbstractContextManager[None]]
"""Makes what a part of a load is done in."""

_PACKAGES = {
    "onnxruntime": "onnxruntime",
    "litert": "ai_edge_litert",
    "tensorflow": "tensorflow",
}
"""Name in the setting -> what must be installed."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to compute a version.

    Attributes:
        name: in settings, logs and metrics.
        file: of the export that it reads, or the folder.
        open: makes an engine of a folder that holds the files as the export names them, and goes
            when it is opened; raises ``ExportInvalid``.
        spare: used only for a version that no other can compute.
    """

    name: str
    file: str
    open: Callable[[Path], Engine]
    spare: bool = False

    def files(self, listed: Iterable[str]) -> tuple[str, ...]:
        """Return which of an export's files it reads; none where the export is not for it.

        Example:
            >>> onnx = Runtime("onnxruntime", "model.onnx", open_onnx)
            >>> onnx.files(["model.onnx", "model.onnx.data", "model.tflite"])
            ('model.onnx', 'model.onnx.data')
        """
        parts = (f"{self.file}/", f"{self.file}.")
        return tuple(name for name in listed if name == self.file or name.startswith(parts))


@dataclass(frozen=True, slots=True)
class Engines:
    """What may compute versions here.

    Attributes:
        runtimes: the preferred one first.
        largest: rows of the largest batch.
        clock: seconds, by which engines are compared.
        step: each part of a load is done in one.
    """

    runtimes: tuple[Runtime, ...]
    largest: int = 64
    clock: Callable[[], float] = time.perf_counter
    step: Step = nullcontext


def open_engines(
    named: str, *, threads: int, copies: int, largest: int, step: Step = nullcontext
) -> Engines:
    """Import the runtimes, so that the first model is not counted with them.

    Args:
        named: names, parted by commas, in the order of preference; empty: ONNX Runtime, and LiteRT
            where it is installed.
        threads: that one prediction may use.
        copies: predictions of one version that are computed at a time.
        largest: rows of the largest batch.
        step: see ``Engines``.

    Raises:
        SettingsInvalid: a name is unknown, is there twice, or its package is not installed.
    """
    names = [name.strip() for name in named.split(",") if name.strip()] or _default()
    _check(names)
    prime()
    openers = {
        "onnxruntime": partial(_onnx, threads),
        "litert": partial(_litert, threads, copies),
        "tensorflow": partial(_tensorflow, threads, copies),
    }
    runtimes = [openers[name]() for name in names]
    if "onnxruntime" not in names:
        runtimes.append(_onnx(threads, spare=True))
    return Engines(tuple(runtimes), largest, step=step)


def _default() -> list[str]:
    return ["onnxruntime", *(["litert"] if _is_installed("litert") else [])]


def _check(names: list[str]) -> None:
    faults = [
        f"ENGINES: {n!r} is none of {', '.join(_PACKAGES)}" for n in names if n not in _PACKAGES
    ]
    faults += [f"ENGINES: {name!r} is there twice" for name in set(names) if names.count(name) > 1]
    faults += [
        f"ENGINES: {name!r} needs rondo-inference[{name}], which is not installed"
        for name in names
        if name in _PACKAGES and not _is_installed(name)
    ]
    if faults:
        raise SettingsInvalid(faults)


def _is_installed(name: str) -> bool:
    return find_spec(_PACKAGES[name]) is not None


def _onnx(threads: int, *, spare: bool = False) -> Runtime:
    def opened(folder: Path) -> Engine:
        return open_onnx(folder / ONNX_FILE, threads=threads)

    return Runtime("onnxruntime", ONNX_FILE, opened, spare=spare)


def _litert(threads: int, copies: int) -> Runtime:
    from rondo_inference.engines.litert import open_litert  # noqa: PLC0415  (of an extra)

    def opened(folder: Path) -> Engine:
        return open_litert(folder / TFLITE_FILE, threads=threads, copies=copies)

    return Runtime("litert", TFLITE_FILE, opened)


def _tensorflow(threads: int, copies: int) -> Runtime:
    from rondo_inference.engines.saved_model import open_saved_model, set_threads  # noqa: PLC0415  (likewise)

    set_threads(threads, copies)
    return Runtime("tensorflow", SAVED_MODEL_FOLDER, open_saved_model)
