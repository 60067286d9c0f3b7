"""The updates of a benchmark as any environment with NumPy can read them.

Every update is one safetensors file with the same header.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["read_tensors", "save_result"]

Tensor = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def read_tensors(folder: Path, client: int) -> Iterator[tuple[str, Tensor]]:
    """Yield a client's tensors by name, as copies."""
    data = (folder / f"{client:04}.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, entry in header.items():
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        yield name, np.frombuffer(data[start:stop], "<f4").reshape(entry["shape"]).copy()


def save_result(folder: Path, peer: str, flat: Tensor) -> None:
    """Keep what a peer made, so that its error can be told."""
    np.save(folder / f"{peer}.npy", flat.astype(np.float64))
