import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from rondo_core.errors import Invalid
from rondo_core.output_schema import Loss
from rondo_core.scores import area_under_curve, confusion_matrix, scores

Array = NDArray[np.generic]


def f32(values: object) -> NDArray[np.float32]:
    return np.array(values, np.float32)


PROBABILITIES = f32([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]])


def test_classes_by_hand() -> None:
    found = scores("sparse_categorical_crossentropy", PROBABILITIES, np.array([0, 1, 1]))

    assert found == pytest.approx(
        {"examples": 3, "loss": (np.log(2) + np.log(4 / 3) + np.log(4)) / 3, "accuracy": 2 / 3}
    )


def test_two_labels_on_one_unit_by_hand() -> None:
    found = scores("binary_crossentropy", f32([[0.75], [0.5], [0.25]]), np.array([1, 0, 1]))

    assert found == pytest.approx(
        {
            "examples": 3,
            "loss": (np.log(4 / 3) + np.log(2) + np.log(4)) / 3,
            "accuracy": 2 / 3,  # a half is the first label, as in Keras
            "auc": 1 / 2,
        }
    )


def test_numbers_by_hand() -> None:
    found = scores("mean_squared_error", f32([[1], [5]]), np.array([2.0, 2.0]))

    assert found == {"examples": 2, "loss": 5, "mean_absolute_error": 2}


def test_a_certain_and_wrong_answer_costs_a_finite_loss() -> None:
    found = scores("sparse_categorical_crossentropy", f32([[1, 0]]), np.array([1]))

    assert found["loss"] == pytest.approx(-np.log(1e-7))


def test_the_area_is_absent_where_all_examples_have_one_label() -> None:
    outputs = f32([[0.75], [0.5]])

    assert "auc" not in scores("binary_crossentropy", outputs, np.array([1, 1]))
    assert "auc" not in scores("binary_crossentropy", outputs, np.array([0, 0]))


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "rule"),
    [
        ("mean_squared_error", np.zeros((0, 1)), np.zeros(0), "not n >= 1 rows"),
        ("mean_squared_error", np.zeros((2, 1)), np.zeros(3), "not n >= 1 rows"),
        ("mean_squared_error", np.zeros((2, 1)), np.zeros((2, 1)), "not n >= 1 rows"),
        ("mean_squared_error", np.zeros(2), np.zeros(2), "not n >= 1 rows"),
        ("mean_squared_error", np.full((2, 1), np.nan), np.zeros(2), "not finite"),
        ("binary_crossentropy", np.full((2, 1), 0.5), np.array([0, 2]), "not classes 0..1"),
        ("sparse_categorical_crossentropy", PROBABILITIES, np.array([0, 1, 3]), "classes 0..2"),
        ("sparse_categorical_crossentropy", PROBABILITIES, np.array([0, -1, 0]), "from -1 to 0"),
        ("sparse_categorical_crossentropy", PROBABILITIES, np.array([0, 1, 0.5]), "classes 0..2"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    loss: Loss, outputs: NDArray[np.float32], targets: Array, rule: str
) -> None:
    with pytest.raises(Invalid, match=rule):
        scores(loss, outputs.astype(np.float32), targets)


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from([0.125, 0.25, 0.5, 0.75]), st.integers(0, 1)),
        min_size=2,
        max_size=30,
    ).filter(lambda pairs: len({label for _, label in pairs}) == 2)
)
def test_the_area_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[float, int]]) -> None:
    likelihood, labels = (np.array(values) for values in zip(*pairs, strict=True))
    above = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one in likelihood[labels == 1]
        for other in likelihood[labels == 0]
    ]

    found = scores("binary_crossentropy", f32(likelihood)[:, None], labels)

    assert area_under_curve(likelihood, labels) == pytest.approx(np.mean(above))
    assert found["auc"] == pytest.approx(np.mean(above))


@given(
    outputs=hnp.arrays(np.float32, (7, 3), elements=st.floats(0.015625, 1, width=32)),
    targets=hnp.arrays(np.int64, 7, elements=st.integers(0, 2)),
)
def test_confusion_counts_what_accuracy_counts(
    outputs: NDArray[np.float32], targets: NDArray[np.int64]
) -> None:
    found = scores("sparse_categorical_crossentropy", outputs, targets)

    matrix = confusion_matrix(outputs, targets)

    assert matrix.sum(axis=1).tolist() == np.bincount(targets, minlength=3).tolist()
    assert np.trace(matrix) / 7 == pytest.approx(found["accuracy"])


def test_confusion_has_true_classes_as_rows() -> None:
    assert confusion_matrix(PROBABILITIES, np.array([0, 0, 1])).tolist() == [
        [1, 1, 0],
        [0, 0, 1],
        [0, 0, 0],
    ]
    assert confusion_matrix(f32([[0.75], [0.25]]), np.array([1, 1])).tolist() == [[0, 0], [1, 1]]
    with pytest.raises(Invalid):
        confusion_matrix(PROBABILITIES, np.array([0, 0, 3]))
