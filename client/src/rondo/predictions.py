"""Ask a served model: rows in a file, answers row by row."""

import csv
import io
from pathlib import Path

import httpx
import msgspec
import numpy as np

from rondo.errors import Missing
from rondo.inference_link import InferenceLink
from rondo_core.errors import Invalid

__all__ = ["Prediction", "Predictions", "ask", "read_rows"]

_PROBABILITY = "probability_"
_LOOK_SECONDS = 0.5


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer for one row.

    Attributes:
        label: the likeliest label, or None where the model predicts a number.
        probabilities: of each label.
        values: the numbers predicted, by name.
    """

    label: str | None = None
    probabilities: dict[str, float] = {}
    values: dict[str, float] = {}


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """The answers for all rows, in order, and the version that gave them."""

    model: str
    version: str
    predictions: list[Prediction]


def read_rows(path: Path) -> tuple[bytes, str]:
    """Return a request's body and content type.

    Args:
        path: ``.csv`` with a header, ``.json`` as TF Serving takes it, or ``.npy`` (never
            unpickled).

    Raises:
        Invalid: another kind of file, or no array.
    """
    match path.suffix.lower():
        case ".csv":
            return path.read_bytes(), "text/csv"
        case ".json":
            return path.read_bytes(), "application/json"
        case ".npy":
            return msgspec.json.encode({"instances": _array(path).tolist()}), "application/json"
        case other:
            raise Invalid(f"{path}: {other or 'no suffix'} is not one of .csv, .json, .npy")


def ask(
    link: InferenceLink,
    model: str,
    body: bytes,
    content_type: str,
    *,
    appear_seconds: float = 5.0,
) -> Predictions:
    """Send rows to a model.

    Args:
        link: to inference.
        model: its name.
        body: the rows, as `read_rows` gives them.
        content_type: of the body.
        appear_seconds: for how long a model that is not served may just have been promoted.

    Raises:
        GatewayError: inference refuses; the text names row and column.
        Missing: the model is not served.
        Unavailable: it does not answer.
        Invalid: it answers something else than predictions.
    """
    path = str(httpx.URL("/invocations", params={"model": model}))
    headers = {"Content-Type": content_type, "Accept": "text/csv"}
    clock = link.patience.clock
    appear_by = clock.monotonic() + appear_seconds
    while True:
        try:
            response = link.answer("POST", path, content=body, headers=headers)
            break
        except Missing:
            if clock.monotonic() >= appear_by:
                raise
            clock.sleep(_LOOK_SECONDS)
    return Predictions(
        model=model,
        version=response.headers.get("X-Rondo-Version", "unknown"),
        predictions=_parse(response.text),
    )


def _array(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            return np.asarray(np.load(file, allow_pickle=False))
    except (ValueError, EOFError) as exc:
        raise Invalid(f"{path} is not a plain array: {exc}") from exc


def _parse(text: str) -> list[Prediction]:
    try:
        return [_prediction(row) for row in csv.DictReader(io.StringIO(text), strict=True)]
    except (csv.Error, ValueError, AttributeError) as exc:
        raise Invalid(f"the answer is not the CSV of predictions: {exc}") from exc


def _prediction(row: dict[str, str]) -> Prediction:
    label = row.pop("label", None)
    if label is None:
        return Prediction(values={name: float(value) for name, value in row.items()})
    probabilities = {
        name.removeprefix(_PROBABILITY): float(value)
        for name, value in row.items()
        if name.startswith(_PROBABILITY)
    }
    return Prediction(label=label, probabilities=probabilities)
