"""The changes of a commit as DynamoDB's write requests, every name and value aliased."""

from collections.abc import Mapping, Sequence
from typing import Any

from rondo_core.aws.dynamo_values import encode_item, encode_key, encode_value
from rondo_core.run_store import (
    Absent,
    AnyOf,
    Change,
    Check,
    Condition,
    Delete,
    Equals,
    Lacks,
    OneOf,
    Present,
    Put,
    Update,
)

__all__ = ["Aliases", "write_request"]


class Aliases:
    """Collects the names and values of one request's expressions; reserved words need no care."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def name(self, field: str) -> str:
        """Return the alias of a field's name."""
        return self._names.setdefault(field, f"#{len(self._names)}")

    def value(self, value: object) -> str:
        """Return the alias of a value."""
        alias = f":{len(self._values)}"
        self._values[alias] = encode_value(value)
        return alias

    def parameters(self) -> dict[str, Any]:
        """Return the request's parameters that declare the aliases; DynamoDB refuses empty ones."""
        parameters: dict[str, Any] = {}
        if self._names:
            names = {alias: field for field, alias in self._names.items()}
            parameters["ExpressionAttributeNames"] = names
        if self._values:
            parameters["ExpressionAttributeValues"] = self._values
        return parameters


def write_request(change: Change, table: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of a change in ``TransactWriteItems`` and its parameters.

    >>> from rondo_core.run_store import Key
    >>> kind, request = write_request(Check(Key("a", "b"), (Equals("state", "OPEN"),)), "t")
    >>> kind, request["ConditionExpression"], request["ExpressionAttributeNames"]
    ('ConditionCheck', '#0 = :0', {'#0': 'state'})
    """
    aliases = Aliases()
    request: dict[str, Any] = {"TableName": table}
    if change.when:
        texts = [_condition(condition, aliases) for condition in change.when]
        request["ConditionExpression"] = " AND ".join(texts)
    match change:
        case Put(key, item):
            kind = "Put"
            request["Item"] = encode_item(key, item)
        case Update(key):
            kind = "Update"
            request["UpdateExpression"] = _update(change, aliases)
        case Check(key):
            kind = "ConditionCheck"
        case Delete(key):
            kind = "Delete"
    if kind != "Put":
        request["Key"] = encode_key(key)
    return kind, request | aliases.parameters()


def _condition(condition: Condition, aliases: Aliases) -> str:
    match condition:
        case Absent():
            return f"attribute_not_exists({aliases.name('PK')})"
        case Present():
            return f"attribute_exists({aliases.name('PK')})"
        case Equals(name, value):
            return f"{aliases.name(name)} = {aliases.value(value)}"
        case OneOf(name, values):
            options = ", ".join(aliases.value(value) for value in values)
            return f"{aliases.name(name)} IN ({options})"
        case Lacks(name):
            return f"attribute_not_exists({aliases.name(name)})"
        case AnyOf(conditions):
            return "(" + " OR ".join(_condition(one, aliases) for one in conditions) + ")"


def _update(change: Update, aliases: Aliases) -> str:
    clauses: list[str] = []
    if change.assign:
        pairs = [f"{aliases.name(n)} = {aliases.value(v)}" for n, v in change.assign.items()]
        clauses.append("SET " + ", ".join(pairs))
    for word, fields in (("ADD", change.add), ("DELETE", change.discard)):
        if fields:
            clauses.append(f"{word} {_pairs(fields, aliases)}")
    if change.remove:
        clauses.append("REMOVE " + ", ".join(aliases.name(name) for name in change.remove))
    return " ".join(clauses)


def _pairs(fields: Mapping[str, object], aliases: Aliases) -> str:
    pairs: Sequence[str] = [f"{aliases.name(n)} {aliases.value(v)}" for n, v in fields.items()]
    return ", ".join(pairs)
