"""How an input is cut into chunks, each of whole records: a pure function of its bytes.

Source: RFC 4180 (CSV: a line end inside quotes does not end a record).
"""

import io
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np

from rondo_core.errors import Invalid
from rondo_core.object_folders import ListedObject
from rondo_inference.domain.told import Told

__all__ = [
    "NpyHead",
    "Plan",
    "cut_files",
    "cut_lines",
    "cut_rows",
    "lane_starts",
    "read_npy_head",
]

_NEWLINE, _QUOTE = 10, 34
_LONGEST_NPY_HEADER = 4096
_NUMBERS = "biuf"

Range = tuple[int, int]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers of a job agree on; the first plan that is stored is the one that counts.

    Attributes:
        key: the input object; empty where there are several.
        version: the store's id of the very bytes that were planned.
        header: the CSV's names, a record without its line end; empty: it has none.
        dtype: of the rows of an array, little-endian or as the file has it.
        row: the shape of a row of an array.
        files: the objects of a job of pictures, one a record.
        chunks: bytes ``[start, stop)`` of the object, or places in ``files``.
        warnings: what is told of the header's columns.
    """

    key: str = ""
    version: str | None = None
    header: str = ""
    dtype: str = ""
    row: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    chunks: tuple[Range, ...]
    warnings: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class NpyHead:
    """What a ``.npy`` file says of itself: type and shape, and where its data begins."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    start: int


def cut_lines(
    blocks: Iterable[bytes], *, start: int, chunk_bytes: int, record_bytes: int, quotes: bool
) -> Iterator[Range]:
    r"""Yield ranges of whole lines, each of ``chunk_bytes`` or a line more, the last one shorter.

    Memory is one block. The last line needs no end.

    Args:
        blocks: the input from ``start`` on, in order.
        start: where the first record begins.
        chunk_bytes: least bytes of a chunk but the last.
        record_bytes: most bytes of a record.
        quotes: whether a line end between quotes is part of a record.

    Raises:
        Invalid: a record is longer than ``record_bytes``; the text says where it begins.

    >>> blocks = [b"aa\nb", b"b\ncc\nd"]
    >>> list(cut_lines(blocks, start=0, chunk_bytes=4, record_bytes=9, quotes=False))
    [(0, 6), (6, 10)]
    """
    first = last_end = at = start
    quoted = False
    for block in blocks:
        ends, quoted = _line_ends(block, quoted=quoted, quotes=quotes)
        for end in (ends + at).tolist():
            if end - last_end > record_bytes:
                raise _too_long(last_end, record_bytes)
            last_end = end
            if end - first >= chunk_bytes:
                yield first, end
                first = end
        at += len(block)
        if at - last_end > record_bytes:
            raise _too_long(last_end, record_bytes)
    if at > first:
        yield first, at


def _line_ends(
    block: bytes, *, quoted: bool, quotes: bool
) -> tuple["np.ndarray[tuple[int], np.dtype[np.intp]]", bool]:
    """Return where the lines of a block end, and whether quotes are open behind it."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    marks = np.flatnonzero(data == _QUOTE) if quotes and b'"' in block else ends[:0]
    open_at = (np.searchsorted(marks, ends) + int(quoted)) % 2
    return ends[open_at == 0] + 1, bool((len(marks) + int(quoted)) % 2)


def _too_long(start: int, record_bytes: int) -> Invalid:
    return Invalid(f"the record that begins at byte {start} is longer than {record_bytes} bytes")


def read_npy_head(head: bytes) -> NpyHead:
    """Read the header of a ``.npy`` file of numbers; nothing is unpickled.

    Args:
        head: the first bytes of the file, 4 KiB or all of it.

    Raises:
        Invalid: not such a file, not numbers, no rows, or stored column by column.
    """
    file = io.BytesIO(head)
    try:
        major, _ = np.lib.format.read_magic(file)
        read = {
            1: np.lib.format.read_array_header_1_0,
            2: np.lib.format.read_array_header_2_0,
        }[major]
        shape, fortran, dtype = read(file, max_header_size=_LONGEST_NPY_HEADER)
    except (ValueError, KeyError, TypeError, EOFError) as exc:
        raise Invalid(f"not a .npy file that is read here: {exc}") from exc
    if dtype.kind not in _NUMBERS:
        raise Invalid(f"a .npy file of {dtype} is not read here; send numbers")
    if fortran and len(shape) > 1:
        raise Invalid("the .npy file is stored column by column (Fortran order); store it by rows")
    if not shape or min(shape) <= 0:  # NumPy reads a header with negative sides
        raise Invalid(f"the .npy file of shape {list(shape)} has no rows")
    return NpyHead(dtype, tuple(shape), file.tell())


def cut_rows(head: NpyHead, size: int, *, chunk_bytes: int) -> tuple[Range, ...]:
    """Return ranges of whole rows of an array, each of ``chunk_bytes`` or less, but at least a row.

    Args:
        head: of the file.
        size: bytes of the whole file.
        chunk_bytes: most bytes of a chunk.

    Raises:
        Invalid: the file has not the bytes that its header says.

    >>> cut_rows(NpyHead(np.dtype("<f4"), (5, 2), 128), 168, chunk_bytes=20)
    ((128, 144), (144, 160), (160, 168))
    """
    row = head.dtype.itemsize * math.prod(head.shape[1:])
    stop = head.start + row * head.shape[0]
    if stop != size:
        raise Invalid(f"the .npy file has {size} bytes, its header says {stop}")
    step = row * max(1, chunk_bytes // row)
    return tuple((at, min(at + step, stop)) for at in range(head.start, stop, step))


def cut_files(files: Sequence[ListedObject], *, chunk_bytes: int) -> tuple[Range, ...]:
    """Return ranges of files that have ``chunk_bytes`` together or less, but at least one.

    >>> cut_files([ListedObject(name, 6) for name in "abc"], chunk_bytes=12)
    ((0, 2), (2, 3))
    """
    cuts, held = [0], 0
    for place, file in enumerate(files):
        if held and held + file.size > chunk_bytes:
            cuts.append(place)
            held = 0
        held += file.size
    if files:
        cuts.append(len(files))
    return tuple(pairwise(cuts))


def lane_starts(finished: Collection[int], chunks: int, lanes: int) -> list[int]:
    """Return the first chunk of each lane that is not finished; lane l has l, l + lanes, ...

    >>> lane_starts({0, 1, 3}, 6, 2)
    [2, 5]
    """
    missing = [index for index in range(chunks) if index not in finished]
    firsts = {index % lanes: index for index in reversed(missing)}
    return sorted(firsts.values())
