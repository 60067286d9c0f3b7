"""A model behind BentoML; ``bentoml serve serve_bentoml:Digits``, with MODEL in the environment."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Digits:
    """One worker."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )
        (self.name,) = (one.name for one in self.session.get_inputs())

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, instances: list[list[list[float]]]) -> dict[str, list[list[float]]]:
        """Answer."""
        inputs = np.array(instances, np.float32)[..., np.newaxis]
        (outputs,) = self.session.run(None, {self.name: inputs})
        return {"predictions": outputs.tolist()}
