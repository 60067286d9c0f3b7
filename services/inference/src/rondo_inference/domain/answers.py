"""A model's outputs as people and programs read them: TF Serving's JSON, labelled JSON, CSV."""

import csv
import io
import json
from collections.abc import Mapping

import msgspec
import numpy as np

from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes

__all__ = ["csv_answer", "labelled_rows", "tensor_answer"]


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
    """
    if not isinstance(spec.output, Classes):
        return [{spec.output.name: row[0]} for row in outputs.tolist()]
    labels = spec.output.labels
    return [
        {"label": labels[best], "probabilities": dict(zip(labels, row, strict=True))}
        for best, row in zip(outputs.argmax(axis=1).tolist(), outputs.tolist(), strict=True)
    ]


def csv_answer(spec: ModelSpec, outputs: Float32Array) -> bytes:
    r"""Return a CSV with one line per row, in the order of the request.

    A class: ``label``, then ``probability_<label>`` for each label. A number: one column, its name.
    """
    cells = outputs.astype(str).tolist()  # the shortest text that is this float32
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(spec.output, Classes):
        labels = spec.output.labels
        writer.writerow(["label", *(f"probability_{label}" for label in labels)])
        best = outputs.argmax(axis=1).tolist()
        writer.writerows([labels[at], *row] for at, row in zip(best, cells, strict=True))
    else:
        writer.writerow([spec.output.name])
        writer.writerows(cells)
    return text.getvalue().encode()


def _json(answer: Mapping[str, object], outputs: Float32Array) -> bytes:
    if np.isfinite(outputs).all():
        return msgspec.json.encode(answer)
    return json.dumps(answer, separators=(",", ":")).encode()  # msgspec would write NaN as null
