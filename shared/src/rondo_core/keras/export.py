"""Turning weights into what is served: ONNX, SavedModel, LiteRT, proved to agree with Keras.

All take raw inputs (preprocessing is inside) and any number of examples, and give one output,
float32 (n, outputs): a probability for each label, or the number.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from rondo_core.exports import (
    GOLDEN_FILE,
    ONNX_FILE,
    SAVED_MODEL_FOLDER,
    TFLITE_FILE,
    WEIGHTS_FILE,
    ExportFile,
    ExportInvalid,
    Tolerance,
)
from rondo_core.holdout import encode_holdout
from rondo_core.input_schema import CategoryColumn, ImageInput
from rondo_core.keras.building import build
from rondo_core.keras.flat import set_flat
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes
from rondo_core.weights import sha256_file

__all__ = [
    "OUTPUT_NAME",
    "ExportReport",
    "Run",
    "export",
    "golden_inputs",
    "largest_difference",
    "optional_form",
]

log = logging.getLogger(__name__)

OUTPUT_NAME = "outputs"
_GOLDEN_EXAMPLES = 8
_APART_BYTES = 1 << 20
"""From here on an ONNX file keeps its weights apart, to be mapped; a short one is read sooner."""

Run = Callable[[Float32Array], Float32Array]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export consists of, and how exact it is.

    Attributes:
        files: path in the folder (``/`` between names) -> digest and size, sorted by path.
        input: name of the one input, of all runtimes.
        output: name of the one output.
        tolerance: what every runtime was held to.
        differences: runtime -> largest absolute difference from Keras on the golden inputs; LiteRT
            is not among them where the model cannot be converted for it.
    """

    files: dict[str, ExportFile]
    input: str
    output: str
    tolerance: Tolerance
    differences: dict[str, float]


def export(spec: ModelSpec, flat: Float32Array, folder: Path) -> ExportReport:
    """Write all files of an export into an empty folder, run them, and compare with Keras.

    Exporting the same weights again gives the same golden file, but other bytes of the models:
    they hold names from counters of the process, and a SavedModel a random id.

    Args:
        spec: what the weights belong to.
        flat: the version's weights, float32 (size,), all finite.
        folder: exists; holds afterwards exactly the files of the report.

    Raises:
        LayoutMismatch: ``flat`` is not the weights of this spec.
        ExportInvalid: SavedModel or ONNX answers otherwise than Keras; names it and the difference.
    """
    model = build(spec)
    set_flat(model, flat)
    serving = _serving_model(spec, model)
    inputs = golden_inputs(spec)
    outputs = keras.ops.convert_to_numpy(serving(inputs, training=False)[OUTPUT_NAME])
    tolerance = Tolerance()
    runtimes = {
        "SavedModel": _saved_model(serving, folder / SAVED_MODEL_FOLDER),
        "ONNX Runtime": _onnx(serving, folder / ONNX_FILE),
    }
    differences = {
        name: largest_difference(name, run, inputs, outputs, tolerance)
        for name, run in runtimes.items()
    }
    differences |= optional_form(
        "LiteRT", partial(_tflite, folder), folder / TFLITE_FILE, (inputs, outputs), tolerance
    )
    (folder / GOLDEN_FILE).write_bytes(encode_holdout(inputs, outputs))
    return ExportReport(
        files=_files(folder),
        input=spec.input.tensor_name,
        output=OUTPUT_NAME,
        tolerance=tolerance,
        differences=differences,
    )


def golden_inputs(spec: ModelSpec) -> Float32Array:
    """Return raw examples drawn from the input schema: always the same for one spec.

    Returns:
        float32 (8, columns) or (8, height, width, channels).
    """
    random = np.random.Generator(np.random.PCG64(spec.seed))
    if isinstance(spec.input, ImageInput):
        shape = (_GOLDEN_EXAMPLES, *spec.input.shape)
        return random.uniform(spec.input.minimum, spec.input.maximum, shape).astype(np.float32)
    columns = [
        random.integers(len(column.values), size=_GOLDEN_EXAMPLES)
        if isinstance(column, CategoryColumn)
        else random.normal(column.mean, column.std, _GOLDEN_EXAMPLES)
        for column in spec.input.columns
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _serving_model(spec: ModelSpec, model: keras.Model) -> keras.Model:
    """Name the output, and give two labels that share a unit a probability each."""
    values = model.output
    if isinstance(spec.output, Classes) and len(spec.outputs) != values.shape[-1]:
        values = keras.ops.concatenate([1.0 - values, values], axis=-1)
    return keras.Model(model.input, {OUTPUT_NAME: values}, name=spec.model)


def _saved_model(serving: keras.Model, folder: Path) -> Run:
    serving.export(folder, format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(folder)
    return lambda inputs: np.asarray(loaded.serve(inputs)[OUTPUT_NAME])


def _onnx(serving: keras.Model, path: Path) -> Run:
    with warnings.catch_warnings():
        # Keras's own: it asks NumPy for ``np.object`` on behalf of tf2onnx.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        serving.export(path, format="onnx", verbose=False)
    if path.stat().st_size >= _APART_BYTES:
        onnx.save(onnx.load(path), path, save_as_external_data=True, location=WEIGHTS_FILE)
        (path.parent / WEIGHTS_FILE).chmod(path.stat().st_mode)  # or only we could read it
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (found.name for found in session.get_inputs())
    return lambda inputs: np.asarray(session.run([OUTPUT_NAME], {name: inputs})[0])


def _tflite(folder: Path, path: Path) -> Run:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL_FOLDER))
    path.write_bytes(converter.convert())
    interpreter = Interpreter(model_path=path, num_threads=1)
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(inputs: Float32Array) -> Float32Array:
        interpreter.resize_tensor_input(takes["index"], inputs.shape, strict=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(takes["index"], inputs)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(gives["index"]))

    return run


def optional_form(
    name: str,
    write: Callable[[Path], Run],
    path: Path,
    golden: tuple[Float32Array, Float32Array],
    tolerance: Tolerance,
) -> dict[str, float]:
    """Write a form that an export may lack; where it fails or disagrees, log why and remove it.

    Args:
        name: of the runtime.
        write: makes the file, and returns what runs it.
        path: of the file.
        golden: inputs, and what Keras answered.
        tolerance: for each output.

    Returns:
        The runtime with its largest difference, or nothing.
    """
    try:
        return {name: largest_difference(name, write(path), *golden, tolerance)}
    except Exception as exc:  # noqa: BLE001  (converters raise whatever; the version is served without)
        path.unlink(missing_ok=True)
        log.warning("form not exported", extra={"runtime": name, "reason": str(exc)})
        return {}


def largest_difference(
    name: str, run: Run, inputs: Float32Array, outputs: Float32Array, tolerance: Tolerance
) -> float:
    """Run all examples at once and one alone, so that a frozen batch size is found too.

    Args:
        name: of the runtime, for the error.
        run: inputs float32 (n, ...) -> outputs float32 (n, outputs), for any n >= 1.
        inputs: the golden inputs.
        outputs: what Keras answered.
        tolerance: for each output.

    Returns:
        The largest absolute difference found.

    Raises:
        ExportInvalid: a shape is another, or an output is out of tolerance or not a number.
    """
    largest = 0.0
    for stop in (len(inputs), 1):
        found = run(inputs[:stop])
        expected = outputs[:stop]
        if found.shape != expected.shape:
            raise ExportInvalid(f"{name} gives {found.shape}, Keras {expected.shape}")
        difference = np.abs(found - expected)
        allowed = tolerance.absolute + tolerance.relative * np.abs(expected)
        if not (difference <= allowed).all():  # NaN is not <= anything
            raise ExportInvalid(f"{name} differs from Keras by {difference.max()}")
        largest = max(largest, float(difference.max()))
    return largest


def _files(folder: Path) -> dict[str, ExportFile]:
    return {
        path.relative_to(folder).as_posix(): ExportFile(
            sha256=sha256_file(path), size=path.stat().st_size
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
