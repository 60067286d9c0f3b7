"""Versions that compute without a runtime."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from rondo_core.telemetry import Metrics
from rondo_inference.batcher import Batcher
from rondo_inference.domain.batching import BatchLimits
from rondo_inference.domain.engine_choice import Choice
from rondo_inference.domain.tensors import Signature, TensorInfo, Tensors
from rondo_inference.engine_threads import EngineThreads
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.runtimes import Engines, open_engines
from rondo_inference.registry.served import ServedModel
from rondo_inference.stats import Stats
from tests.unit.rondo_inference.exported import Export

TABLE = Signature(
    (TensorInfo("columns", "FP32", (-1, 2)),), (TensorInfo("price", "FP32", (-1, 1)),)
)
ONNX_ALONE = Choice(((64, "onnxruntime"),))


def onnx_alone() -> Engines:
    return open_engines("onnxruntime", threads=1, copies=1, largest=64)


class ZeroEngine:
    """Answers zero for each row."""

    signature = TABLE

    def run(self, inputs: Tensors) -> Tensors:
        return (np.zeros((len(inputs[0]), 1), np.float32),)


class WatchingEngine:
    """Notes how many predictions are in flight while it computes."""

    signature = TABLE

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.seen: list[float | None] = []

    def run(self, inputs: Tensors) -> Tensors:
        self.seen.append(in_flight(self._metrics))
        return (inputs[0][:, :1],)


def in_flight(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("rondo_predictions_in_flight", {"kind": ""})


def batcher_of(engine: Engine, **limits: int) -> Batcher:
    return Batcher(
        engine.run,
        merges=True,
        limits=BatchLimits(**limits),
        threads=EngineThreads(ThreadPoolExecutor(1)),
        stats=Stats(),
        row_seconds=0.0,
    )


def served_by(export: Export, engine: Engine | None = None) -> ServedModel:
    chosen = engine or ZeroEngine()
    return ServedModel(export.alias, export.spec, chosen, batcher_of(chosen), ONNX_ALONE)
