"""A model behind LitServe: ``serve_litserve.py MODEL.onnx PORT``."""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Batches of up to 16, gathered for a millisecond at most."""

    def setup(self, device: str) -> None:
        """Open the model."""
        del device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            sys.argv[1], options, providers=["CPUExecutionProvider"]
        )
        (self.name,) = (one.name for one in self.session.get_inputs())

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        """Read one request."""
        return np.array(request["instances"], np.float32)[..., np.newaxis]

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Compute."""
        return np.asarray(self.session.run(None, {self.name: inputs})[0])

    def encode_response(self, outputs: np.ndarray) -> dict[str, Any]:
        """Write the answer."""
        return {"predictions": outputs.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(
        port=int(sys.argv[2]), host="127.0.0.1", log_level="error", generate_client_file=False
    )
