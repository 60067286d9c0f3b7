"""The published models as specs that a run could name."""

import json
from typing import Any

from rondo_core.model_spec import ModelSpec, parse_model_spec

__all__ = ["MCMAHAN_CNN", "NIID_CNN"]


def _spec(name: str, layers: list[dict[str, Any]], **training: float) -> ModelSpec:
    picture = {"kind": "image", "height": 28, "width": 28, "channels": 1}
    document = {
        "model": name,
        "input": picture | {"minimum": 0, "maximum": 255},
        "layers": layers,
        "output": {"kind": "classes", "labels": [str(label) for label in range(10)]},
        "loss": "sparse_categorical_crossentropy",
        "metrics": ["accuracy"],
        "training": {"optimizer": "sgd", **training},
    }
    return parse_model_spec(json.dumps(document).encode())


def _convolution(name: str, filters: int, padding: str) -> list[dict[str, Any]]:
    shape = {"filters": filters, "kernel_size": 5, "padding": padding, "activation": "relu"}
    return [
        {"kind": "Conv2D", "name": name, **shape},
        {"kind": "MaxPooling2D", "name": f"{name}_pool"},
    ]


def _dense(name: str, units: int, activation: str = "relu") -> dict[str, Any]:
    return {"kind": "Dense", "name": name, "units": units, "activation": activation}


NIID_CNN = _spec(
    "niid-cnn",
    [
        *_convolution("first", 6, "valid"),
        *_convolution("second", 16, "valid"),
        {"kind": "Flatten", "name": "flat"},
        _dense("wide", 120),
        _dense("narrow", 84),
        _dense("scores", 10, "softmax"),
    ],
    batch_size=64,
    learning_rate=0.01,
    momentum=0.9,
)
"""44,426 parameters: Li et al., 2022, section V (arXiv:2102.02079)."""

MCMAHAN_CNN = _spec(
    "mcmahan-cnn",
    [
        *_convolution("first", 32, "same"),
        *_convolution("second", 64, "same"),
        {"kind": "Flatten", "name": "flat"},
        _dense("hidden", 512),
        _dense("scores", 10, "softmax"),
    ],
    batch_size=10,
    learning_rate=0.1,
)
"""1,663,370 parameters: McMahan et al., 2017, section 3 (arXiv:1602.05629)."""
