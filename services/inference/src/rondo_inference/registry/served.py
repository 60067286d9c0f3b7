"""A loaded version."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import ModelSpec
from rondo_inference.batcher import Batcher
from rondo_inference.domain.engine_choice import Choice
from rondo_inference.domain.tensors import Signature
from rondo_inference.engines.engine import Engine

__all__ = ["ServedModel", "Usage", "same_version"]


@dataclass(slots=True)
class Usage:
    """How a loaded version is held; changed under the lock of `registry.memory`, or by its owner.

    Attributes:
        leases: requests that hold it now.
        last_use: the number of the last lease, of all leases of all versions.
        size_bytes: measured when it was loaded.
        evicted: nobody may take it any more; who holds it may use it to the end.
    """

    leases: int = 0
    last_use: int = 0
    size_bytes: int = 0
    evicted: bool = False


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One version, warm and checked. Whoever holds it can use it, also after a swap.

    Attributes:
        alias: the row that asked for it: model, version, lineage, digests.
        spec: what columns, pictures and labels there are; None for a bare ONNX file, of which only
            the tensors are known.
        engine: computes the outputs.
        batcher: brings requests to the engine.
        choice: which runtimes the engine is.
        usage: who holds it.
    """

    alias: AliasRow
    spec: ModelSpec | None
    engine: Engine
    batcher: Batcher
    choice: Choice
    usage: Usage = field(default_factory=Usage)

    @cached_property
    def name(self) -> str:
        """The model's name."""
        return self.alias.model

    @cached_property
    def version(self) -> int:
        """The model's own integer, which people see."""
        return self.alias.model_version

    @cached_property
    def signature(self) -> Signature:
        """Its tensors."""
        return self.engine.signature

    @cached_property
    def lineage(self) -> str:
        """The run and the round that made it, ``RUN/N``."""
        return f"{self.alias.run_id}/{self.alias.version}"

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What every answer over HTTP tells of it."""
        return {"x-rondo-version": str(self.version), "x-rondo-run": self.lineage}


def same_version(one: AliasRow, other: AliasRow) -> bool:
    """Whether two aliases name the same bytes, whatever their labels."""
    return (one.model, one.model_version, one.sha256, one.export, one.run_id, one.version) == (
        other.model,
        other.model_version,
        other.sha256,
        other.export,
        other.run_id,
        other.version,
    )
