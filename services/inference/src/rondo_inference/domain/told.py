"""What an answer or a job tells of columns: few of them, however many there are."""

import json
from collections.abc import Iterable, Sequence

from msgspec import Struct, to_builtins

from rondo_core.input_bounds import Beyond
from rondo_inference.domain.row_faults import NO_COLUMN

__all__ = ["Told", "few_told", "ignored"]

_LONGEST_TEXT = 4096
"""Proxies take 8 KiB of headers."""


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column and its rule, or how many more there are.

    Attributes:
        column: its name.
        rule: what is the matter with it.
        rows: in how many rows it is; None: in all.
        first_row: the first of them, counted from 0.
        more: columns that are only counted; then there is nothing else.
    """

    column: str | None = None
    rule: str | None = None
    rows: int | None = None
    first_row: int | None = None
    more: int = 0


def ignored(names: Iterable[str]) -> tuple[Beyond, ...]:
    """Return what is to be told of columns that the model does not have, in their order."""
    return tuple(Beyond(name, f"{NO_COLUMN}, and ignored", 0, 0) for name in names)


def few_told(beyond: Sequence[Beyond]) -> tuple[Told, ...]:
    """Return so many as are a short text, and then how many more there are.

    >>> few_told(ignored(["id"]))  # doctest: +ELLIPSIS
    (Told(column='id', rule='is no column of the model, and ignored', ...),)
    """
    told, length = list[Told](), 0
    for one in beyond:
        rows = {"rows": one.rows, "first_row": one.first} if one.rows else {}
        found = Told(column=one.column, rule=one.rule, **rows)
        length += len(json.dumps(to_builtins(found)))
        if length > _LONGEST_TEXT:
            return (*told, Told(more=len(beyond) - len(told)))
        told.append(found)
    return tuple(told)
