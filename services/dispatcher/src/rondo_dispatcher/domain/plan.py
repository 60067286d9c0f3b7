"""What a decision wants done: the changes of one commit, and the events that tell of it."""

from dataclasses import dataclass

from rondo_core.events import Event
from rondo_core.rows import Row, to_item
from rondo_core.run_store import Change, Condition, Key, Update

__all__ = ["Abort", "Plan", "row_update"]


@dataclass(frozen=True, slots=True)
class Plan:
    """One atomic step.

    Attributes:
        changes: go into one commit, each with its own conditions.
        events: go into the outbox in the same commit, and are published after it.
        before: rows that must exist before the commit and mean nothing without it.
    """

    changes: tuple[Change, ...]
    events: tuple[Event, ...] = ()
    before: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Abort:
    """The attempt cannot be finished; ``reason`` is for people."""

    reason: str


def row_update(key: Key, before: Row, after: Row, *, when: tuple[Condition, ...]) -> Update:
    """Return the change that turns one row into another and touches no field that is the same.

    What others add meanwhile, such as a task token, is thereby kept.

    >>> from rondo_core.keys import gate_key
    >>> from rondo_core.rows import GateRow
    >>> key = gate_key("run", 1, 1, 0)
    >>> row_update(key, GateRow(state="OPEN"), GateRow(state="SEALED"), when=()).assign
    {'state': 'SEALED'}
    """
    old, new = to_item(before), to_item(after)
    return Update(
        key,
        assign={name: value for name, value in new.items() if old.get(name) != value},
        remove=tuple(name for name in old if name not in new),
        when=when,
    )
