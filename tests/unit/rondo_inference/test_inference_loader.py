import msgspec
import numpy as np
import pytest

from rondo_core.errors import Invalid, NotFound
from rondo_core.exports import (
    GOLDEN_FILE,
    ONNX_FILE,
    ExportInvalid,
    Tolerance,
    export_file,
    export_file_key,
)
from rondo_core.holdout import encode_holdout
from rondo_core.model_rows import AliasRow
from rondo_core.testing import MemoryModelStore
from rondo_inference.batcher import Batcher
from rondo_inference.domain.tensors import Tensors
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.runtimes import Engines, Runtime
from rondo_inference.registry.loader import load_version
from rondo_inference.registry.served import ServedModel
from tests.unit.rondo_inference.exported import (
    Export,
    prices_export,
    prices_onnx,
    shapes_export,
    shapes_onnx,
)
from tests.unit.rondo_inference.fakes import TABLE, batcher_of, onnx_alone


def open_batcher(_alias: AliasRow, engine: Engine, row_seconds: float) -> Batcher:
    assert row_seconds > 0
    return batcher_of(engine)


def load(export: Export) -> ServedModel:
    store = MemoryModelStore()
    export.store(store)
    return load_version(export.alias, store=store, engines=onnx_alone(), open_batcher=open_batcher)


def test_a_loaded_version_computes_what_was_exported() -> None:
    served = load(prices_export(7))

    (outputs,) = served.engine.run((np.array([[2, 1]], np.float32),))

    assert outputs.tolist() == [[2 + 10 + 7]]
    assert outputs.dtype == np.float32


def test_a_loaded_version_knows_its_name_number_lineage_and_spec() -> None:
    export = shapes_export(3)

    served = load(export)

    assert (served.name, served.version, served.lineage) == ("shapes", 3, "run-a/30")
    assert served.spec == export.spec


@pytest.mark.parametrize("name", [ONNX_FILE, GOLDEN_FILE])
def test_a_missing_object_is_not_found(name: str) -> None:
    export, store = prices_export(), MemoryModelStore()
    gone = export.files.pop(name)
    export.store(store)

    with pytest.raises(NotFound, match=f"{export_file(gone).sha256}/{name}"):
        load_version(export.alias, store=store, engines=onnx_alone(), open_batcher=open_batcher)


@pytest.mark.parametrize("name", [ONNX_FILE, GOLDEN_FILE])
def test_one_flipped_byte_in_a_file_is_found_by_its_digest(name: str) -> None:
    export, store = prices_export(), MemoryModelStore()
    data = bytearray(export.files.pop(name))
    data[-1] ^= 1
    export.store(store)
    store.put(export_file_key(export.index, name), bytes(data))

    with pytest.raises(ExportInvalid, match=f"{name}: .* bytes with SHA-256"):
        load_version(export.alias, store=store, engines=onnx_alone(), open_batcher=open_batcher)


def test_an_index_of_other_weights_is_refused() -> None:
    export = prices_export(1)
    other = prices_export(2)
    swapped = Export(
        msgspec.structs.replace(other.alias, export=export.alias.export),
        export.index,
        export.spec,
        export.files,
    )

    with pytest.raises(ExportInvalid, match=r"export\.json: it is of"):
        load(swapped)


def test_a_model_whose_outputs_are_not_the_golden_ones_is_refused() -> None:
    export = prices_export(1).with_file(ONNX_FILE, prices_onnx(2))

    with pytest.raises(ExportInvalid, match="an output is 1 away from the golden one"):
        load(export)


def test_a_difference_within_the_tolerance_is_taken() -> None:
    golden = encode_holdout(np.array([[1, 0]], np.float32), np.array([[2.25]], np.float32))
    export = prices_export(1).with_file(GOLDEN_FILE, golden)

    served = load(export.sealed(tolerance=Tolerance(absolute=0.5)))

    assert served.version == 1


def test_an_output_that_is_no_number_never_agrees() -> None:
    with pytest.raises(ExportInvalid, match="nan away from the golden one"):
        load(prices_export(1).with_file(ONNX_FILE, prices_onnx(float("nan"))))


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [(np.zeros((1, 3)), np.zeros((1, 1))), (np.zeros((1, 2)), np.zeros((1, 2)))],
)
def test_golden_examples_of_another_shape_than_the_spec_are_refused(
    inputs: np.ndarray, outputs: np.ndarray
) -> None:
    golden = encode_holdout(inputs.astype(np.float32), outputs.astype(np.float32))

    with pytest.raises(ExportInvalid, match=r"golden\.safetensors: shapes"):
        load(prices_export().with_file(GOLDEN_FILE, golden))


def test_golden_examples_that_are_not_safetensors_are_refused() -> None:
    with pytest.raises(Invalid, match="header"):
        load(prices_export().with_file(GOLDEN_FILE, b"\xff" * 64))


def test_bytes_that_are_no_onnx_are_refused() -> None:
    with pytest.raises(ExportInvalid, match=r"model\.onnx: ONNX Runtime refuses it"):
        load(prices_export().with_file(ONNX_FILE, b"not a model"))


def test_a_model_with_another_input_than_promised_is_refused() -> None:
    with pytest.raises(ExportInvalid, match=r"its input is .* promised was one float32 'columns'"):
        load(prices_export().with_file(ONNX_FILE, shapes_onnx()))


def test_a_model_with_another_output_than_promised_is_refused() -> None:
    export = prices_export(1).with_file(ONNX_FILE, prices_onnx(1, output="cost"))

    with pytest.raises(ExportInvalid, match=r"its output is .* promised was one float32 'price'"):
        load(export)


def test_inputs_that_the_runtime_cannot_take_are_the_exports_fault() -> None:
    served = load(prices_export())

    with pytest.raises(ExportInvalid, match="ONNX Runtime cannot run it"):
        served.engine.run((np.zeros((1, 5), np.float32),))


class ShortEngine:
    """Answers with too few columns."""

    signature = TABLE

    def run(self, inputs: Tensors) -> Tensors:
        return (np.zeros((len(inputs[0]), 0), np.float32),)


def test_outputs_of_another_shape_than_the_golden_ones_are_refused() -> None:
    export, store = prices_export(), MemoryModelStore()
    export.store(store)

    with pytest.raises(ExportInvalid, match=r"outputs of shape \(3, 0\), not \(3, 1\)"):
        load_version(
            export.alias,
            store=store,
            engines=Engines((Runtime("short", ONNX_FILE, lambda _: ShortEngine()),)),
            open_batcher=open_batcher,
        )
