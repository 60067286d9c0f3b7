r"""NumPy's files, without pickle: our own reader of the header, and archives within bounds.

Source: NumPy, "A simple file format for NumPy arrays" (numpy.lib.format).
"""

import ast
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from rondo_core.errors import Invalid
from rondo_inference.domain.tensors import Tensor, check_shape, datatype_of

__all__ = ["decode_npy", "decode_npz", "encode_npy", "encode_npz"]

_MAGIC = b"\x93NUMPY"
_SHORT, _LONG = 10, 12
"""Where the header begins: format 1.0 has two bytes of length, 2.0 and 3.0 four."""
_LONGEST_HEADER = 4096
_KINDS = "biufSU"
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the library raises for archives that are none."""


_ENTRY = b"PK\x01\x02"
_MOST_MEMBERS = 4096
"""The library walks a directory of any length, at a thousandth of the speed of this count."""

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""How members may be packed; others become a hundred million times as long."""

_REFUSED = MappingProxyType({zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"})

Check = Callable[[np.dtype[np.generic], tuple[int, ...]], None]
"""Raises `Invalid` where an array of that type and shape is not wanted."""
MemberCheck = Callable[[str, np.dtype[np.generic], tuple[int, ...]], None]
"""The same for an array with a name."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of its array; the data begin at ``start``."""

    dtype: np.dtype[np.generic]
    fortran: bool
    shape: tuple[int, ...]
    start: int

    def check_length(self, size: int) -> None:
        """Refuse a file of ``size`` bytes that is not as long as its header says."""
        wanted = math.prod(self.shape) * self.dtype.itemsize
        if size - self.start != wanted:
            raise Invalid(
                f"{size - self.start} bytes of data, {self.dtype} {self.shape} has {wanted}"
            )


def decode_npy(data: bytes | memoryview, *, check: Check | None = None) -> Tensor:
    """Return the array of a ``.npy`` file; a read-only view of ``data`` where its order is C.

    Args:
        data: the file.
        check: asked before an array is made.

    Raises:
        Invalid: not such a file, cut, too long, or its elements are objects (never unpickled).

    Example:
        >>> decode_npy(encode_npy(np.array([[1.5]], np.float32))).tolist()
        [[1.5]]
    """
    header = _header_of(data)
    header.check_length(len(data))
    if check is not None:
        check(header.dtype, header.shape)
    count = math.prod(header.shape)
    flat = np.frombuffer(data, header.dtype, count, header.start)
    return _canonical(flat.reshape(header.shape, order="F" if header.fortran else "C"))


def _header_of(data: bytes | memoryview) -> _Header:
    begin = bytes(data[:_LONG])
    if begin[:6] != _MAGIC or len(begin) < _LONG:
        raise Invalid("not a .npy file: it does not start with \\x93NUMPY")
    major = begin[6]
    start = _SHORT if major == 1 else _LONG
    length = int.from_bytes(begin[8:start], "little")
    if major not in {1, 2, 3} or length > _LONGEST_HEADER or start + length > len(data):
        raise Invalid(f"a .npy header of format {major} and {length} bytes is not read here")
    dtype, fortran, shape = _header(bytes(data[start : start + length]))
    return _Header(dtype, fortran, shape, start + length)


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
    if not sides or type(fortran) is not bool:
        raise Invalid("the .npy header is malformed")
    check_shape("the .npy file", shape)
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


def decode_npz(
    data: bytes, *, max_bytes: int, check: MemberCheck | None = None
) -> Mapping[str, Tensor]:
    """Return name -> array of an ``.npz`` file.

    Args:
        data: a zip archive of ``.npy`` files, stored or deflated.
        max_bytes: what they may have together when unpacked.
        check: asked with each member's header, before the rest of it is unpacked.

    Raises:
        Invalid: not such a file, or too large.
    """
    members = data.count(_ENTRY)  # each begins with it, whatever number the archive says
    if members > _MOST_MEMBERS:
        raise Invalid(f"the .npz file has {members} arrays, over {_MOST_MEMBERS}")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
        _check_directory(entries, max_bytes)
        return {
            name: decode_npy(_member(archive, member, name, check))
            for member in entries
            for name in (member.filename.removesuffix(".npy"),)
        }
    except _UNREADABLE as exc:
        raise Invalid(f"not an .npz file: {exc}") from exc


def _check_directory(members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    for member in members:
        if member.compress_type not in _METHODS:
            method = _REFUSED.get(member.compress_type, f"method {member.compress_type}")
            raise Invalid(f"{member.filename} is packed by {method}, not stored or deflated")
    size = sum(member.file_size for member in members)
    if size > max_bytes:
        raise Invalid(f"the .npz file unpacks to {size} bytes, over {max_bytes}")


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, check: MemberCheck | None
) -> bytes:
    """Read no more than the directory says, whatever the compressed data would become."""
    with archive.open(member) as file:
        begin = file.read(_LONG + _LONGEST_HEADER)
        header = _header_of(begin)
        header.check_length(member.file_size)
        if check is not None:
            check(name, header.dtype, header.shape)
        content = begin + file.read(max(0, member.file_size + 1 - len(begin)))
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
