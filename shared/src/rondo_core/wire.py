"""What all bodies of the gateway's HTTP API share, on both sides of the door.

`rondo_core.client_wire` has those of clients, `rondo_core.operator_wire` those of operators.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = [
    "Problem",
    "Size",
    "Upload",
]

Size = Annotated[int, Meta(ge=1, le=5 * 1024**4)]
"""Bytes of an object: what S3 holds at most."""


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Problem(_Body, frozen=True, kw_only=True):
    """Every error's body.

    ``code`` is stable; ``message`` names the value and the rule; ``correlation_id`` finds the log
    line.
    """

    code: str
    message: str
    correlation_id: str


class Upload(_Body, frozen=True, kw_only=True):
    """PUT the file to ``url`` with exactly ``headers``.

    None in its place means that the store has it already.
    """

    url: str
    headers: dict[str, str]
