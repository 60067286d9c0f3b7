"""The table in DynamoDB."""

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from rondo_core.aws.dynamo_requests import Aliases, write_request
from rondo_core.aws.dynamo_values import decode_item, encode_key
from rondo_core.aws.failures import answered, error_code, pauses
from rondo_core.errors import Invalid, Unavailable
from rondo_core.run_store import (
    Change,
    Check,
    CommitConflict,
    Delete,
    Item,
    Key,
    Put,
    Update,
    check_commit,
)
from rondo_core.topology import INDEX

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["DynamoRunStore"]

_CONDITION_FAILED = "ConditionalCheckFailed"


class DynamoRunStore:
    """A ``RunStore`` in one DynamoDB table; thread-safe, as its client is."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, key: Key) -> Item | None:
        """Return one row, read strongly, or None."""
        with answered(f"get {'/'.join(key)}"):
            answer = self._client.get_item(
                TableName=self._table, Key=encode_key(key), ConsistentRead=True
            )
        item = answer.get("Item")
        return None if item is None else decode_item(item)

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        """Return the partition's rows whose sort key starts with ``prefix``, ascending."""
        aliases = Aliases()
        condition = f"{aliases.name('PK')} = {aliases.value(pk)}"
        if prefix:
            condition += f" AND begins_with({aliases.name('SK')}, {aliases.value(prefix)})"
        request = aliases.parameters() | {"ConsistentRead": True}
        return self._pages(request | {"KeyConditionExpression": condition})

    def active(self, kind: str) -> list[Item]:
        """Return the rows whose field ``active`` is ``kind``, as far as the index knows."""
        aliases = Aliases()
        condition = f"{aliases.name(INDEX)} = {aliases.value(kind)}"
        request = aliases.parameters() | {"IndexName": INDEX}
        return self._pages(request | {"KeyConditionExpression": condition})

    def commit(self, *changes: Change) -> None:
        """Apply all changes or none: several as one transaction, a single one as a plain write."""
        check_commit(changes)
        if not changes:
            return
        for _ in pauses():
            if len(changes) == 1 and _may_repeat(changes[0]):
                done = self._write(changes[0])
            else:
                done = self._transact(changes)
            if done:
                return
        raise Unavailable("commit: other commits on the same rows were in the way every time")

    def _pages(self, request: Mapping[str, Any]) -> list[Item]:
        items: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            with answered("query"):
                page = self._client.query(TableName=self._table, **request, **start)
            items += [decode_item(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return items
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _write(self, change: Change) -> bool:
        """Write one row; False when another commit was in the way and it is worth trying again."""
        kind, request = write_request(change, self._table)
        call: Any = getattr(self._client, f"{kind.lower()}_item")
        with answered(f"write {'/'.join(change.key)}"):
            try:
                call(**request)
            except ClientError as exc:
                code = error_code(exc)
                if code == "TransactionConflictException":
                    return False
                if code != "ConditionalCheckFailedException":
                    raise
                if exc.response["ResponseMetadata"].get("RetryAttempts", 0):
                    # It may be our own first attempt, whose answer was lost, that is in the way.
                    raise Unavailable(f"write {'/'.join(change.key)}: outcome unknown") from exc
                raise CommitConflict([change.key]) from exc
        return True

    def _transact(self, changes: Sequence[Change]) -> bool:
        """Write all rows; the token makes botocore's repeats of an unanswered request harmless."""
        actions: Any = [dict([write_request(change, self._table)]) for change in changes]
        with answered(f"commit of {len(changes)} rows"):
            try:
                self._client.transact_write_items(
                    TransactItems=actions, ClientRequestToken=uuid.uuid4().hex
                )
            except ClientError as exc:
                if error_code(exc) != "TransactionCanceledException":
                    raise
                _raise_conflict(exc, changes)
                return False
        return True


def _may_repeat(change: Change) -> bool:
    """Tell whether a plain write can do it, and twice is the same as once, as a sum is not."""
    match change:
        case Put() | Delete():
            return True
        case Update():
            return all(isinstance(value, frozenset) for value in change.add.values())
        case Check():
            return False


def _raise_conflict(exc: ClientError, changes: Sequence[Change]) -> None:
    """Raise unless the transaction was cancelled only because others were in the way."""
    reasons: Any = exc.response.get("CancellationReasons", [])
    codes = [reason.get("Code") for reason in reasons]
    pairs = zip(changes, codes, strict=True)
    failed = [change.key for change, code in pairs if code == _CONDITION_FAILED]
    if failed:
        raise CommitConflict(failed) from exc
    if "ValidationError" in codes:
        texts = [reason["Message"] for reason in reasons if reason.get("Code") == "ValidationError"]
        raise Invalid(f"commit of {len(changes)} rows: {texts}") from exc
