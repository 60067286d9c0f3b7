"""A model's outputs as people and programs read them: TF Serving's JSON, labelled JSON, CSV.

A row with an output that is NaN or Infinity has no label, since none is the likeliest. Programs get
the row all the same: as null, or in CSV as an empty label, so that none of them takes it for a
class. Where people read, on the page and in the output of a batch job, it is a fault of the row.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from operator import attrgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes
from rondo_inference.domain.row_faults import RowFault

__all__ = ["NOT_FINITE", "csv_answer", "labelled_rows", "likeliest", "set_aside", "tensor_answer"]

NOT_FINITE = "the model's answer is not a number (NaN or Infinity)"


def tensor_answer(outputs: Float32Array, *, by_column: bool = False) -> bytes:
    """Return TF Serving's answer: ``{"predictions": [[…], …]}``, or ``{"outputs": …}`` by column.

    Values that are not finite appear as bare NaN and Infinity, as TF Serving writes them.

    Args:
        outputs: (n, outputs); for a classifier the probabilities in the order of the spec's labels.
        by_column: the request had ``inputs``, not ``instances``.

    Example:
        >>> tensor_answer(np.array([[0.25, 0.75]], np.float32))
        b'{"predictions":[[0.25,0.75]]}'
    """
    return _json({"outputs" if by_column else "predictions": outputs.tolist()}, outputs)


def labelled_rows(spec: ModelSpec, outputs: Float32Array) -> list[object]:
    """Return one object per row that needs no table of labels to be read.

    A class: ``{"label": "7", "probabilities": {"0": …, …}}``. A number: ``{"price": 12.5}``.
    What is not finite is None: no contract asks for bare NaN here, and strict parsers refuse it.
    """
    rows: list[list[float | None]] = outputs.tolist()
    if not np.isfinite(outputs).all():
        rows = [[one if math.isfinite(one) else None for one in row] for row in outputs.tolist()]
    if not isinstance(spec.output, Classes):
        return [{spec.output.name: row[0]} for row in rows]
    labels = spec.output.labels
    return [
        {"label": label, "probabilities": dict(zip(labels, row, strict=True))}
        for label, row in zip(likeliest(spec.output, outputs), rows, strict=True)
    ]


def likeliest(classes: Classes, outputs: Float32Array) -> list[str | None]:
    """Return each row's label; None where an output is not finite."""
    finite, best = _are_finite(outputs).tolist(), outputs.argmax(axis=1).tolist()
    return [
        classes.labels[at] if is_told else None for at, is_told in zip(best, finite, strict=True)
    ]


def set_aside(
    faults: Sequence[RowFault], outputs: Float32Array
) -> tuple[NDArray[np.bool_], tuple[RowFault, ...]]:
    """Make faults of the rows that the model answers with numbers that are not finite.

    Args:
        faults: the rows that do not fit, in order; they were not asked.
        outputs: (n, outputs), of the n others, in order.

    Returns:
        Which of the outputs are answers, (n,); all faults in order.

    Example:
        >>> set_aside([RowFault(0, "a", "is empty")], np.array([[np.nan], [1]], np.float32))[1][1]
        RowFault(row=1, column=None, rule="the model's answer is not a number (NaN or Infinity)")
    """
    answered = _are_finite(outputs)
    if answered.all():
        return answered, tuple(faults)
    unfit = {fault.row for fault in faults}
    asked = (row for row in range(len(unfit) + len(outputs)) if row not in unfit)
    found = [
        RowFault(row, None, NOT_FINITE)
        for row, is_told in zip(asked, answered.tolist(), strict=True)
        if not is_told
    ]
    return answered, tuple(sorted([*faults, *found], key=attrgetter("row")))


def csv_answer(spec: ModelSpec, outputs: Float32Array) -> bytes:
    r"""Return a CSV with one line per row, in the order of the request.

    A class: ``label``, then ``probability_<label>`` for each label. A number: one column, its name.
    What is not finite is ``nan``, ``inf`` or ``-inf``, and its row's label is empty.
    """
    cells = outputs.astype(str).tolist()  # the shortest text that is this float32
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(spec.output, Classes):
        labels = spec.output.labels
        writer.writerow(["label", *(f"probability_{label}" for label in labels)])
        told = likeliest(spec.output, outputs)
        writer.writerows([label, *row] for label, row in zip(told, cells, strict=True))
    else:
        writer.writerow([spec.output.name])
        writer.writerows(cells)
    return text.getvalue().encode()


def _json(answer: Mapping[str, object], outputs: Float32Array) -> bytes:
    if np.isfinite(outputs).all():
        return msgspec.json.encode(answer)
    return json.dumps(answer, separators=(",", ":")).encode()  # msgspec would write NaN as null


def _are_finite(outputs: Float32Array) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(outputs).all(axis=1))
