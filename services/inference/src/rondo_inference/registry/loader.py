"""From an alias to a version that is verified, warm and proved to compute as Keras did."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rondo_core.exports import (
    GOLDEN_FILE,
    INDEX_FILE,
    ONNX_FILE,
    ExportIndex,
    ExportInvalid,
    Tolerance,
    export_file_key,
    export_index_key,
    parse_export_index,
    verified,
)
from rondo_core.holdout import decode_holdout
from rondo_core.layout import Float32Array
from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.model_store import ModelStore, spec_key
from rondo_inference.batcher import Batcher
from rondo_inference.domain.tensors import TensorInfo, Tensors
from rondo_inference.engines import Engine
from rondo_inference.registry.served import ServedModel

__all__ = [
    "OpenBatcher",
    "OpenEngine",
    "VersionFiles",
    "load_version",
    "open_version",
    "proved_engine",
    "read_version",
]

OpenEngine = Callable[[bytes], Engine]
OpenBatcher = Callable[[AliasRow, Engine, float], Batcher]
"""Makes the batcher of a version: its alias, its engine, the seconds that one row takes."""

_WARM_ROWS = (1, 2, 4, 8)
_TIMED_RUNS = 3
_UNKNOWN_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """What a version consists of, wherever it was kept.

    Attributes:
        onnx: the model.
        spec: what its columns and labels are, or None for a model that is only tensors.
        index: names input and output and the tolerance; where there is a spec there is an index.
        golden: inputs and what Keras answered; where there is a spec there are golden outputs.
    """

    onnx: bytes
    spec: ModelSpec | None = None
    index: ExportIndex | None = None
    golden: bytes | None = None


def load_version(
    alias: AliasRow, *, store: ModelStore, open_engine: OpenEngine, open_batcher: OpenBatcher
) -> ServedModel:
    """Load the version that an alias names from the store. Blocks; safe to repeat.

    Raises:
        NotFound: an object is missing.
        Invalid: an object has another digest, is malformed, does not belong to the alias, or
            computes something else than its golden outputs.
        Unavailable: the store did not answer.
    """
    files = read_version(alias, store=store)
    return open_version(alias, files, open_engine=open_engine, open_batcher=open_batcher)


def read_version(alias: AliasRow, *, store: ModelStore) -> VersionFiles:
    """Read the files of the version that an alias names, and check their digests. Blocks.

    Raises:
        NotFound: an object is missing.
        Invalid: an object has another digest, is malformed or does not belong to the alias.
        Unavailable: the store did not answer.
    """
    index = _read_index(alias, store)
    return VersionFiles(
        spec=_read_spec(alias, store),
        index=index,
        golden=_read_file(index, GOLDEN_FILE, store),
        onnx=_read_file(index, ONNX_FILE, store),
    )


def open_version(
    alias: AliasRow, files: VersionFiles, *, open_engine: OpenEngine, open_batcher: OpenBatcher
) -> ServedModel:
    """Open, check and warm a version.

    Raises:
        Invalid: it is malformed, or computes something else than its golden outputs.
    """
    engine, seconds = proved_engine(files, open_engine=open_engine)
    return ServedModel(alias, files.spec, engine, open_batcher(alias, engine, seconds))


def proved_engine(files: VersionFiles, *, open_engine: OpenEngine) -> tuple[Engine, float]:
    """Open, check and warm an engine; return it, and the seconds that one row takes.

    Raises:
        Invalid: it is malformed, or computes something else than its golden outputs.
    """
    engine = open_engine(files.onnx)
    examples = _warm_up_inputs(engine)
    if files.spec is not None and files.index is not None and files.golden is not None:
        inputs, outputs = decode_holdout(files.golden)
        _check_shapes(files.spec, inputs.shape, outputs.shape)
        _check_ends(engine, files.index, files.spec)
        (found,) = engine.run((inputs.astype(np.float32),))
        _check_outputs(found, outputs.astype(np.float32), files.index.tolerance)
        examples = (inputs.astype(np.float32),)
    try:
        seconds = _warm_up(engine, examples)
    except ExportInvalid:
        if files.spec is not None:
            raise
        seconds = _UNKNOWN_SECONDS  # nobody can say which shapes a bare model likes
    return engine, seconds


def _read_index(alias: AliasRow, store: ModelStore) -> ExportIndex:
    data = store.get(export_index_key(alias.sha256, alias.export))
    index = parse_export_index(verified(data, name=INDEX_FILE, sha256=alias.export))
    promised = (alias.model, alias.spec, alias.sha256)
    found = (index.model, index.spec, index.weights)
    if found != promised:
        raise ExportInvalid(f"{INDEX_FILE}: it is of {found}, but the alias names {promised}")
    return index


def _read_spec(alias: AliasRow, store: ModelStore) -> ModelSpec:
    data = store.get(spec_key(alias.spec))
    return parse_model_spec(verified(data, name="model spec", sha256=alias.spec))


def _read_file(index: ExportIndex, name: str, store: ModelStore) -> bytes:
    return verified(
        store.get(export_file_key(index, name)), name=name, sha256=index.files[name].sha256
    )


def _check_ends(engine: Engine, index: ExportIndex, spec: ModelSpec) -> None:
    """A version with a spec has one float32 input and one output of exactly the spec's shapes."""
    signature = engine.signature
    for kind, found, name, sides in (
        ("input", signature.inputs, index.input, len(spec.input.shape)),
        ("output", signature.outputs, index.output, 1),
    ):
        ends = [(info.name, info.datatype, len(info.shape)) for info in found]
        if ends != [(name, "FP32", 1 + sides)]:
            wanted = f"one float32 {name!r} with {1 + sides} axes"
            raise ExportInvalid(f"{ONNX_FILE}: its {kind} is {ends}, promised was {wanted}")


def _check_shapes(spec: ModelSpec, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    wanted = (inputs[0], *spec.input.shape), (inputs[0], len(spec.outputs))
    if (inputs, outputs) != wanted:
        raise ExportInvalid(f"{GOLDEN_FILE}: shapes {inputs} and {outputs}, expected {wanted}")


def _check_outputs(found: Float32Array, golden: Float32Array, tolerance: Tolerance) -> None:
    if found.shape != golden.shape:
        raise ExportInvalid(f"{ONNX_FILE}: outputs of shape {found.shape}, not {golden.shape}")
    if not np.allclose(found, golden, rtol=tolerance.relative, atol=tolerance.absolute):
        farthest = float(np.abs(found - golden).max())
        raise ExportInvalid(
            f"{ONNX_FILE}: an output is {farthest:.3g} away from the golden one, over {tolerance}"
        )


def _warm_up_inputs(engine: Engine) -> Tensors:
    return tuple(map(_zeros, engine.signature.inputs))


def _zeros(info: TensorInfo) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    shape = tuple(max(1, side) for side in info.shape)
    return np.full(shape, b"", object) if info.dtype == object else np.zeros(shape, info.dtype)


def _warm_up(engine: Engine, examples: Tensors) -> float:
    """Run batches of several sizes: the runtime plans its memory by shape. Return a row's cost."""
    if engine.signature.by_row:
        for rows in _WARM_ROWS:
            engine.run(tuple(np.resize(tensor, (rows, *tensor.shape[1:])) for tensor in examples))
        examples = tuple(tensor[:1] for tensor in examples)
    seconds = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        engine.run(examples)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
