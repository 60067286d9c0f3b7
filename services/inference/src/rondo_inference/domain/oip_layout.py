"""Where the tensors of a binary request are: worked out once, for callers say it again and again.

What depends on the request's JSON alone is kept by its bytes; the tensors behind it are looked at
each time.
"""

from functools import lru_cache

import numpy as np
from msgspec import UNSET, Struct

from rondo_core.errors import Invalid
from rondo_inference.domain.oip_body import Parameter, parse_body
from rondo_inference.domain.tensors import BYTES, DTYPES, Tensor, check_shape

__all__ = ["KEPT_BYTES", "Layout", "flag", "layout_of"]

KEPT_BYTES = 1024
"""Longer JSON is read each time: what is kept takes room, and a stranger may choose it."""


class _Place(Struct, frozen=True):
    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    count: int
    offset: int


class Layout(Struct, frozen=True):
    """A request whose inputs are all binary, of datatypes any bytes of which are values.

    Attributes:
        places: of the inputs, in the order of the request.
        size_bytes: of the body.
        outputs: name -> whether it is to be binary; empty: all outputs.
        binary: whether outputs that say nothing are.
        id: given back; None: there is none.
    """

    places: tuple[_Place, ...]
    size_bytes: int
    outputs: tuple[tuple[str, bool], ...]
    binary: bool
    id: str | None

    def tensors(self, body: bytes) -> dict[str, Tensor]:
        """Return the inputs by name: views of a body of ``size_bytes``."""
        return {
            one.name: np.frombuffer(body, one.dtype, one.count, one.offset).reshape(one.shape)
            for one in self.places
        }


@lru_cache(maxsize=512)
def layout_of(text: bytes) -> Layout | None:
    """Return what the JSON of a request lays out.

    None: the tensors themselves decide more, or something is wrong, and who reads it all says what.
    """
    try:
        return _layout(text)
    except Invalid:
        return None


def _layout(text: bytes) -> Layout | None:
    message, at = parse_body(text), len(text)
    places: list[_Place] = []
    for one in message.inputs:
        dtype, size = DTYPES.get(one.datatype), one.parameters.get("binary_data_size")
        if dtype is None or one.datatype in {BYTES, "BOOL"} or type(size) is not int or one.data:
            return None
        count = check_shape(f"input {one.name!r}", one.shape)
        if size != count * dtype.itemsize:
            return None
        places.append(_Place(one.name, dtype, tuple(one.shape), count, at))
        at += size
    if len({place.name for place in places}) < max(1, len(message.inputs)):
        return None
    binary = flag(message.parameters, "binary_data_output", default=False)
    return Layout(
        tuple(places),
        at,
        tuple(
            (one.name, flag(one.parameters, "binary_data", default=binary))
            for one in message.outputs
        ),
        binary,
        None if message.id is UNSET else message.id,
    )


def flag(parameters: dict[str, Parameter], name: str, *, default: bool) -> bool:
    """Return a parameter that is true or false.

    Raises:
        Invalid: it is something else.
    """
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Invalid(f"parameter {name!r} is {value!r}, neither true nor false")
    return value
