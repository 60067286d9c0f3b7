"""The manifest of a sealed round: everything that its result depends on, and nothing else."""

import hashlib
from collections.abc import Mapping

import msgspec

from rondo_core.errors import Invalid
from rondo_core.events import Scalar

__all__ = ["Manifest", "ManifestEntry", "decode_manifest", "encode_manifest"]


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One accepted update: which bytes, and how many examples stand behind them.

    Attributes:
        staleness: versions between the base that it was trained on and the round's.
        steps: how many plain steps the local training was worth, where the client said so.
    """

    client_id: str
    sha256: str
    examples: int
    key: str
    object_version: str
    staleness: int = 0
    steps: float | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A round's result is a pure function of this.

    Attributes:
        base: SHA-256 of the base version's weights.
        layout: SHA-256 of the safetensors header that all versions of the run share.
        encoding: of all updates.
        updates: sorted by client id; sums run in this order.
        optimizer_state: SHA-256 of the server optimizer's state before the round, where the
            strategy keeps one.
        noise_seed: reference of the seed drawn at the seal, where noise is added.
    """

    run_id: str
    round: int
    attempt: int
    base: str
    layout: str
    strategy: str
    parameters: Mapping[str, Scalar] = {}
    encoding: str = "float32"
    updates: tuple[ManifestEntry, ...]
    optimizer_state: str | None = None
    noise_seed: str | None = None


def encode_manifest(manifest: Manifest) -> tuple[bytes, str]:
    """Return the canonical JSON (sorted keys) and its SHA-256 in hex."""
    data = msgspec.json.encode(manifest, order="sorted")
    return data, hashlib.sha256(data).hexdigest()


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        Invalid: not a manifest; the text names the path.
    """
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"not a manifest: {exc}") from exc
