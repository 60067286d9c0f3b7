"""The port of the rows: one table, read by key or by prefix, changed by conditional commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from rondo_core.errors import Conflict

__all__ = [
    "MAX_CHANGES",
    "Absent",
    "AnyOf",
    "Change",
    "Check",
    "CommitConflict",
    "Condition",
    "Delete",
    "Equals",
    "Item",
    "Key",
    "Lacks",
    "OneOf",
    "Present",
    "Put",
    "RunStore",
    "Update",
    "Value",
    "check_commit",
]

Value = str | int | float | bool | bytes | frozenset[str] | list[object] | dict[str, object]
"""What a field may hold.

None is not a value: a field that has none is left out. Sets are never empty.

Numbers are of one kind: a whole float comes back as an int. A tuple comes back as a list.
"""

Item = Mapping[str, Value]
MAX_CHANGES = 100
"""Changes in one commit, DynamoDB's limit for a transaction."""


class Key(NamedTuple):
    """Where a row is."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The row does not exist."""


@dataclass(frozen=True, slots=True)
class Present:
    """The row exists."""


@dataclass(frozen=True, slots=True)
class Equals:
    """The row exists and its field has this value."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """The row exists and its field has one of these values."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lacks:
    """The row has no such field (true too when there is no row)."""

    name: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the conditions holds."""

    conditions: tuple["Absent | Present | Equals | OneOf | Lacks", ...]


Condition = Absent | Present | Equals | OneOf | Lacks | AnyOf


@dataclass(frozen=True, slots=True)
class Put:
    """Write the whole row, if all conditions hold."""

    key: Key
    item: Item
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """Change fields of a row, if all conditions hold.

    Without a condition the row is made if it is not there.

    Attributes:
        assign: field -> new value.
        add: field -> number to add (a missing field counts as 0), or strings to put into a set.
        discard: field -> strings to take out of a set (an emptied set's field disappears).
        remove: fields to drop.
    """

    key: Key
    assign: Item = field(default_factory=dict)
    add: Mapping[str, int | float | frozenset[str]] = field(default_factory=dict)
    discard: Mapping[str, frozenset[str]] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """Change nothing, but let the commit fail unless all conditions hold."""

    key: Key
    when: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the row, if all conditions hold. A row that is not there is not an error."""

    key: Key
    when: tuple[Condition, ...] = ()


Change = Put | Update | Check | Delete


class CommitConflict(Conflict):
    """A condition of a commit did not hold; nothing was written.

    Attributes:
        keys: the rows whose conditions failed (all of them, where the technology tells).
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        super().__init__("condition failed on " + ", ".join("/".join(key) for key in keys))
        self.keys = tuple(keys)


class RunStore(Protocol):
    """The table.

    Items that come back carry their key as ``PK`` and ``SK`` and belong to the caller.
    """

    def get(self, key: Key) -> Item | None:
        """Return one row, or None. Blocks. Strongly consistent.

        Raises:
            Unavailable: no answer.
        """
        ...

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        """Return all rows of a partition whose sort key starts with ``prefix``, in its order.

        Blocks; reads every page; strongly consistent per page, not a snapshot across pages.

        Raises:
            Unavailable: no answer.
        """
        ...

    def active(self, kind: str) -> list[Item]:
        """Return all rows whose field ``active`` is ``kind``, in no promised order. Blocks.

        Eventually consistent: a row may be missing or stale; read it by key before acting on it.

        Raises:
            Unavailable: no answer.
        """
        ...

    def commit(self, *changes: Change) -> None:
        """Apply all changes or none.

        Blocks. Atomic; at most ``MAX_CHANGES``, no two of them on one row.

        After ``Unavailable`` the outcome is unknown: read back what it would have written.

        Raises:
            CommitConflict: a condition did not hold (or, rarely, another commit was in the
                way); nothing was written.
            Unavailable: no answer, or throttled.
            Invalid: a value that cannot be stored, such as NaN, an empty set or a row over 400 KB.
            ValueError: see ``check_commit``.
        """
        ...


def check_commit(changes: Sequence[Change]) -> None:
    """Refuse what no commit may be, whatever the technology; every ``RunStore`` calls it first.

    Raises:
        ValueError: more than ``MAX_CHANGES``, two changes on one row, a ``Check`` without a
            condition, an ``Update`` that changes nothing or names a field twice, or a ``OneOf``
            without values.

    >>> check_commit([Delete(Key("a", "1")), Put(Key("a", "1"), {})])
    Traceback (most recent call last):
    ValueError: two changes of one commit on a/1
    """
    if len(changes) > MAX_CHANGES:
        raise ValueError(f"{len(changes)} changes in one commit; at most {MAX_CHANGES}")
    seen: set[Key] = set()
    for change in changes:
        if change.key in seen:
            raise ValueError(f"two changes of one commit on {'/'.join(change.key)}")
        seen.add(change.key)
        _check_change(change)


def _check_change(change: Change) -> None:
    where = "/".join(change.key)
    if isinstance(change, Check) and not change.when:
        raise ValueError(f"check of {where} without a condition")
    if isinstance(change, Update):
        names = [*change.assign, *change.add, *change.discard, *change.remove]
        if not names or len(names) != len(set(names)):
            raise ValueError(f"update of {where} must name each field once: {names}")
    for condition in change.when:
        for one in condition.conditions if isinstance(condition, AnyOf) else (condition,):
            if isinstance(one, OneOf) and not one.values:
                raise ValueError(f"condition on {where}: {one.name} is one of nothing")
