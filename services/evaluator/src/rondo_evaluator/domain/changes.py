"""The commits of the evaluator: move the alias, or say why it stays."""

from datetime import datetime

from rondo_core.events import VersionHeld, VersionPromoted
from rondo_core.keys import alias_key
from rondo_core.model_rows import AliasRow
from rondo_core.outbox import outbox_put
from rondo_core.rows import to_item
from rondo_core.run_store import Absent, Change, Condition, Equals, Put

__all__ = ["SERVICE", "hold", "is_of", "promote", "promotion_of"]

SERVICE = "evaluator"


def is_of(alias: AliasRow | None, run_id: str, version: int) -> bool:
    """Return whether the alias is this version's: then the verdict was given and committed."""
    return alias is not None and (alias.run_id, alias.version) == (run_id, version)


def promotion_of(alias: AliasRow) -> VersionPromoted:
    """Return the event that tells of an alias; the same alias always gives the same event."""
    return VersionPromoted(
        event_id=f"VersionPromoted/{alias.run_id}/{alias.version}",
        run_id=alias.run_id,
        occurred_at=alias.promoted_at,
        model=alias.model,
        version=alias.version,
        model_version=alias.model_version,
        sha256=alias.sha256,
        metrics=alias.metrics,
    )


def promote(alias: AliasRow, before: AliasRow | None) -> tuple[Change, ...]:
    """Move the alias, unless somebody else has moved it since ``before`` was read."""
    when: Condition = Absent() if before is None else Equals("model_version", before.model_version)
    return (
        Put(alias_key(alias.model, alias.label), to_item(alias), (when,)),
        outbox_put(promotion_of(alias), service=SERVICE),
    )


def hold(
    *,
    run_id: str,
    version: int,
    model: str,
    reason: str,
    metrics: dict[str, float],
    now: datetime,
) -> VersionHeld:
    """Return the event that tells why a version is not served."""
    return VersionHeld(
        event_id=f"VersionHeld/{run_id}/{version}",
        run_id=run_id,
        occurred_at=now,
        model=model,
        version=version,
        reason=reason,
        metrics=metrics,
    )
