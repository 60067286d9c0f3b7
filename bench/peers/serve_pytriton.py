"""A model behind PyTriton, Triton without a GPU: ``serve_pytriton.py MODEL PORT GRPC_PORT``."""

import sys
import tempfile

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MOST_ROWS = 128


def main() -> None:
    """Serve for ever."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()

    @batch  # type: ignore[untyped-decorator]
    def compute(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        (found,) = session.run(None, {taken.name: inputs[taken.name]})
        return {given.name: np.asarray(found)}

    port = int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        config = TritonConfig(
            http_address="127.0.0.1",
            http_port=port,
            grpc_port=int(sys.argv[3]),
            allow_metrics=False,
        )
        with Triton(config=config, workspace=f"{folder}/work") as triton:
            triton.bind(
                model_name="digits",
                infer_func=compute,
                inputs=[Tensor(name=taken.name, dtype=np.float32, shape=tuple(taken.shape[1:]))],
                outputs=[Tensor(name=given.name, dtype=np.float32, shape=tuple(given.shape[1:]))],
                config=ModelConfig(
                    max_batch_size=MOST_ROWS,
                    batcher=DynamicBatcher(max_queue_delay_microseconds=0),
                ),
                strict=False,
            )
            triton.serve()


if __name__ == "__main__":
    main()
