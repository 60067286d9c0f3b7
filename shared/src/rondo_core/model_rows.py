"""The rows of models: what is registered, who may take part, what is served."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from rondo_core.rows import AnyRow

__all__ = [
    "AliasRow",
    "ClientRow",
    "InviteRow",
    "ModelRow",
    "OperatorRow",
    "SpecRow",
    "choose_spec",
]


class SpecRow(AnyRow, frozen=True, kw_only=True):
    """``MODEL#name / SPEC#sha``: a registered model spec and the objects that belong to it."""

    model: str
    spec: str
    layout: str
    """SHA-256 of the safetensors header of all weights of this spec."""
    header_bytes: int
    """Where the data of a weights file begins (8 + header length)."""
    initial_sha256: str
    initial_size: int
    holdout_sha256: str
    holdout_size: int
    created_at: datetime


def choose_spec(specs: Sequence[SpecRow], wanted: str | None) -> SpecRow | None:
    """Return the model spec that is wanted, by digest or as the newest; None when there is none."""
    fitting = [spec for spec in specs if wanted in {None, spec.spec}]
    return max(fitting, key=lambda spec: (spec.created_at, spec.spec), default=None)


class AliasRow(AnyRow, frozen=True, kw_only=True):
    """``MODEL#name / ALIAS#label``: what inference serves under a label.

    ``active`` lists all aliases.
    """

    model: str
    label: str
    run_id: str
    version: int
    model_version: int
    sha256: str
    """Digest of the version's weights; names its export."""
    export: str
    """Digest of the export's list of files."""
    spec: str
    holdout_sha256: str
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    promoted_at: datetime
    active: Literal["alias"] = "alias"


class InviteRow(AnyRow, frozen=True, kw_only=True):
    """``MODEL#name / INVITE#hash``: permission to enrol clients for a model.

    The code itself is not stored.
    """

    model: str
    uses_left: int
    expires_at: datetime


class ClientRow(AnyRow, frozen=True, kw_only=True):
    """``MODEL#name / CLIENT#id``: an enrolled data owner."""

    client_id: str
    model: str
    name: str
    public_key: bytes
    """Ed25519, 32 bytes."""
    enrolled_at: datetime
    last_seen: datetime


class ModelRow(AnyRow, frozen=True, kw_only=True):
    """``MODELS / name``: a model has a registered spec; written with the spec, by the gateway."""

    model: str


class OperatorRow(AnyRow, frozen=True, kw_only=True):
    """``OPERATOR / TOKEN``: SHA-256 of the operators' bearer token."""

    token_sha256: str
