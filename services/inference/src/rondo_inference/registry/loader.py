"""From an alias row to a version that is verified, warm and proved to compute as Keras did."""

from collections.abc import Callable

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
from rondo_inference.engines import Engine
from rondo_inference.registry.served import ServedModel

__all__ = ["OpenEngine", "load_version"]

OpenEngine = Callable[[bytes, ExportIndex], Engine]


def load_version(alias: AliasRow, *, store: ModelStore, open_engine: OpenEngine) -> ServedModel:
    """Load the version that an alias names. Blocks; safe to repeat; changes nothing.

    Raises:
        NotFound: an object is missing.
        Invalid: an object has another digest, is malformed, does not belong to the alias, or
            computes something else than its golden outputs.
        Unavailable: the store did not answer.
    """
    index = _read_index(alias, store)
    spec = _read_spec(alias, store)
    inputs, outputs = decode_holdout(_read_file(index, GOLDEN_FILE, store))
    _check_shapes(spec, inputs.shape, outputs.shape)
    engine = open_engine(_read_file(index, ONNX_FILE, store), index)
    examples = inputs.astype(np.float32)
    _check_outputs(engine.run(examples), outputs.astype(np.float32), index.tolerance)
    engine.run(examples[:1])  # the runtime plans its memory by shape: warm for a single row too
    return ServedModel(alias, spec, engine)


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
