"""A runtime of MLServer's: an ONNX model, in the server's own process."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):  # type: ignore[misc]
    """Reads ``parameters.uri``."""

    async def load(self) -> bool:
        """Open the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        (self.input,) = (one.name for one in self.session.get_inputs())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer."""
        inputs = NumpyCodec.decode_input(payload.inputs[0]).astype("float32")
        (outputs,) = self.session.run(None, {self.input: inputs})
        encoded = NumpyCodec.encode_output("outputs", outputs)
        return InferenceResponse(model_name=self.name, outputs=[encoded])
