"""Models in Keras: built from a spec, filled from a flat vector, evaluated (extra ``keras``).

`rondo_core.keras.export` stands apart, since it needs ONNX Runtime too.
"""

from rondo_core.initial_weights import initial_weights
from rondo_core.keras.building import build
from rondo_core.keras.evaluation import evaluate, predict
from rondo_core.keras.flat import get_flat, layout_of, set_flat
from rondo_core.keras.steps import compiled_steps

__all__ = [
    "build",
    "compiled_steps",
    "evaluate",
    "get_flat",
    "initial_weights",
    "layout_of",
    "predict",
    "set_flat",
]
