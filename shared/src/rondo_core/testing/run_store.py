"""The table in memory."""

import math
import threading
from collections.abc import Mapping

from rondo_core.errors import Invalid
from rondo_core.run_store import (
    Absent,
    AnyOf,
    Change,
    Check,
    CommitConflict,
    Condition,
    Delete,
    Equals,
    Item,
    Key,
    Lacks,
    OneOf,
    Present,
    Put,
    Update,
    Value,
    check_commit,
)

__all__ = ["MemoryRunStore"]

Row = dict[str, Value]
LARGEST_NUMBER = 9.99e125
SMALLEST_NUMBER = 1e-130
"""DynamoDB's range of numbers; smaller ones are stored as 0."""


class MemoryRunStore:
    """A ``RunStore`` that is a dict behind a lock. Copies all that goes in and out. Thread-safe.

    As in DynamoDB a whole float comes back as an int, and a tuple as a list.
    """

    def __init__(self) -> None:
        self._rows: dict[Key, Row] = {}
        self._lock = threading.RLock()

    def get(self, key: Key) -> Item | None:
        """Return a copy of one row, or None."""
        with self._lock:
            row = self._rows.get(key)
            return None if row is None else _read(key, row)

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        """Return the partition's rows whose sort key starts with ``prefix``, ascending."""
        with self._lock:
            keys = sorted(key for key in self._rows if key.pk == pk and key.sk.startswith(prefix))
            return [_read(key, self._rows[key]) for key in keys]

    def active(self, kind: str) -> list[Item]:
        """Return copies of the rows whose field ``active`` is ``kind``."""
        with self._lock:
            return [_read(key, row) for key, row in self._rows.items() if row.get("active") == kind]

    def commit(self, *changes: Change) -> None:
        """Apply all changes or none."""
        check_commit(changes)
        with self._lock:
            failed = [
                change.key
                for change in changes
                if not all(
                    _holds(condition, self._rows.get(change.key)) for condition in change.when
                )
            ]
            if failed:
                raise CommitConflict(failed)
            results = [
                (change.key, _apply(change, self._rows.get(change.key))) for change in changes
            ]
            for key, row in results:
                if row is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = row


def _holds(condition: Condition, row: Row | None) -> bool:
    match condition:
        case Absent():
            return row is None
        case Present():
            return row is not None
        case Equals(name, value):
            return row is not None and name in row and _same(row[name], value)
        case OneOf(name, values):
            return row is not None and row.get(name) in values
        case Lacks(name):
            return row is None or name not in row
        case AnyOf(conditions):
            return any(_holds(one, row) for one in conditions)


def _same(stored: Value, wanted: Value) -> bool:
    return isinstance(stored, bool) == isinstance(wanted, bool) and stored == _stored(wanted)


def _apply(change: Change, row: Row | None) -> Row | None:
    match change:
        case Put(_, item):
            return {
                name: _stored(value) for name, value in item.items() if name not in {"PK", "SK"}
            }
        case Update():
            return _updated(change, dict(row or {}))
        case Check():
            return row
        case Delete():
            return None


def _updated(change: Update, row: Row) -> Row:
    for name, value in change.assign.items():
        row[name] = _stored(value)
    for name, more in change.add.items():
        row[name] = _sum(row.get(name), more)
    for name, gone in change.discard.items():
        kept = _strings(row.get(name, frozenset())) - gone
        if kept:
            row[name] = kept
        else:
            row.pop(name, None)
    for name in change.remove:
        row.pop(name, None)
    return row


def _sum(old: Value | None, more: float | frozenset[str]) -> Value:
    if isinstance(more, frozenset):
        return _strings(_stored(more)) | _strings(frozenset() if old is None else old)
    if old is None:
        return _stored(more)
    if isinstance(old, bool) or not isinstance(old, int | float):
        raise Invalid(f"cannot add {more!r} to {old!r}")
    return _stored(old + more)


def _strings(value: Value) -> frozenset[str]:
    if not isinstance(value, frozenset):
        raise Invalid(f"{value!r} is not a set of strings")
    return value


def _stored(value: object) -> Value:
    """Return a deep copy of a value in the form in which it comes back.

    Raises:
        Invalid: a number that DynamoDB cannot hold, or an empty set.
        TypeError: not a ``Value``.
    """
    match value:
        case bool() | str() | bytes() | int():
            return value
        case float():
            return _number(value)
        case frozenset():
            if not value:
                raise Invalid("an empty set cannot be stored; leave the field out")
            return value
        case list() | tuple():
            return [_stored(one) for one in value]
        case Mapping():
            return {str(name): _stored(one) for name, one in value.items()}
        case _:
            raise TypeError(f"{value!r} cannot be stored")


def _number(value: float) -> int | float:
    if not math.isfinite(value) or abs(value) > LARGEST_NUMBER:
        raise Invalid(f"{value} cannot be stored: a number is finite and at most {LARGEST_NUMBER}")
    if abs(value) < SMALLEST_NUMBER:
        return 0
    return int(value) if value.is_integer() else value


def _read(key: Key, row: Row) -> dict[str, Value]:
    return {"PK": key.pk, "SK": key.sk, **{name: _stored(value) for name, value in row.items()}}
