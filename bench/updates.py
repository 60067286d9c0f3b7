"""The updates that benchmarks combine: of a model of a few equal layers."""

from pathlib import Path

import numpy as np

from rondo_core.layout import Float32Array, Layout, TensorSpec

__all__ = ["layout_of", "values_of", "write_updates"]

_TENSORS = 8


def layout_of(parameters: int) -> Layout:
    """Return the layout of a model of so many parameters; the last layer has what is left over."""
    share = parameters // _TENSORS
    sizes = [share] * (_TENSORS - 1) + [parameters - share * (_TENSORS - 1)]
    return Layout(tuple(TensorSpec(f"layer_{k}/kernel", (n,)) for k, n in enumerate(sizes)))


def values_of(client: int, parameters: int) -> Float32Array:
    """Return a client's random delta, ``parameters`` float32."""
    values = np.random.default_rng(client).standard_normal(parameters, np.float32)
    return values * np.float32(0.01)


def write_updates(folder: Path, clients: int, parameters: int) -> None:
    """Write an update for each client, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = layout_of(parameters)
    for client in range(clients):
        path = folder / f"{client:04}.safetensors"
        if path.exists() and path.stat().st_size == layout.size_bytes:
            continue
        path.write_bytes(layout.prefix + values_of(client, parameters).tobytes())
