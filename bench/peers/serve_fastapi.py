"""A model behind FastAPI as one writes it by hand: ``serve_fastapi.py MODEL.onnx PORT``."""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Body(BaseModel):
    """What is asked."""

    instances: list[list[list[float]]]


def build(path: str) -> FastAPI:
    """Return the application."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    app = FastAPI()

    @app.post("/predict")
    def predict(body: Body) -> dict[str, list[list[float]]]:
        inputs = np.array(body.instances, np.float32)[..., np.newaxis]
        (outputs,) = session.run(None, {name: inputs})
        return {"predictions": outputs.tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(
        build(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="error",
        access_log=False, loop="uvloop", http="httptools",
    )  # fmt: skip
