import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import SpecInvalid
from rondo_core.events import Scalar
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.model_layers import (
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Layer,
    LayerNormalization,
    MaxPooling2D,
    output_shape,
)
from rondo_core.model_spec import ModelSpec, encode_model_spec, parse_model_spec
from rondo_core.spec_errors import spec_invalid
from rondo_core.training_parameters import RunTraining, TrainingParameters
from rondo_core.weights import digest

Document = dict[str, Any]
ABSENT = object()

CHURN: Document = {
    "model": "churn",
    "input": {
        "kind": "table",
        "columns": [
            {"kind": "number", "name": "age", "mean": 40, "std": 12},
            {"kind": "category", "name": "country", "values": ["DE", "ES", "FR"]},
        ],
    },
    "layers": [
        {"kind": "Dense", "name": "hidden", "units": 5, "activation": "relu"},
        {"kind": "Dense", "name": "scores", "units": 1, "activation": "sigmoid"},
    ],
    "output": {"kind": "classes", "labels": ["stays", "leaves"]},
    "loss": "binary_crossentropy",
    "metrics": ["accuracy", "auc"],
    "training": {"epochs": 1},
}
PRICE: Document = {
    **CHURN,
    "layers": [CHURN["layers"][0], {"kind": "Dense", "name": "price", "units": 1}],
    "output": {"kind": "number", "name": "price"},
    "loss": "mean_squared_error",
    "metrics": [],
}
DROPOUT: Document = {"kind": "Dropout", "name": "drop", "rate": 0.5}
PICTURES: Document = {
    "model": "pictures",
    "input": {"kind": "image", "height": 9, "width": 7, "channels": 3},
    "layers": [
        {"kind": "Conv2D", "name": "edges", "filters": 4, "strides": 2},
        {"kind": "MaxPooling2D", "name": "pool"},
        {"kind": "Flatten", "name": "flat"},
        {"kind": "Dense", "name": "scores", "units": 3, "activation": "softmax"},
    ],
    "output": {"kind": "classes", "labels": ["cat", "dog", "emu"]},
    "loss": "sparse_categorical_crossentropy",
}


def parsed(document: Document) -> ModelSpec:
    return parse_model_spec(json.dumps(document).encode())


def changed(document: Document, places: Mapping[str, object]) -> Document:
    """Return a copy with other values at places like ``layers.0.units``; ABSENT removes one."""
    copied = copy.deepcopy(document)
    for place, value in places.items():
        *steps, last = (int(step) if step.isdigit() else step for step in place.split("."))
        holder: Any = copied
        for step in steps:
            holder = holder[step]
        if value is ABSENT:
            del holder[last]
        else:
            holder[last] = value
    return copied


def refused(document: Document, places: Mapping[str, object]) -> SpecInvalid:
    with pytest.raises(SpecInvalid) as caught:
        parsed(changed(document, places))
    return caught.value


def places_in(value: object, prefix: str = "") -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
    for key, inner in items:
        yield f"{prefix}{key}"
        if isinstance(inner, dict | list):
            yield from places_in(inner, f"{prefix}{key}.")


# --- identity -------------------------------------------------------------------------------------


def test_the_canonical_json_has_sorted_keys_no_spaces_and_every_field() -> None:
    data = encode_model_spec(parsed(CHURN))

    document = json.loads(data)
    assert data == json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert document["seed"] == 0
    assert document["training"]["batch_size"] == 32


def test_key_order_spaces_and_written_out_defaults_do_not_change_the_digest() -> None:
    spelled = dict(reversed(CHURN.items())) | {"seed": 0, "training": {"epochs": 1}}

    spec = parse_model_spec(json.dumps(spelled, indent=3).encode())

    assert spec.sha256 == parsed(CHURN).sha256


def test_a_spec_comes_back_from_its_canonical_json() -> None:
    for document in (CHURN, PICTURES):
        spec = parsed(document)

        assert parse_model_spec(encode_model_spec(spec)) == spec


def test_the_digest_of_a_stored_spec_never_changes() -> None:
    assert parsed(CHURN).sha256 == (
        "115a525069d0d3083ca052cdd6e5f8c2d4879d3eb771dd604326509e9c8ae462"
    )


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("seed", 1),
        ("model", "other"),
        ("training", {"epochs": 2}),
        ("layers.0.name", "other"),
        ("layers.0.activation", "tanh"),
        ("input.columns.0.mean", 41),
        ("input.columns.1.values", ["FR", "ES", "DE"]),
        ("output.labels", ["leaves", "stays"]),
        ("metrics", ["auc", "accuracy"]),
    ],
)
def test_any_change_of_content_changes_the_digest(place: str, value: object) -> None:
    assert parsed(changed(CHURN, {place: value})).sha256 != parsed(CHURN).sha256


def test_names_of_inputs_and_outputs() -> None:
    assert parsed(CHURN).input_names == ("age", "country")
    assert parsed(PICTURES).input_names == ("image",)
    assert parsed(CHURN).outputs == ("stays", "leaves")
    assert parsed(PRICE).outputs == ("price",)


# --- what types and bounds refuse -----------------------------------------------------------------


def test_a_forbidden_layer_is_refused_with_the_list_of_what_is_allowed() -> None:
    error = refused(CHURN, {"layers.0.kind": "Lambda"})

    assert error.path == "$.layers[0].kind"
    assert error.rule == (
        "Invalid value 'Lambda'; allowed: AveragePooling2D, Conv2D, Dense, Dropout, Flatten, "
        "GlobalAveragePooling2D, LayerNormalization, MaxPooling2D"
    )


@pytest.mark.parametrize(
    ("place", "value", "path", "rule"),
    [
        ("layers.0.units", 0, "$.layers[0].units", "Expected `int` >= 1, found 0"),
        ("layers.0.units", 65_537, "$.layers[0].units", "Expected `int` <= 65536, found 65537"),
        ("layers.0.units", "5", "$.layers[0].units", "Expected `int`, got `str`, found '5'"),
        ("layers.0.units", True, "$.layers[0].units", "Expected `int`, got `bool`, found True"),
        ("layers.0.units", [1], "$.layers[0].units", "Expected `int`, got `array`"),
        ("layers.0.activation", "eval", "$.layers[0].activation", "'eval'; allowed: elu, linear"),
        ("layers.0.fn", "x", "$.layers[0]", "Object contains unknown field `fn`"),
        ("layers.0.name", "a/b", "$.layers[0].name", "found 'a/b'"),
        ("layers.0.name", "_a", "$.layers[0].name", "found '_a'"),
        ("layers.0.name", "a\n", "$.layers[0].name", r"found 'a\n'"),
        ("layers.0.name", "a" * 65, "$.layers[0].name", "length <= 64"),
        ("layers.0.name", "image", "$.layers[0].name", "'image' is reserved"),
        ("layers.1.name", "preprocess", "$.layers[1].name", "'preprocess' is reserved"),
        ("layers.1.name", "hidden", "$.layers", "layer name 'hidden' appears twice"),
        ("layers.1.name", ABSENT, "$.layers[1]", "missing required field `name`"),
        ("layers.1.kind", ABSENT, "$.layers[1]", "missing required field `kind`"),
        ("layers", [], "$.layers", "length >= 1"),
        ("layers", CHURN["layers"] * 101, "$.layers", "length <= 200"),
        ("loss", "hinge", "$.loss", "'hinge'; allowed: binary_crossentropy, "),
        ("metrics", ["f1"], "$.metrics[0]", "'f1'; allowed: accuracy, auc"),
        ("seed", -1, "$.seed", "Expected `int` >= 0, found -1"),
        ("seed", 2**31, "$.seed", "found 2147483648"),
        ("surprise", 1, "$", "Object contains unknown field `surprise`"),
        ("model", "../up", "$.model", "found '../up'"),
        ("input.kind", "sound", "$.input.kind", "'sound'; allowed: image, table"),
        ("input.columns", [], "$.input.columns", "length >= 1"),
        ("input.columns.0.kind", "text", "$.input.columns[0].kind", "allowed: category, number"),
        ("input.columns.0.std", 0, "$.input.columns[0].std", "found 0"),
        ("input.columns.0.mean", 1e31, "$.input.columns[0].mean", "found 1e+31"),
        ("input.columns.0.name", "country", "$.input.columns", "'country' appears twice"),
        ("input.columns.1.name", "", "$.input.columns[1].name", "found ''"),
        ("input.columns.1.values", [], "$.input.columns[1].values", "length >= 1"),
        ("input.columns.1.values", ["a", "a"], "$.input.columns[1].values", "'a' appears twice"),
        ("input.rows", 3, "$.input", "unknown field `rows`"),
        ("input.columns.0.median", 3, "$.input.columns[0]", "unknown field `median`"),
        ("output.weights", [1, 2], "$.output", "unknown field `weights`"),
        ("output.kind", "box", "$.output.kind", "'box'; allowed: classes, number"),
        ("output.labels", ["a"], "$.output.labels", "length >= 2"),
        ("training.epochs", 0, "$.training.epochs", "found 0"),
        ("training.optimizer", "lion", "$.training.optimizer", "'lion'; allowed: adam, sgd"),
        ("training.learning_rate", 0, "$.training.learning_rate", "> 0"),
        ("training.momentum", 1, "$.training.momentum", "< 1.0, found 1"),
        ("training.nesterov", True, "$.training", "unknown field `nesterov`"),
    ],
)
def test_a_wrong_field_is_refused_with_its_path_value_and_rule(
    place: str, value: object, path: str, rule: str
) -> None:
    error = refused(CHURN, {place: value})

    assert error.path == path
    assert rule in error.rule


def test_the_pictures_range_must_not_be_empty() -> None:
    error = refused(PICTURES, {"input.minimum": 255})

    assert str(error) == "$.input.maximum: 255.0 is not greater than minimum 255.0"


@pytest.mark.parametrize("place", ["layers.0.name", "layers.0.kind", "layers.0.activation"])
def test_a_long_value_is_cut_in_the_error(place: str) -> None:
    error = refused(CHURN, {place: "x" * 10_000})

    assert len(error.rule) < 400


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"model": NaN}',
        pytest.param(b'{"layers":' + b"[" * 100_000, id="deep"),
        pytest.param(b'{"model":' + b"[" * 100_000, id="deep where a text is expected"),
        pytest.param(json.dumps(CHURN).encode() + b" " * 4 * 1024 * 1024, id="long"),
    ],
)
def test_what_is_not_a_document_is_refused(data: bytes) -> None:
    with pytest.raises(SpecInvalid):
        parse_model_spec(data)


def test_a_number_beyond_float_is_refused() -> None:
    data = json.dumps(CHURN).replace('"mean": 40', '"mean": 1e999').encode()

    with pytest.raises(SpecInvalid, match=r"columns\[0\].mean"):
        parse_model_spec(data)


def test_a_place_that_cannot_be_found_again_is_named_without_its_value() -> None:
    error = msgspec.ValidationError("Expected `int` - at `$[...].units`")

    found = spec_invalid(error, b'{"dense": {"units": "x"}}', {})

    assert str(found) == "$[...].units: Expected `int`"


def test_a_document_that_is_cut_after_its_first_fault_is_refused_for_the_fault() -> None:
    with pytest.raises(SpecInvalid, match=r"^\$.model: Expected `str`, got `int`$"):
        parse_model_spec(b'{"model": 3, ')


# --- what ties the parts together -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "path", "rule"),
    [
        ("layers.1.activation", "softmax", "$.layers[1]", "units 1 and activation 'sigmoid'"),
        ("layers.1.units", 2, "$.layers[1]", "units 1 and activation 'sigmoid'"),
        ("layers.1", DROPOUT, "$.layers[1]", "the last layer must be Dense"),
        ("loss", "mean_squared_error", "$.loss", "'mean_squared_error' does not fit"),
        ("output.labels", ["a", "b", "c"], "$.loss", "'binary_crossentropy' does not fit"),
        ("output.labels", ["a", "a"], "$.output.labels", "'a' appears twice"),
        ("output", {"kind": "number", "name": "price"}, "$.loss", "a number takes"),
        ("metrics", ["mean_absolute_error"], "$.metrics[0]", "allowed: accuracy, auc"),
        ("metrics", ["auc", "auc"], "$.metrics", "'auc' appears twice"),
    ],
)
def test_output_loss_metrics_and_last_layer_must_fit(
    place: str, value: object, path: str, rule: str
) -> None:
    error = refused(CHURN, {place: value})

    assert error.path == path
    assert rule in error.rule


def test_softmax_needs_one_unit_for_each_label() -> None:
    error = refused(PICTURES, {"layers.3.units": 4})

    assert "units 3 and activation 'softmax'" in error.rule


def test_two_labels_may_have_a_unit_each() -> None:
    places = {
        "loss": "sparse_categorical_crossentropy",
        "layers.1.units": 2,
        "layers.1.activation": "softmax",
        "metrics": ["accuracy"],
    }

    assert parsed(changed(CHURN, places)).outputs == ("stays", "leaves")


def test_area_under_the_curve_needs_one_unit_for_two_labels() -> None:
    error = refused(PICTURES, {"metrics": ["auc"]})

    assert str(error) == "$.metrics[0]: 'auc' does not fit the loss; allowed: accuracy"


def test_a_number_takes_a_linear_unit_and_the_mean_absolute_error() -> None:
    assert parsed(changed(PRICE, {"metrics": ["mean_absolute_error"]}))
    assert "activation 'linear'" in refused(PRICE, {"layers.1.activation": "relu"}).rule
    assert "allowed: mean_absolute_error" in refused(PRICE, {"metrics": ["accuracy"]}).rule


@pytest.mark.parametrize(
    ("place", "value", "path", "rule"),
    [
        ("layers.2", ABSENT, "$.layers[2]", "Dense 'scores' needs a flat input (put Flatten or"),
        ("layers.0.kernel_size", 8, "$.layers[0]", "a window of 8 does not fit into 9 x 7"),
        ("layers.1.pool_size", 4, "$.layers[1]", "a window of 4 does not fit into 4 x 3"),
    ],
)
def test_layers_must_fit_each_other(place: str, value: object, path: str, rule: str) -> None:
    error = refused(PICTURES, {place: value})

    assert error.path == path
    assert rule in error.rule


@pytest.mark.parametrize("kind", ["Conv2D", "MaxPooling2D", "AveragePooling2D"])
def test_a_picture_layer_refuses_columns(kind: str) -> None:
    first = {"kind": kind, "name": "first"} | ({"filters": 3} if kind == "Conv2D" else {})

    error = refused(CHURN, {"layers.0": first})

    assert error.path == "$.layers[0]"
    assert error.rule == f"{kind} 'first' needs height, width and channels, found shape (4,)"


def test_a_model_that_is_too_large_is_refused() -> None:
    one, two = ({"kind": "Dense", "name": name, "units": 65_536} for name in ("one", "two"))

    error = refused(CHURN, {"layers": [one, two, CHURN["layers"][1]]})

    assert str(error) == "$.layers: 4295426049 parameters are over 268435456"


def test_a_layer_output_that_is_too_large_is_refused() -> None:
    places = {"height": 1024, "width": 1024}
    layer = {"strides": 1, "filters": 17, "padding": "same"}

    error = refused(
        PICTURES,
        {f"input.{name}": value for name, value in places.items()}
        | {f"layers.0.{name}": value for name, value in layer.items()},
    )

    assert str(error) == "$.layers[0]: an output of 17825792 values is over 16777216"


def test_an_example_that_is_too_large_is_refused() -> None:
    error = refused(PICTURES, {"input.height": 4096, "input.width": 4096})

    assert str(error) == "$.input: an example of 50331648 values is over 16777216"


# --- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_layer", "shape", "expected"),
    [
        (Dense(name="a", units=3), (5,), (3,)),
        (Conv2D(name="a", filters=4), (9, 7, 3), (7, 5, 4)),
        (Conv2D(name="a", filters=4, kernel_size=3, strides=2), (9, 7, 3), (4, 3, 4)),
        (Conv2D(name="a", filters=4, kernel_size=7), (9, 7, 3), (3, 1, 4)),
        (Conv2D(name="a", filters=4, padding="same"), (9, 7, 3), (9, 7, 4)),
        (Conv2D(name="a", filters=4, strides=2, padding="same"), (9, 7, 3), (5, 4, 4)),
        (MaxPooling2D(name="a"), (9, 7, 3), (4, 3, 3)),
        (AveragePooling2D(name="a", pool_size=3), (9, 7, 3), (3, 2, 3)),
        (GlobalAveragePooling2D(name="a"), (9, 7, 3), (3,)),
        (Flatten(name="a"), (9, 7, 3), (189,)),
        (Dropout(name="a", rate=0.5), (9, 7, 3), (9, 7, 3)),
        (LayerNormalization(name="a"), (5,), (5,)),
    ],
)
def test_shape_of_each_layer(
    given_layer: Layer, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert output_shape(given_layer, shape, "$") == expected


def test_global_pooling_refuses_a_flat_input() -> None:
    with pytest.raises(SpecInvalid, match="needs height, width and channels"):
        output_shape(GlobalAveragePooling2D(name="a"), (5,), "$")


def test_variables_are_named_and_ordered_as_in_keras() -> None:
    layout = layout_of_spec(parsed(PICTURES))

    assert [(tensor.name, tensor.shape) for tensor in layout.tensors] == [
        ("edges/kernel", (3, 3, 3, 4)),
        ("edges/bias", (4,)),
        ("scores/kernel", (8, 3)),
        ("scores/bias", (3,)),
    ]


def test_a_category_is_as_wide_as_its_words() -> None:
    assert layout_of_spec(parsed(CHURN)).tensors[0].shape == (1 + 3, 5)


def test_layer_normalization_has_gamma_and_beta() -> None:
    hidden, scores = CHURN["layers"]
    norm = {"kind": "LayerNormalization", "name": "norm"}
    spec = parsed(changed(CHURN, {"layers": [hidden, norm, scores]}))
    layout = layout_of_spec(spec)

    arrays = layout.to_arrays(initial_weights(spec))

    assert [tensor.name for tensor in layout.tensors[2:4]] == ["norm/gamma", "norm/beta"]
    assert arrays["norm/gamma"].tolist() == [1.0] * 5
    assert arrays["norm/beta"].tolist() == [0.0] * 5


# --- initial weights ------------------------------------------------------------------------------


def test_initial_weights_are_the_same_bytes_everywhere() -> None:
    weights = initial_weights(parsed(PICTURES))

    assert weights.dtype == np.float32
    assert digest(weights.data) == (
        "5b516f31d35bdfd2ec914cfecef355e03f7d1f301b2d8df4ea8e3350793d7c0c"
    )


def test_kernels_fill_glorots_range_and_biases_are_zero() -> None:
    spec = parsed(changed(PICTURES, {"layers.0.filters": 400}))
    arrays = layout_of_spec(spec).to_arrays(initial_weights(spec))
    limit = np.sqrt(6 / (9 * (3 + 400)))

    kernel = arrays["edges/kernel"]

    assert not arrays["edges/bias"].any()
    assert np.abs(kernel).max() <= limit
    assert kernel.max() > 0.99 * limit
    assert kernel.min() < -0.99 * limit
    assert abs(kernel.mean()) < 0.02 * limit


def test_another_seed_draws_other_kernels() -> None:
    one, two = (initial_weights(parsed(changed(PICTURES, {"seed": seed}))) for seed in (1, 2))

    assert not np.array_equal(one, two)


def test_layers_of_one_shape_draw_different_kernels() -> None:
    one, two = ({"kind": "Dense", "name": name, "units": 4} for name in ("one", "two"))
    spec = parsed(changed(CHURN, {"layers": [one, two, CHURN["layers"][1]]}))

    arrays = layout_of_spec(spec).to_arrays(initial_weights(spec))

    assert arrays["one/kernel"].shape == arrays["two/kernel"].shape
    assert not np.array_equal(arrays["one/kernel"], arrays["two/kernel"])


# --- training parameters --------------------------------------------------------------------------


def test_a_run_overrides_single_parameters() -> None:
    defaults = TrainingParameters(epochs=4, learning_rate=0.5)

    parameters = defaults.overridden({"batch_size": 8, "optimizer": "adam"})

    assert parameters == RunTraining(epochs=4, learning_rate=0.5, batch_size=8, optimizer="adam")


@pytest.mark.parametrize(
    ("overrides", "path", "rule"),
    [
        ({"epochs": 0}, "$.training.epochs", "found 0"),
        ({"epochs": "3"}, "$.training.epochs", "found '3'"),
        ({"optimizer": "lion"}, "$.training.optimizer", "'lion'; allowed: adam, sgd"),
        ({"proximal_mu": -0.1}, "$.training.proximal_mu", "found -0.1"),
        ({"proximal_mu": 1001}, "$.training.proximal_mu", "found 1001"),
        ({"speed": 3}, "$.training", "Object contains unknown field `speed`"),
    ],
)
def test_a_wrong_override_is_refused(overrides: dict[str, Scalar], path: str, rule: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        TrainingParameters().overridden(overrides)

    assert caught.value.path == path
    assert rule in caught.value.rule


# --- whatever arrives -----------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70_000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)


@given(place=st.sampled_from(list(places_in(CHURN))), value=SCALARS)
def test_one_changed_value_gives_a_model_or_a_named_place(place: str, value: object) -> None:
    data = json.dumps(changed(CHURN, {place: value})).encode()

    try:
        spec = parse_model_spec(data)
    except SpecInvalid as error:
        path, rule = error.path, error.rule
    else:
        path, rule = "$", f"{initial_weights(spec).size} = {layout_of_spec(spec).size}"

    assert path.startswith("$")
    assert rule
