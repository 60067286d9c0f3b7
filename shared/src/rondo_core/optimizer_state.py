"""What a strategy keeps from one round to the next, stored beside the version it belongs to."""

import hashlib
from collections.abc import Mapping

import msgspec

from rondo_core.errors import Invalid

__all__ = ["OptimizerState", "decode_state", "encode_state"]


class OptimizerState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state after a round; the next round's result depends on it, by digest.

    Attributes:
        layout: SHA-256 of the header of the version's and of all slots' files.
        strategy: the name of the strategy that wrote it.
        step: how many rounds the optimizer has stepped.
        scalars: single numbers, such as an adaptive clipping norm.
        slots: name -> SHA-256 of a safetensors file of the version's own layout.
    """

    layout: str
    strategy: str
    step: int
    scalars: Mapping[str, float] = {}
    slots: Mapping[str, str] = {}


def encode_state(state: OptimizerState) -> tuple[bytes, str]:
    """Return the canonical JSON (sorted keys) and its SHA-256 in hex.

    >>> data, digest = encode_state(OptimizerState(layout="a", strategy="fedadam", step=1))
    >>> decode_state(data).step
    1
    """
    data = msgspec.json.encode(state, order="sorted")
    return data, hashlib.sha256(data).hexdigest()


def decode_state(data: bytes | memoryview) -> OptimizerState:
    """Read a state.

    Raises:
        Invalid: not a state; the text names the path.
    """
    try:
        return msgspec.json.decode(data, type=OptimizerState)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"not an optimizer state: {exc}") from exc
