"""The port of the objects (weights, manifests, specs, exports), and the names of all objects.

Objects are never overwritten: a key either holds a digest or names one writer, and every write is
create-once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rondo_core.errors import Conflict

__all__ = [
    "MIN_PART_BYTES",
    "AlreadyExists",
    "ModelStore",
    "ObjectInfo",
    "UploadLink",
    "UploadLinks",
    "export_key",
    "holdout_key",
    "manifest_key",
    "mix_key",
    "partial_key",
    "products_key",
    "slot_key",
    "spec_key",
    "state_key",
    "update_key",
    "weights_key",
]

MIN_PART_BYTES = 5 * 1024 * 1024
"""Every part of an assembled object but the last has at least this many bytes (S3's rule)."""


class AlreadyExists(Conflict):
    """The key is taken.

    ``same`` says whether it holds exactly the bytes that were to be written.
    """

    def __init__(self, key: str, *, same: bool) -> None:
        super().__init__(
            f"object {key} exists already with {'the same' if same else 'OTHER'} content"
        )
        self.key = key
        self.same = same


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of an object.

    Attributes:
        size: bytes.
        sha256: lower-case hex of the whole content, or None where the store does not know it
            (assembled objects).
        version: the store's own id of these very bytes; reads can be pinned to it.
    """

    size: int
    sha256: str | None
    version: str


class ModelStore(Protocol):
    """The bucket. All methods block; all are safe to call twice."""

    def put(self, key: str, data: bytes | memoryview) -> ObjectInfo:
        """Create an object. Atomic: readers see nothing or all of it.

        The same bytes at the same key again are a success (also after a lost answer); other bytes
        raise.

        Raises:
            AlreadyExists: the key holds other bytes (``same`` is False).
            Unavailable: no answer.
        """
        ...

    def get(
        self, key: str, *, start: int = 0, stop: int | None = None, version: str | None = None
    ) -> bytes:
        """Return bytes ``[start, stop)`` of an object (to its end when ``stop`` is None).

        As in a slice, what lies past the end is not there.

        Raises:
            NotFound: no such object, or not that version.
            Unavailable: no answer, or fewer bytes came than were announced.
        """
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none.

        Raises:
            Unavailable: no answer.
        """
        ...

    def assemble(self, key: str, head: bytes, parts: Sequence[str]) -> ObjectInfo:
        """Create an object from ``head`` and then existing objects, copied inside the store.

        Atomic and create-once. Each part but the last has at least ``MIN_PART_BYTES``; ``head`` is
        joined to the first. The caller knows the digest of the result and names the key by it: an
        existing key of the right size is a success. What is small (up to two such parts) is read
        and put, whatever the sizes of its parts.

        Raises:
            ValueError: too large to be put, and a part but the last too small to be copied.
            NotFound: a part does not exist.
            AlreadyExists: the key holds an object of another size.
            Unavailable: no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class UploadLink:
    """A capability to create one object once: an HTTP PUT of the promised bytes and headers."""

    url: str
    headers: Mapping[str, str]


class UploadLinks(Protocol):
    """Makes links by which others reach the store; computes locally and never blocks.

    Both raise ``Unavailable`` while there are no credentials to sign with.
    """

    def for_upload(
        self, key: str, *, size: int, sha256: str | None, expires_seconds: int
    ) -> UploadLink:
        """Return a link bound to exact length, create-once and, unless it is None, SHA-256."""
        ...

    def for_download(self, key: str, *, expires_seconds: int) -> str:
        """Return a URL that reads one object."""
        ...


def update_key(run_id: str, round_: int, attempt: int, client_id: str, sha256: str) -> str:
    """Name a client's update.

    The digest is part of the name, so a new declaration is a new object.
    """
    return f"updates/{run_id}/{round_:06d}/{attempt:02d}/{client_id}/{sha256}"


def weights_key(sha256: str) -> str:
    """Name a version's weights (a safetensors file) by its digest."""
    return f"versions/{sha256}"


def manifest_key(sha256: str) -> str:
    """Name a manifest by its digest."""
    return f"manifests/{sha256}"


def partial_key(manifest: str, start: int, stop: int, slot: str | None = None) -> str:
    """Name the combined columns ``[start, stop)`` of a manifest, or those of a state vector."""
    columns = f"partials/{manifest}/{start:012d}-{stop:012d}"
    return columns if slot is None else f"{columns}.{slot}"


def products_key(kind: str, manifest: str, start: int, stop: int) -> str:
    """Name the inner products of a manifest's updates over columns ``[start, stop)``.

    Args:
        kind: ``norms``, ``root-products`` or ``products`` (of all pairs); their shapes differ.
        manifest: SHA-256.
        start: the first column.
        stop: the one after the last.
    """
    return f"{kind}/{manifest}/{start:012d}-{stop:012d}"


def mix_key(manifest: str) -> str:
    """Name what the updates of a manifest count, where that depends on their products."""
    return f"mixes/{manifest}"


def state_key(sha256: str) -> str:
    """Name the state that a strategy keeps beside a version."""
    return f"states/{sha256}"


def slot_key(sha256: str) -> str:
    """Name one of a state's vectors (a safetensors file of the version's layout) by its digest."""
    return f"slots/{sha256}"


def spec_key(sha256: str) -> str:
    """Name a model spec by its digest."""
    return f"specs/{sha256}"


def holdout_key(sha256: str) -> str:
    """Name a holdout set (safetensors with ``x`` and ``y``) by its digest."""
    return f"holdouts/{sha256}"


def export_key(weights: str, name: str) -> str:
    """Name a file of a version's export; ``weights`` is the version's digest."""
    return f"exports/{weights}/{name}"
