"""Make a folder of models that a server can serve alone: ``python examples/sample_models.py``.

- ``digits``: the 1.2 M parameter CNN of ``examples/mnist-cnn``, trained on scikit-learn's digits,
  enlarged to 28 x 28, and on the same ones smaller and anywhere in the picture, as people draw.
- ``breast-cancer``: a small dense network on scikit-learn's breast cancer data, 30 named columns.
- ``identity``: every datatype of the Open Inference Protocol in, the same out.
"""

import hashlib
import shutil
import sys
from pathlib import Path

import keras
import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper
from sklearn.datasets import load_breast_cancer, load_digits

from rondo_core.exports import (
    INDEX_FILE,
    ONNX_FILE,
    ExportIndex,
    encode_export_index,
    format_of,
)
from rondo_core.input_schema import NumberColumn, TableInput
from rondo_core.keras import build
from rondo_core.keras.export import export
from rondo_core.keras.flat import get_flat
from rondo_core.model_layers import Dense
from rondo_core.model_spec import ModelSpec, encode_model_spec, parse_model_spec
from rondo_core.output_schema import Classes

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "build" / "models"
EPOCHS = {"digits": 3, "breast-cancer": 60}
SIDE = 28
SMALLEST = 12
"""Pixels of a side of the smallest digit."""
COPIES = 3
"""So often each digit is there once more, moved."""

IDENTITY = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def digits() -> tuple[ModelSpec, np.ndarray, np.ndarray]:
    """Return the spec, pictures (n, 28, 28, 1) in 0..255 and their labels."""
    data = (ROOT / "examples" / "mnist-cnn" / "model.json").read_bytes()
    spec = msgspec.structs.replace(parse_model_spec(data), model="digits")
    bunch = load_digits()
    small = bunch.images[..., np.newaxis] * (255 / 16)
    large = keras.ops.convert_to_numpy(keras.ops.image.resize(small, (SIDE, SIDE)))
    moved = [_moved(large, np.random.default_rng(seed)) for seed in range(COPIES)]
    pictures = np.concatenate([large, *moved]).astype(np.float32)
    return spec, pictures, np.tile(bunch.target, 1 + COPIES)


def _moved(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each picture smaller, at some place of a black one."""
    found = np.zeros_like(pictures)
    sides = rng.integers(SMALLEST, SIDE, len(pictures))
    for side in np.unique(sides).tolist():
        which = np.flatnonzero(sides == side)
        small = keras.ops.image.resize(pictures[which], (side, side))
        tops, lefts = rng.integers(0, SIDE - side + 1, (2, len(which))).tolist()
        shown = zip(which.tolist(), keras.ops.convert_to_numpy(small), tops, lefts, strict=True)
        for at, picture, top, left in shown:
            found[at, top : top + side, left : left + side] = picture
    return found


def breast_cancer() -> tuple[ModelSpec, np.ndarray, np.ndarray]:
    """Return the spec, rows (n, 30) and their labels."""
    bunch = load_breast_cancer()
    columns = tuple(
        NumberColumn(
            name=str(name),
            mean=float(values.mean()),
            std=float(values.std()),
            minimum=float(values.min()),
            maximum=float(values.max()),
            out_of_range="warn",
        )
        for name, values in zip(bunch.feature_names, bunch.data.T, strict=True)
    )
    spec = ModelSpec(
        model="breast-cancer",
        input=TableInput(columns=columns),
        layers=(
            Dense(name="hidden", units=32, activation="relu"),
            Dense(name="score", units=1, activation="sigmoid"),
        ),
        output=Classes(labels=tuple(map(str, bunch.target_names))),
        loss="binary_crossentropy",
        metrics=("accuracy", "auc"),
    )
    return parse_model_spec(encode_model_spec(spec)), bunch.data.astype(np.float32), bunch.target


def write(spec: ModelSpec, x: np.ndarray, y: np.ndarray, folder: Path) -> None:
    """Train a model and export it as version 1."""
    keras.utils.set_random_seed(0)
    model = build(spec)
    model.compile("adam", loss=spec.loss, metrics=["accuracy"])
    shown = model.fit(x, y, epochs=EPOCHS[spec.model], batch_size=32, verbose=0).history
    target = folder / spec.model / "1"
    target.mkdir(parents=True)
    flat = get_flat(model)
    report = export(spec, flat, target)
    index = ExportIndex(
        format=format_of(report.files),
        model=spec.model,
        spec=spec.sha256,
        weights=hashlib.sha256(flat.tobytes()).hexdigest(),
        input=report.input,
        output=report.output,
        tolerance=report.tolerance,
        files=report.files,
    )
    (target / "spec.json").write_bytes(encode_model_spec(spec))
    (target / INDEX_FILE).write_bytes(encode_export_index(index))
    metrics = {"accuracy": float(shown["accuracy"][-1])}
    (target / "version.json").write_bytes(msgspec.json.encode({"metrics": metrics}))
    print(f"{target}: accuracy on what it was trained with {metrics['accuracy']:.3f}")


def identity() -> bytes:
    """Return the ONNX model: inputs INPUT_BOOL … INPUT_BYTES, outputs OUTPUT_BOOL and so on."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"INPUT_{n}"], [f"OUTPUT_{n}"]) for n in IDENTITY],
        "identity",
        [helper.make_tensor_value_info(f"INPUT_{n}", t, ["n", "m"]) for n, t in IDENTITY.items()],
        [helper.make_tensor_value_info(f"OUTPUT_{n}", t, ["n", "m"]) for n, t in IDENTITY.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _is_made(spec: ModelSpec, target: Path) -> bool:
    if not (target / INDEX_FILE).exists():
        return False
    is_newer = (target / INDEX_FILE).stat().st_mtime >= Path(__file__).stat().st_mtime
    return is_newer and (target / "spec.json").read_bytes() == encode_model_spec(spec)


def main() -> None:
    """Write all three, unless they are there; what is older than this file is made anew."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    for make in (digits, breast_cancer):
        spec, x, y = make()
        target = folder / spec.model / "1"
        if not _is_made(spec, target):
            shutil.rmtree(target, ignore_errors=True)
            write(spec, x, y, folder)
    target = folder / "identity" / "1"
    target.mkdir(parents=True, exist_ok=True)
    (target / ONNX_FILE).write_bytes(identity())
    print(f"{target}: {len(IDENTITY)} datatypes")


if __name__ == "__main__":
    main()
