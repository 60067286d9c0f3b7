"""Layout and first weights of a model, from its spec alone: no framework needs to be installed."""

import hashlib

import numpy as np

from rondo_core.layout import Float32Array, Layout, TensorSpec
from rondo_core.model_layers import Variable
from rondo_core.model_spec import ModelSpec

__all__ = ["initial_weights", "layout_of_spec"]


def layout_of_spec(spec: ModelSpec) -> Layout:
    """Return the tensors that the built model will have, in the order of its ``weights``."""
    return Layout(tuple(TensorSpec(found.name, found.shape) for found in spec.variables))


def initial_weights(spec: ModelSpec) -> Float32Array:
    """Return the flat vector that every run of this spec starts from, owned by the caller.

    Each tensor draws from its own stream, seeded by the spec's seed and the tensor's name, so a
    layer more or less does not change the others. The same spec gives the same bytes everywhere.

    Source: Glorot and Bengio, 2010, equation 16 (kernels); Keras's defaults (all others).
    """
    return np.concatenate([_draw(variable, spec.seed) for variable in spec.variables])


def _draw(variable: Variable, seed: int) -> Float32Array:
    name = int.from_bytes(hashlib.sha256(variable.name.encode()).digest()[:8], "little")
    size = TensorSpec(variable.name, variable.shape).size
    unit = np.random.Generator(np.random.PCG64([seed, name])).random(size)
    return (variable.centre + variable.limit * (2.0 * unit - 1.0)).astype(np.float32)
