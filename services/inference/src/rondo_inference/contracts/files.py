"""Files in, files out: a CSV with a header, answered row by row."""

from rondo_core.layout import Float32Array
from rondo_inference.contracts.messages import CSV, Answer
from rondo_inference.domain.answers import csv_answer, labelled_answer
from rondo_inference.domain.csv_rows import decode_csv
from rondo_inference.handlers import Predict
from rondo_inference.registry.served import ServedModel

__all__ = ["as_csv", "predict_csv"]


def predict_csv(predict: Predict, body: bytes, served: ServedModel, *, wanted: str) -> Answer:
    """Predict the rows of a CSV; the answer is a CSV, or labelled JSON where that is wanted."""
    outputs = predict(served, decode_csv(body, served.spec))
    if wanted == CSV:
        return as_csv(served, outputs)
    return Answer(labelled_answer(served.spec, outputs))


def as_csv(served: ServedModel, outputs: Float32Array) -> Answer:
    """Return outputs as a CSV with a header."""
    return Answer(csv_answer(served.spec, outputs), media=f"{CSV}; charset=utf-8")
