r"""NumPy's files, without pickle: our own reader of the header, and archives within bounds.

Source: NumPy, "A simple file format for NumPy arrays" (numpy.lib.format).
"""

import ast
import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from rondo_core.errors import Invalid
from rondo_inference.domain.tensors import MAX_AXES, Tensor, datatype_of

__all__ = ["decode_npy", "decode_npz", "encode_npy", "encode_npz"]

_MAGIC = b"\x93NUMPY"
_SHORT, _LONG = 10, 12
"""Where the header begins: format 1.0 has two bytes of length, 2.0 and 3.0 four."""
_LONGEST_HEADER = 4096
_KINDS = "biufSU"
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the library raises for archives that are none."""


def decode_npy(data: bytes | memoryview) -> Tensor:
    """Return the array of a ``.npy`` file; a read-only view of ``data`` where its order is C.

    Raises:
        Invalid: not such a file, cut, too long, or its elements are objects (never unpickled).

    Example:
        >>> decode_npy(encode_npy(np.array([[1.5]], np.float32))).tolist()
        [[1.5]]
    """
    header = bytes(data[:_LONG])
    if header[:6] != _MAGIC or len(header) < _LONG:
        raise Invalid("not a .npy file: it does not start with \\x93NUMPY")
    major = header[6]
    start = _SHORT if major == 1 else _LONG
    length = int.from_bytes(header[8:start], "little")
    if major not in {1, 2, 3} or length > _LONGEST_HEADER or start + length > len(data):
        raise Invalid(f"a .npy header of format {major} and {length} bytes is not read here")
    dtype, fortran, shape = _header(bytes(data[start : start + length]))
    count, at = math.prod(shape), start + length
    if len(data) - at != count * dtype.itemsize:
        raise Invalid(
            f"{len(data) - at} bytes of data, {dtype} {shape} has {count * dtype.itemsize}"
        )
    array = np.frombuffer(data, dtype, count, at).reshape(shape, order="F" if fortran else "C")
    return _canonical(array)


@lru_cache(maxsize=256)
def _header(text: bytes) -> tuple[np.dtype[np.generic], bool, tuple[int, ...]]:
    """Read the header; the same few come again and again, and reading costs more than the data."""
    try:
        found = ast.literal_eval(text.decode("latin-1").strip())
        descr, fortran, shape = found["descr"], found["fortran_order"], found["shape"]
        dtype = np.dtype(descr) if isinstance(descr, str) else None
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError) as exc:
        raise Invalid("the .npy header is malformed") from exc
    if dtype is None or dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise Invalid(f"a .npy file of {descr!r} is not read here; nothing is unpickled")
    sides = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not sides or len(shape) > MAX_AXES or type(fortran) is not bool:
        raise Invalid("the .npy header is malformed")
    return dtype, fortran, shape


def _canonical(array: Tensor) -> Tensor:
    """Text becomes BYTES; numbers become little-endian."""
    if array.dtype.kind not in "SU":
        datatype_of(array.dtype)
        return array.astype(array.dtype.newbyteorder("<"), copy=False)
    result = np.empty(array.shape, object)
    try:
        flat = array.ravel().tolist()
        result.ravel()[:] = [one.encode() if isinstance(one, str) else one for one in flat]
    except ValueError as exc:
        raise Invalid("the .npy file holds text that is not Unicode") from exc
    return result


def encode_npy(tensor: Tensor) -> bytes:
    """Return the ``.npy`` file of a tensor; BYTES become text of one length."""
    file = io.BytesIO()
    np.lib.format.write_array(file, _plain(tensor), allow_pickle=False)
    return file.getvalue()


def _plain(tensor: Tensor) -> Tensor:
    if tensor.dtype != object:
        return np.ascontiguousarray(tensor)
    return np.array(tensor.tolist(), dtype=np.bytes_)


def decode_npz(data: bytes, *, max_bytes: int) -> Mapping[str, Tensor]:
    """Return name -> array of an ``.npz`` file.

    Args:
        data: a zip archive of ``.npy`` files.
        max_bytes: what they may have together when unpacked.

    Raises:
        Invalid: not such a file, or too large.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > max_bytes:
            raise Invalid(f"the .npz file unpacks to {size} bytes, over {max_bytes}")
        return {
            member.filename.removesuffix(".npy"): decode_npy(_member(archive, member))
            for member in members
        }
    except _UNREADABLE as exc:
        raise Invalid(f"not an .npz file: {exc}") from exc


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read no more than the directory says, whatever the compressed data would become."""
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise Invalid(f"{member.filename} is not as long as the archive says")
    return content


def encode_npz(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the ``.npz`` file of tensors, not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, tensor in tensors.items():
            archive.writestr(f"{name}.npy", encode_npy(tensor))
    return file.getvalue()
