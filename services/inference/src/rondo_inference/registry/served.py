"""A loaded version."""

from dataclasses import dataclass

from rondo_core.model_rows import AliasRow
from rondo_core.model_spec import ModelSpec
from rondo_inference.engines import Engine

__all__ = ["ServedModel"]


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """One version, warm and checked. Whoever holds it can use it, also after a swap.

    Attributes:
        alias: the row that asked for it: model, version, lineage, digests.
        spec: what goes in and what comes out.
        engine: computes the outputs.
    """

    alias: AliasRow
    spec: ModelSpec
    engine: Engine

    @property
    def name(self) -> str:
        """The model's name."""
        return self.alias.model

    @property
    def version(self) -> int:
        """The model's own integer, which people see."""
        return self.alias.model_version

    @property
    def lineage(self) -> str:
        """The run and the round that made it, ``RUN/N``."""
        return f"{self.alias.run_id}/{self.alias.version}"
