"""Models in Keras, from the spec to what is served. One process imports TensorFlow once."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from rondo_core.errors import Invalid, LayoutMismatch
from rondo_core.exports import TFLITE_FILE, ExportFile, ExportInvalid, Tolerance
from rondo_core.holdout import decode_holdout
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.input_arrays import check_inputs
from rondo_core.keras import build, evaluate, get_flat, layout_of, predict, set_flat
from rondo_core.keras.export import (
    ExportReport,
    Run,
    export,
    golden_inputs,
    largest_difference,
    optional_form,
)
from rondo_core.layout import Float32Array
from rondo_core.model_inputs import decode_rows
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.training_parameters import TrainingParameters
from rondo_core.weights import sha256_file

Document = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"

CHURN: Document = {
    "model": "churn",
    "input": {
        "kind": "table",
        "columns": [
            {"kind": "category", "name": "country", "values": ["DE", "ES", "FR"]},
            {"kind": "number", "name": "age", "mean": 40, "std": 10},
            {"kind": "category", "name": "member", "values": ["no", "yes"]},
            {"kind": "number", "name": "balance", "mean": 1000, "std": 500},
        ],
    },
    "layers": [
        {"kind": "Dense", "name": "hidden", "units": 7, "activation": "tanh"},
        {"kind": "LayerNormalization", "name": "norm"},
        {"kind": "Dropout", "name": "drop", "rate": 0.5},
        {"kind": "Dense", "name": "leaving", "units": 1, "activation": "sigmoid"},
    ],
    "output": {"kind": "classes", "labels": ["stays", "leaves"]},
    "loss": "binary_crossentropy",
    "metrics": ["accuracy", "auc"],
}
PRICE: Document = {
    **CHURN,
    "model": "price",
    "layers": [{"kind": "Dense", "name": "price", "units": 1}],
    "output": {"kind": "number", "name": "price"},
    "loss": "mean_squared_error",
    "metrics": ["mean_absolute_error"],
}
# Every picture layer, on sizes that do not divide evenly.
PICTURES: Document = {
    "model": "every-layer",
    "input": {
        "kind": "image", "height": 13, "width": 11, "channels": 3, "minimum": -1, "maximum": 3,
    },
    "layers": [
        {"kind": "Conv2D", "name": "one", "filters": 5, "padding": "same", "strides": 2},
        {"kind": "LayerNormalization", "name": "norm", "epsilon": 0.01},
        {"kind": "MaxPooling2D", "name": "peaks"},
        {"kind": "Conv2D", "name": "two", "filters": 4, "kernel_size": 1, "activation": "elu"},
        {"kind": "AveragePooling2D", "name": "means", "pool_size": 1},
        {"kind": "Dropout", "name": "drop", "rate": 0.25},
        {"kind": "GlobalAveragePooling2D", "name": "whole"},
        {"kind": "Flatten", "name": "flat"},
        {"kind": "Dense", "name": "scores", "units": 3, "activation": "softmax"},
    ],
    "output": {"kind": "classes", "labels": ["cat", "dog", "emu"]},
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}  # fmt: skip


def parsed(document: Document) -> ModelSpec:
    return parse_model_spec(json.dumps(document).encode())


def digits() -> ModelSpec:
    return parse_model_spec((EXAMPLES / "digits" / "model.json").read_bytes())


SPECS = {
    "churn": parsed(CHURN), "price": parsed(PRICE), "pictures": parsed(PICTURES),
    "digits": digits(),
}  # fmt: skip


@pytest.fixture(params=list(SPECS))
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return SPECS[request.param]


def random_weights(spec: ModelSpec, seed: int = 7) -> Float32Array:
    """Unlike the initial ones, no bias is 0 and no factor 1."""
    return np.random.default_rng(seed).normal(0, 0.5, layout_of_spec(spec).size).astype("f4")


def with_activation(activation: str) -> ModelSpec:
    document = copy.deepcopy(CHURN)
    document["layers"][0]["activation"] = activation
    return parsed(document)


# --- building -------------------------------------------------------------------------------------


def test_the_layout_foreseen_from_the_spec_is_keras_own(spec: ModelSpec) -> None:
    assert layout_of(build(spec)) == layout_of_spec(spec)


def test_a_model_is_built_with_the_initial_weights_of_its_spec(spec: ModelSpec) -> None:
    assert get_flat(build(spec)).tobytes() == initial_weights(spec).tobytes()


def test_the_flat_vector_goes_in_and_comes_out(spec: ModelSpec) -> None:
    model, flat = build(spec), random_weights(spec)

    set_flat(model, flat)

    assert get_flat(model).tobytes() == flat.tobytes()


def test_each_column_lands_where_the_layout_says() -> None:
    spec = SPECS["churn"]
    model, layout = build(spec), layout_of_spec(spec)

    set_flat(model, np.arange(layout.size, dtype=np.float32))

    for weight, array in zip(model.weights, model.get_weights(), strict=True):
        for position, value in np.ndenumerate(array):
            assert layout.locate(int(value)) == (weight.path, position)


def test_a_vector_of_another_model_is_refused() -> None:
    with pytest.raises(LayoutMismatch):
        set_flat(build(SPECS["churn"]), initial_weights(SPECS["price"]))


def test_state_of_training_is_not_a_weight() -> None:
    spec = SPECS["churn"]
    model = build(spec, TrainingParameters(optimizer="adam"))
    inputs = golden_inputs(spec)

    model.fit(inputs, np.zeros(len(inputs)), verbose=0)

    assert layout_of(model) == layout_of_spec(spec)


def test_training_parameters_reach_the_optimizer() -> None:
    default = build(SPECS["digits"]).optimizer
    other = build(SPECS["digits"], TrainingParameters(optimizer="adam", learning_rate=0.5))

    assert type(default).__name__ == "SGD"
    assert float(default.learning_rate) == np.float32(SPECS["digits"].training.learning_rate)
    assert default.momentum == SPECS["digits"].training.momentum
    assert type(other.optimizer).__name__ == "Adam"
    assert float(other.optimizer.learning_rate) == 0.5


def test_a_model_learns() -> None:
    spec = SPECS["digits"]
    targets = np.arange(8) % 10
    model = build(spec)
    before = evaluate(model, golden_inputs(spec), targets)

    model.fit(golden_inputs(spec), targets, epochs=60, verbose=0)

    after = evaluate(model, golden_inputs(spec), targets)
    assert after["loss"] < before["loss"] / 2


# --- preprocessing --------------------------------------------------------------------------------


def test_columns_are_scaled_and_words_spread_in_the_columns_order() -> None:
    """One linear unit per place, so that its weight shows what the layer before it gave."""
    spec = SPECS["price"]
    rows = [["ES", 60, "yes", 0], ["FR", 30, "no", 1500]]
    expected = [[0, 1, 0, 2, 0, 1, -2], [0, 0, 1, -1, 1, 0, 1]]
    model = build(spec)

    seen = []
    for place in range(7):
        set_flat(model, np.eye(8, dtype=np.float32)[place])
        seen.append(predict(model, decode_rows(spec, rows))[:, 0])

    assert np.array(seen).T.tolist() == expected


def test_pixels_are_mapped_to_zero_to_one() -> None:
    layers = [
        {"kind": "GlobalAveragePooling2D", "name": "mean"},
        {"kind": "Dense", "name": "price", "units": 1},
    ]
    same = {key: PRICE[key] for key in ("output", "loss", "metrics")}
    spec = parsed(PICTURES | {"layers": layers} | same)
    model = build(spec)
    set_flat(model, np.array([1, 0, 0, 0], np.float32))

    pictures = np.array([-1, 0, 1, 3], np.float32)[:, None, None, None] * np.ones((13, 11, 3), "f4")

    assert predict(model, pictures)[:, 0] == pytest.approx([0, 0.25, 0.5, 1], abs=1e-6)


# --- evaluating -----------------------------------------------------------------------------------


def test_evaluation_agrees_with_keras_own(spec: ModelSpec) -> None:
    model, random = build(spec), np.random.default_rng(1)
    set_flat(model, random_weights(spec) * 0.3)
    inputs = np.concatenate([golden_inputs(spec)] * 40)  # more than one batch, the last one short
    targets = random.integers(0, len(spec.outputs), len(inputs))

    ours = evaluate(model, inputs, targets)

    theirs = model.evaluate(inputs, targets, verbose=0, return_dict=True)
    assert ours.pop("examples") == len(inputs)
    assert ours.pop("auc", 0) == pytest.approx(theirs.pop("auc", 0), abs=0.02)  # Keras's: 200 steps
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def test_evaluation_does_not_depend_on_the_batches() -> None:
    spec = SPECS["digits"]
    model = build(spec)
    inputs = np.concatenate([golden_inputs(spec)] * 65)

    together = predict(model, inputs)

    assert together.shape == (520, 10)
    assert together[512:] == pytest.approx(predict(model, inputs[:8]), abs=1e-6)


def test_dropout_is_off_when_predicting() -> None:
    model, inputs = build(SPECS["churn"]), golden_inputs(SPECS["churn"])

    assert np.array_equal(predict(model, inputs), predict(model, inputs))


def test_no_example_is_refused() -> None:
    with pytest.raises(Invalid, match="no example"):
        evaluate(build(SPECS["churn"]), np.zeros((0, 4), np.float32), np.zeros(0))


# --- exporting ------------------------------------------------------------------------------------


def outputs_of(folder: Path, report: ExportReport, inputs: Float32Array) -> list[Float32Array]:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    loaded = tf.saved_model.load(folder / "saved_model")
    lite = Interpreter(model_path=folder / TFLITE_FILE)
    return [
        session.run([report.output], {report.input: inputs})[0],
        loaded.signatures["serving_default"](**{report.input: tf.constant(inputs)})[
            report.output
        ].numpy(),
        lite.get_signature_runner()(**{report.input: inputs})[report.output],
    ]


def test_an_export_answers_as_keras_for_any_number_of_examples(
    spec: ModelSpec, tmp_path: Path
) -> None:
    flat = random_weights(spec)
    report = export(spec, flat, tmp_path)
    model = build(spec)
    set_flat(model, flat)
    inputs = np.concatenate([golden_inputs(spec)] * 5)

    for count in (1, 3, 40):
        expected = predict(model, inputs[:count])
        if len(spec.outputs) == 2:
            expected = np.concatenate([1 - expected, expected], axis=1)
        for found in outputs_of(tmp_path, report, inputs[:count]):
            assert found.dtype == np.float32
            assert found.shape == (count, len(spec.outputs))
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_large_export_keeps_its_weights_apart_and_a_small_one_does_not(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.mkdir()
    small.mkdir()
    file = Path(__file__).parents[2] / "examples" / "mnist-cnn" / "model.json"
    digits = parse_model_spec(file.read_bytes())  # 1.2 M parameters

    report = export(digits, random_weights(digits), large)

    assert report.files["model.onnx"].size < 100_000
    assert report.files["model.onnx.data"].size > 4_000_000
    modes = {(large / name).stat().st_mode for name in ("model.onnx", "model.onnx.data")}
    assert len(modes) == 1  # who may read one may read the other
    assert (
        "model.onnx.data" not in export(SPECS["churn"], random_weights(SPECS["churn"]), small).files
    )


def test_probabilities_of_the_labels_sum_to_one(tmp_path: Path) -> None:
    spec = SPECS["churn"]
    report = export(spec, random_weights(spec), tmp_path)

    (found, *_) = outputs_of(tmp_path, report, golden_inputs(spec))

    assert found.sum(axis=1) == pytest.approx(1)
    assert found.min() >= 0


def test_a_report_lists_exactly_the_files_with_their_digests(tmp_path: Path) -> None:
    spec = SPECS["churn"]

    report = export(spec, random_weights(spec), tmp_path)

    present = {
        path.relative_to(tmp_path).as_posix(): ExportFile(
            sha256=sha256_file(path), size=path.stat().st_size
        )
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert report.files == present
    assert list(report.files) == sorted(present)
    assert {"golden.safetensors", "model.onnx", TFLITE_FILE} <= present.keys()
    assert "saved_model/saved_model.pb" in present
    assert (report.input, report.output) == ("columns", "outputs")
    assert set(report.differences) == {"LiteRT", "ONNX Runtime", "SavedModel"}
    assert max(report.differences.values()) < 1e-5


def test_golden_examples_fit_the_schema_and_are_what_keras_answered(
    spec: ModelSpec, tmp_path: Path
) -> None:
    flat = random_weights(spec)
    export(spec, flat, tmp_path)

    inputs, outputs = decode_holdout((tmp_path / "golden.safetensors").read_bytes())

    model = build(spec)
    set_flat(model, flat)
    assert len(inputs) == 8
    assert np.array_equal(check_inputs(spec, inputs), golden_inputs(spec))
    assert outputs[:, -1] == pytest.approx(predict(model, golden_inputs(spec))[:, -1], rel=1e-5)


def test_exporting_again_gives_the_same_golden_file(tmp_path: Path) -> None:
    spec = SPECS["churn"]
    reports = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        reports.append(export(spec, random_weights(spec), tmp_path / name))

    assert len({report.files["golden.safetensors"].sha256 for report in reports}) == 1


@pytest.mark.parametrize(
    "activation",
    ["elu", "linear", "relu", "selu", "sigmoid", "silu", "softmax", "softplus", "tanh"],
)
def test_every_activation_can_be_exported(activation: str, tmp_path: Path) -> None:
    spec = with_activation(activation)

    report = export(spec, random_weights(spec), tmp_path)

    assert len(report.differences) == 3
    assert max(report.differences.values()) < 1e-5


def test_weights_of_another_model_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(LayoutMismatch):
        export(SPECS["churn"], initial_weights(SPECS["price"]), tmp_path)


INPUTS = np.ones((8, 2), np.float32)
OUTPUTS = np.full((8, 3), 0.5, np.float32)


def test_a_runtime_within_tolerance_passes() -> None:
    found = largest_difference(
        "it", lambda x: OUTPUTS[: len(x)] + 2e-5, INPUTS, OUTPUTS, Tolerance()
    )

    assert found == pytest.approx(2e-5, rel=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y + 7e-5, "it differs from Keras by [67]"),
        (lambda y: y * np.nan, "it differs from Keras by nan"),
        (lambda y: y[:, :2], r"it gives \(8, 2\), Keras \(8, 3\)"),
        (lambda _: OUTPUTS, r"it gives \(8, 3\), Keras \(1, 3\)"),
        (lambda y: y + (1 if len(y) == 1 else 0), "it differs from Keras by 1.0"),
    ],
    ids=["far", "nan", "narrow", "frozen batch", "wrong alone"],
)
def test_a_runtime_that_differs_is_refused(change: Any, message: str) -> None:
    def run(inputs: Float32Array) -> NDArray[np.float32]:
        changed: NDArray[np.float32] = change(OUTPUTS[: len(inputs)])
        return changed

    with pytest.raises(ExportInvalid, match=message):
        largest_difference("it", run, INPUTS, OUTPUTS, Tolerance())


def _cannot_convert(path: Path) -> Run:
    path.write_bytes(b"half of it")
    raise RuntimeError("an operation that it does not have")


def _answers_one(path: Path) -> Run:
    path.write_bytes(b"all of it")
    return lambda inputs: np.ones((len(inputs), 3), np.float32)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (_cannot_convert, "an operation that it does not have"),
        (_answers_one, "LiteRT differs from Keras by 0.5"),
    ],
    ids=["fails", "disagrees"],
)
def test_a_form_that_fails_or_disagrees_is_left_out_and_the_log_says_why(
    write: Callable[[Path], Run], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / TFLITE_FILE

    assert optional_form("LiteRT", write, path, (INPUTS, OUTPUTS), Tolerance()) == {}

    assert not path.exists()
    assert [record.__dict__["reason"] for record in caplog.records] == [reason]
