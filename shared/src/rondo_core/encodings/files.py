"""An encoded update as a file: a header that follows from layout and encoding, and the data."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rondo_core.encodings.codecs import Codec, Stretch
from rondo_core.encodings.columns import DeltaColumns
from rondo_core.encodings.floats import BFloat16, Float16, Float32
from rondo_core.encodings.names import Encoding, EncodingName, parse_encoding
from rondo_core.encodings.scaled import SCALES, Int8
from rondo_core.encodings.sparse import INDEX, LARGEST_INDEX, TopK
from rondo_core.errors import EncodingInvalid, HeaderInvalid, LayoutMismatch, UpdateInvalid
from rondo_core.layout import Float32Array, Layout, check_flat
from rondo_core.safetensors_header import LENGTH_BYTES, encode_typed_header, read_header

__all__ = ["UpdateForm", "decode", "encode", "form_of", "form_of_file"]

_PLAIN: dict[EncodingName, type[Float32 | Float16 | BFloat16 | Int8]] = {
    "float32": Float32,
    "float16": Float16,
    "bfloat16": BFloat16,
    "int8": Int8,
}


_TOP_K_HEADER_BYTES = 256
"""More than any header of top-k has."""


@dataclass(frozen=True)  # without slots: the cached properties live in the instance's dictionary
class UpdateForm:
    """What every update of a run looks like: same header, same length, byte for byte.

    Attributes:
        name: of the encoding.
        codec: of the data.
    """

    name: EncodingName
    codec: Codec

    @property
    def layout(self) -> Layout:
        """The layout of the model."""
        return self.codec.layout

    @cached_property
    def header(self) -> bytes:
        """The JSON that every file begins with, after its length."""
        return encode_typed_header(self.codec.tensors)

    @cached_property
    def prefix(self) -> bytes:
        """What every file starts with: the header's length and the header."""
        return len(self.header).to_bytes(LENGTH_BYTES, "little") + self.header

    @property
    def size_bytes(self) -> int:
        """The length of every file."""
        return self.span(self.layout.size, self.layout.size)[0]

    @property
    def head(self) -> tuple[int, int]:
        """Where in a file the bytes are that every reader of it needs, whatever the columns."""
        return len(self.prefix), len(self.prefix) + self.codec.head_bytes

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return where in a file columns ``[start, stop)`` are; nowhere if the head has all."""
        first = self.head[1]
        return first + self.codec.item_bytes * start, first + self.codec.item_bytes * stop

    def columns(self, head: memoryview, body: memoryview, start: int, stop: int) -> DeltaColumns:
        """Return columns ``[start, stop)`` as views of the bytes in `head` and `span`."""
        return self.codec.columns(Stretch(head, body, start, stop))

    def columns_of_file(self, data: memoryview, start: int, stop: int) -> DeltaColumns:
        """Return columns ``[start, stop)`` as views of a whole file."""
        return self.columns(
            data[slice(*self.head)], data[slice(*self.span(start, stop))], start, stop
        )

    def encode(self, flat: Float32Array, rng: np.random.Generator) -> bytes:
        """Return the file of a delta (float32 (size,)).

        A value that is not finite, or that the encoding cannot write, gives a file that is refused.

        Raises:
            LayoutMismatch: ``flat`` is not such a vector.
        """
        check_flat(self.layout, flat)
        return self.prefix + self.codec.encode(flat, rng)

    def decode(self, data: bytes | memoryview) -> Float32Array:
        """Return the delta that a file stands for; `fault` says whether it is a right one.

        Raises:
            HeaderInvalid: the file does not start with this header.
            LayoutMismatch: it is longer or shorter.
        """
        view = memoryview(data)
        if view[: len(self.prefix)] != self.prefix:
            raise HeaderInvalid(f"the file does not start with the header of {self.name} updates")
        if len(view) != self.size_bytes:
            raise LayoutMismatch("(file)", f"{len(view)} bytes, expected {self.size_bytes}")
        return self.columns_of_file(view, 0, self.layout.size)[:]

    def fault(self, data: memoryview) -> UpdateInvalid | None:
        """Say what is wrong with the data of a file whose header and length are right.

        Returns:
            ``code`` not-finite (names the layer, the position and the value), wrong-scale or
            wrong-index; None where nothing is.
        """
        body = data[slice(*self.span(0, self.layout.size))]
        return self.codec.fault(Stretch(data[slice(*self.head)], body, 0, self.layout.size))


def form_of(layout: Layout, encoding: Encoding | str) -> UpdateForm:
    """Return what updates of a model look like in an encoding.

    Raises:
        EncodingInvalid: no such encoding, or one that the model cannot have.

    >>> from rondo_core.layout import TensorSpec
    >>> model = Layout((TensorSpec("dense/kernel", (100, 10)),))
    >>> [form_of(model, name).size_bytes for name in ("float32", "int8", "top-k:0.01")]
    [4088, 1148, 208]
    """
    chosen = parse_encoding(encoding) if isinstance(encoding, str) else encoding
    _check_fits(layout, chosen.name)
    if chosen.name == "top-k":
        return UpdateForm(chosen.name, TopK(layout, chosen.entries(layout.size)))
    return UpdateForm(chosen.name, _PLAIN[chosen.name](layout))


def form_of_file(data: bytes | memoryview, layout: Layout) -> UpdateForm | None:
    """Recognise the encoding of an update by its header; None where it is of none for the layout.

    Args:
        data: the whole file; of the rest of it nothing is said.
        layout: of the model.
    """
    view = memoryview(data)
    forms = [UpdateForm(name, codec(layout)) for name, codec in _PLAIN.items()]
    if (entries := _entries_of(view)) is not None:
        forms.append(UpdateForm("top-k", TopK(layout, entries)))
    for form in forms:
        if view[: len(form.prefix)] == form.prefix:
            return form
    return None


def _entries_of(view: memoryview) -> int | None:
    """Return how many entries a file says that it has, if it speaks of any."""
    try:
        first, *_ = read_header(view, limit=_TOP_K_HEADER_BYTES)
    except HeaderInvalid:
        return None
    return first.shape[0] if first.name == INDEX and first.shape else None


def _check_fits(layout: Layout, name: EncodingName) -> None:
    if name == "int8" and any(tensor.name == SCALES for tensor in layout.tensors):
        raise EncodingInvalid(f"encoding {name!r}: the model has a tensor {SCALES!r} of its own")
    if name == "top-k" and layout.size > LARGEST_INDEX:
        rule = f"{layout.size} columns, but an index counts to {LARGEST_INDEX}"
        raise EncodingInvalid(f"encoding {name!r}: the model has {rule}")


def encode(
    layout: Layout, flat: Float32Array, encoding: Encoding | str, rng: np.random.Generator
) -> bytes:
    """Return the file of a delta (float32 (size,)); otherwise as `UpdateForm.encode`.

    Args:
        layout: of the model.
        flat: the delta.
        encoding: ``float32``, ``float16``, ``bfloat16``, ``int8`` or ``top-k:SHARE``.
        rng: for stochastic rounding; the others draw nothing.

    >>> from rondo_core.layout import TensorSpec
    >>> model, rng = Layout((TensorSpec("a/b", (3,)),)), np.random.default_rng(1)
    >>> decode(encode(model, np.float32([1, -3, 2]), "top-k:0.5", rng), model, "top-k:0.5")
    array([ 0., -3.,  2.], dtype=float32)
    """
    return form_of(layout, encoding).encode(flat, rng)


def decode(data: bytes | memoryview, layout: Layout, encoding: Encoding | str) -> Float32Array:
    """Return the delta that a file stands for, float32 (size,); otherwise as `UpdateForm.decode`.

    It is a view of the file where that holds float32, read-only where the file is.
    """
    return form_of(layout, encoding).decode(data)
