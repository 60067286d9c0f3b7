"""A data owner's examples in a file: NumPy's .npz, or a CSV with a header."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rondo.examples import Values
from rondo_core.errors import Invalid
from rondo_core.row_places import lines_of, told_row

__all__ = ["Examples", "load_examples"]

Examples = tuple[Values, Values]
DEFAULT_LABEL = "label"


def load_examples(path: Path, label: str | None = None) -> Examples:
    """Return ``x`` and ``y`` as `Federation.train` and `Operator.register_model` take them.

    Args:
        path: ``.npz`` with the arrays ``x`` and ``y`` (nothing is unpickled), or ``.csv`` with a
            header: one column is what is to be learned, the others are found by the model spec's
            names.
        label: that column; if left out ``label``, or the last one where none is called so.

    Raises:
        Invalid: another kind of file, or one that does not hold that; names row and column.
    """
    match path.suffix.lower():
        case ".npz":
            return _load_npz(path)
        case ".csv":
            return _load_csv(path, label)
        case other:
            raise Invalid(f"{path}: {other or 'no suffix'} is not one of .csv, .npz")


def _load_npz(path: Path) -> Examples:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return arrays["x"], arrays["y"]
    except KeyError as exc:
        raise Invalid(f"{path} must hold the arrays x and y: {exc.args[0]}") from exc
    except (ValueError, zipfile.BadZipFile, EOFError) as exc:
        raise Invalid(f"{path} is not a file of plain arrays: {exc}") from exc


def _load_csv(path: Path, label: str | None) -> Examples:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            rows = list(reader)
        except (csv.Error, UnicodeDecodeError) as exc:
            raise Invalid(f"{path}, after line {reader.line_num}: {exc}") from exc
        columns = reader.fieldnames or ()
    if not rows:
        raise Invalid(f"{path} has no rows below its header")
    target = _label_column(path, columns, label)
    for at, row in enumerate(rows):
        if None in row or None in row.values():
            line = lines_of(path.read_bytes(), {at}, header=True).get(at)
            rule = f"not {len(columns)} values, as the header has"
            raise Invalid(f"{path}, {told_row(at, None, rule, line)}")
    return rows, [row.pop(target) for row in rows]


def _label_column(path: Path, columns: Sequence[str], label: str | None) -> str:
    if label is None:
        return DEFAULT_LABEL if DEFAULT_LABEL in columns else columns[-1]
    if label not in columns:
        raise Invalid(f"{path} has no column {label!r}; it has {', '.join(columns)}")
    return label
