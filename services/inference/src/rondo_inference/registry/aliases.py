"""Where the list of versions to serve comes from: the port, and the alias rows of the store."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from rondo_core.errors import Invalid
from rondo_core.keys import alias_key
from rondo_core.model_rows import AliasRow
from rondo_core.rows import from_item
from rondo_core.run_store import Key, RunStore
from rondo_inference.domain.traffic import Traffic

__all__ = ["Aliases", "Found", "StoreAliases", "key_of"]

Found = tuple[Key, AliasRow | Invalid | None]
"""Where an alias is, and what is there: the alias, why it cannot be read, or nothing any more."""


class Aliases(Protocol):
    """What is to be served. Used by one thread."""

    def scan(self, known: Iterable[Key]) -> Iterator[Found]:
        """Yield every alias that there is, and all the known ones, each once. Blocks.

        Raises:
            Unavailable: the list could not be read.
        """
        ...

    def is_lazy(self, alias: AliasRow) -> bool:
        """Whether the version is loaded only when somebody asks for it. Never blocks."""
        ...

    def traffic(self) -> dict[str, Traffic]:
        """Return how requests without a label are split, by model, as of the last scan."""
        ...


class StoreAliases:
    """``Aliases`` that are the alias rows of the table.

    Args:
        rows: the table.
        on_demand: whether to wait for a request before anything is loaded.
        pinned: models that are loaded at once all the same.
    """

    def __init__(
        self, rows: RunStore, *, on_demand: bool = False, pinned: frozenset[str] = frozenset()
    ) -> None:
        self._rows = rows
        self._on_demand = on_demand
        self._pinned = pinned

    def scan(self, known: Iterable[Key]) -> Iterator[Found]:
        """See ``Aliases``.

        The index may lack a row or be stale, so it only says which rows there are; each is then
        read by key, strongly consistent, as are those that are known already.
        """
        listed = {Key(str(item["PK"]), str(item["SK"])) for item in self._rows.active("alias")}
        for key in sorted({*known} | listed):
            item = self._rows.get(key)
            try:
                yield key, None if item is None else from_item(item, AliasRow)
            except Invalid as exc:  # a row that a later release wrote must not stop the others
                yield key, exc

    def is_lazy(self, alias: AliasRow) -> bool:
        """See ``Aliases``."""
        return self._on_demand and alias.model not in self._pinned

    def traffic(self) -> dict[str, Traffic]:
        """See ``Aliases``: without a rule, the champion answers."""
        return {}


def key_of(alias: AliasRow) -> Key:
    """Return where an alias is, in whatever is scanned."""
    return alias_key(alias.model, alias.label)
