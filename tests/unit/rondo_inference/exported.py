"""Tiny exports for the tests of inference: real ONNX files with answers to be checked by hand."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rondo_core.exports import (
    GOLDEN_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    ExportIndex,
    encode_export_index,
    export_file,
    export_file_key,
    export_index_key,
)
from rondo_core.holdout import encode_holdout
from rondo_core.input_schema import CategoryColumn, ImageInput, NumberColumn, TableInput
from rondo_core.keys import alias_key
from rondo_core.layout import Float32Array
from rondo_core.model_layers import Dense, Flatten
from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import ModelSpec, encode_model_spec
from rondo_core.model_store import ModelStore, spec_key
from rondo_core.output_schema import Classes, Number
from rondo_core.rows import to_item
from rondo_core.run_store import Put, RunStore

PRICES = ModelSpec(
    model="prices",
    input=TableInput(
        columns=(NumberColumn(name="rooms"), CategoryColumn(name="town", values=("Aa", "Bonn")))
    ),
    layers=(Dense(name="head", units=1),),
    output=Number(name="price"),
    loss="mean_squared_error",
)
"""Its versions answer ``rooms + 10 * (town is Bonn) + version``."""

HOMES = msgspec.structs.replace(
    PRICES,
    model="homes",
    input=TableInput(
        columns=(
            NumberColumn(name="rooms", minimum=1.0, maximum=9.5),
            NumberColumn(name="area", minimum=10.0, out_of_range="warn"),
        )
    ),
)
"""Its versions answer ``rooms + 10 * area + version``. Bounds: of rooms refused, of area told."""

SHAPES = ModelSpec(
    model="shapes",
    input=ImageInput(height=2, width=2),
    layers=(Flatten(name="flat"), Dense(name="head", units=2, activation="softmax")),
    output=Classes(labels=("light", "dark")),
    loss="sparse_categorical_crossentropy",
)
"""Its versions answer 0.5 for both labels for a black picture."""


def prices_onnx(version: float, *, output: str = "price") -> bytes:
    """Return ``columns @ [[1], [10]] + version``."""
    return _model(
        [
            helper.make_node("MatMul", ["columns", "kernel"], ["product"]),
            helper.make_node("Add", ["product", "bias"], [output]),
        ],
        ("columns", ["n", 2]),
        (output, ["n", 1]),
        {"kernel": [[1.0], [10.0]], "bias": [version]},
    )


def shapes_onnx() -> bytes:
    """Return ``softmax([sum / 255, 0])``."""
    return _model(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        ("image", ["n", 2, 2, 1]),
        ("probabilities", ["n", 2]),
        {"kernel": [[1 / 255, 0.0]] * 4},
    )


def _model(
    nodes: list[object],
    takes: tuple[str, list[object]],
    gives: tuple[str, list[object]],
    constants: dict[str, object],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(takes[0], TensorProto.FLOAT, takes[1])],
        [helper.make_tensor_value_info(gives[0], TensorProto.FLOAT, gives[1])],
        [
            numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    data: bytes = model.SerializeToString()
    return data


@dataclass
class Export:
    """Everything that one promotion writes; a test spoils a part of it before it is written."""

    alias: AliasRow
    index: ExportIndex
    spec: ModelSpec
    files: dict[str, bytes] = field(default_factory=dict)

    def sealed(self, **changes: object) -> "Export":
        """Return it with a changed index, and the alias that names that index."""
        index = msgspec.structs.replace(self.index, **changes)
        digest = hashlib.sha256(encode_export_index(index)).hexdigest()
        return Export(
            msgspec.structs.replace(self.alias, export=digest), index, self.spec, self.files
        )

    def with_file(self, name: str, data: bytes) -> "Export":
        """Return it with another file, listed by its right digest."""
        self.files[name] = data
        return self.sealed(files={**self.index.files, name: export_file(data)})

    def store(self, store: ModelStore) -> None:
        """Write all objects."""
        store.put(spec_key(self.spec.sha256), encode_model_spec(self.spec))
        for name, data in self.files.items():
            store.put(export_file_key(self.index, name), data)
        key = export_index_key(self.alias.sha256, self.alias.export)
        store.put(key, encode_export_index(self.index))

    def promote(self, rows: RunStore) -> None:
        """Let the alias name it."""
        rows.commit(Put(alias_key(self.alias.model, self.alias.label), to_item(self.alias)))


def prices_export(version: int = 1, *, label: str = "champion") -> Export:
    """Return version ``version`` of `PRICES`."""
    inputs = np.array([[0, 0], [3, 1], [1, 0]], np.float32)
    outputs = inputs @ np.array([[1], [10]], np.float32) + np.float32(version)
    return _export(PRICES, prices_onnx(version), (inputs, outputs), version, label)


def homes_export(version: int = 1) -> Export:
    """Return version ``version`` of `HOMES`."""
    inputs = np.array([[1, 10], [3, 20]], np.float32)
    outputs = inputs @ np.array([[1], [10]], np.float32) + np.float32(version)
    return _export(HOMES, prices_onnx(version), (inputs, outputs), version, "champion")


def shapes_export(version: int = 1) -> Export:
    """Return version ``version`` of `SHAPES`."""
    inputs = np.zeros((1, 2, 2, 1), np.float32)
    outputs = np.array([[0.5, 0.5]], np.float32)
    return _export(SHAPES, shapes_onnx(), (inputs, outputs), version, "champion")


def _export(
    spec: ModelSpec,
    onnx: bytes,
    golden: tuple[Float32Array, Float32Array],
    version: int,
    label: str,
) -> Export:
    files = {ONNX_FILE: onnx, GOLDEN_FILE: encode_holdout(*golden)}
    weights = hashlib.sha256(f"{spec.model} {version}".encode()).hexdigest()
    index = ExportIndex(
        model=spec.model,
        spec=spec.sha256,
        weights=weights,
        input=spec.input.tensor_name,
        output="price" if isinstance(spec.output, Number) else "probabilities",
        files={name: export_file(data) for name, data in files.items()},
    )
    alias = AliasRow(
        model=spec.model,
        label=label,
        run_id="run-a",
        version=10 * version,
        model_version=version,
        sha256=weights,
        export="",
        spec=spec.sha256,
        holdout_sha256="0" * 64,
        metrics={"loss": 0.5},
        promoted_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return Export(alias, index, spec, files).sealed()


IDENTITY_TYPES = {
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


def identity_onnx(*datatypes: str, sides: tuple[object, ...] = ("n", "m")) -> bytes:
    """Return a model that gives each input back: ``IN_FP32`` as ``OUT_FP32``, and so on.

    With one datatype the names are ``x`` and ``y``; with BYTES alone ``x`` and ``y_bytes``.
    """
    chosen = datatypes or tuple(IDENTITY_TYPES)
    ends = {f"IN_{one}": f"OUT_{one}" for one in chosen}
    if len(chosen) == 1:
        ends = {"x": "y_bytes" if chosen == ("BYTES",) else "y"}
    types = [IDENTITY_TYPES[one] for one in chosen]
    infos = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [gives]) for name, gives in ends.items()],
        "identity",
        [infos(name, kind, list(sides)) for name, kind in zip(ends, types, strict=True)],
        [infos(name, kind, list(sides)) for name, kind in zip(ends.values(), types, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    data: bytes = model.SerializeToString()
    return data


def apart(model: bytes) -> dict[str, bytes]:
    """Return the files of a model that keeps all its weights apart."""
    with TemporaryDirectory() as text:
        onnx.save(
            onnx.load_from_string(model),
            Path(text, ONNX_FILE),
            save_as_external_data=True,
            location=WEIGHTS_FILE,
            size_threshold=0,
        )
        return {name: Path(text, name).read_bytes() for name in (ONNX_FILE, WEIGHTS_FILE)}


def write_version(export: Export, folder: Path) -> None:
    """Write a version as ``FolderAliases`` reads it, at ``folder/MODEL/VERSION``."""
    target = folder / export.alias.model / str(export.alias.model_version)
    target.mkdir(parents=True, exist_ok=True)
    for name, data in export.files.items():
        (target / name).write_bytes(data)
    (target / "export.json").write_bytes(encode_export_index(export.index))
    (target / "spec.json").write_bytes(encode_model_spec(export.spec))
    note = {"run_id": export.alias.run_id, "round": export.alias.version}
    (target / "version.json").write_bytes(msgspec.json.encode(note))


def write_onnx(folder: Path, model: str, onnx: bytes, version: int = 1) -> None:
    """Write a bare ONNX file as a version."""
    target = folder / model / str(version)
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(onnx)


def sample_folder(folder: Path) -> Path:
    """Write prices 1 and 2 (``candidate`` is 1), shapes 3, and three identities."""
    for export in (prices_export(1), prices_export(2), shapes_export(3)):
        write_version(export, folder)
    (folder / "prices" / "labels.json").write_text('{"candidate": 1}')
    write_onnx(folder, "identity", identity_onnx())
    write_onnx(folder, "floats", identity_onnx("FP32"))
    write_onnx(folder, "words", identity_onnx("BYTES", sides=("n",)))
    return folder
