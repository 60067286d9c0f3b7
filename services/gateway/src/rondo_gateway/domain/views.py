"""What operators are shown of models and runs, made from rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from rondo_core.keys import CHAMPION
from rondo_core.rows import (
    AliasRow,
    ClientRow,
    RoundRow,
    RunRow,
    SpecRow,
    UpdateRow,
    VersionRow,
    from_item,
)
from rondo_core.run_store import Item
from rondo_core.wire import ModelView, RoundView, RunView, VersionView

__all__ = ["model_view", "round_views", "run_view", "version_views"]


def model_view(model: str, items: Iterable[Item]) -> ModelView | None:
    """Make a model's view of all rows of its partition; None when it has no spec."""
    by_kind = _by_kind(items)
    specs = [from_item(item, SpecRow) for item in by_kind["SPEC"]]
    if not specs:
        return None
    clients = sorted(from_item(item, ClientRow).client_id for item in by_kind["CLIENT"])
    aliases = [from_item(item, AliasRow) for item in by_kind["ALIAS"]]
    champion = next((alias for alias in aliases if alias.label == CHAMPION), None)
    view = ModelView(model=model, specs=[row.spec for row in _newest_first(specs)], clients=clients)
    if champion is None:
        return view
    return ModelView(
        model=model,
        specs=view.specs,
        clients=clients,
        champion=champion.model_version,
        champion_run=champion.run_id,
        champion_version=champion.version,
        metrics=champion.metrics,
        promoted_at=champion.promoted_at,
    )


def run_view(
    run: RunRow,
    head: int,
    *,
    attempts: Sequence[RoundView] = (),
    versions: Sequence[VersionView] = (),
) -> RunView:
    """Make a run's view; ``head`` is its newest version."""
    return RunView(
        run_id=run.run_id,
        model=run.model,
        spec=run.spec,
        strategy=run.strategy,
        state=run.state,
        reason=run.reason,
        rounds=run.rounds,
        target=run.target,
        quorum=run.quorum,
        head=head,
        requested_at=run.requested_at,
        finished_at=run.finished_at,
        attempts=list(attempts),
        versions=list(versions),
    )


def version_views(items: Iterable[Item]) -> list[VersionView]:
    """Make views of VERSION rows, in their order."""
    return [
        VersionView(
            version=row.version,
            sha256=row.sha256,
            updates=row.updates,
            examples=row.examples,
            metrics=row.metrics,
            committed_at=row.committed_at,
        )
        for row in (from_item(item, VersionRow) for item in items)
    ]


def round_views(items: Iterable[Item]) -> list[RoundView]:
    """Make one view per attempt, in their order, of all rows under ``ROUND#``."""
    rounds: list[tuple[str, RoundRow]] = []
    updates: defaultdict[str, list[UpdateRow]] = defaultdict(list)
    for item in items:
        attempt, kind = _split(str(item["SK"]))
        if kind == "":
            rounds.append((attempt, from_item(item, RoundRow)))
        elif kind == "UPD":
            updates[attempt].append(from_item(item, UpdateRow))
    return [_round_view(row, updates[attempt]) for attempt, row in rounds]


def _round_view(row: RoundRow, updates: Sequence[UpdateRow]) -> RoundView:
    rejected = (update for update in updates if update.state == "REJECTED")
    return RoundView(
        round=row.round,
        attempt=row.attempt,
        state=row.state,
        reason=row.reason,
        clients=list(row.clients),
        updates=dict(Counter(update.state for update in updates)),
        rejections={update.client_id: update.reason or update.code or "" for update in rejected},
        opened_at=row.opened_at,
        sealed_at=row.sealed_at,
        ended_at=row.ended_at,
    )


def _newest_first(specs: Sequence[SpecRow]) -> list[SpecRow]:
    return sorted(specs, key=lambda row: (row.created_at, row.spec), reverse=True)


def _by_kind(items: Iterable[Item]) -> defaultdict[str, list[Item]]:
    """Group rows by the first word of their sort key."""
    groups: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[str(item["SK"]).partition("#")[0]].append(item)
    return groups


def _split(sort_key: str) -> tuple[str, str]:
    """Part ``ROUND#r#a[#KIND#…]`` into the attempt and the kind, which is empty for ROUND itself.

    >>> _split("ROUND#000001#02#UPD#north-66687aad")
    ('ROUND#000001#02', 'UPD')
    """
    name, round_, attempt, *rest = sort_key.split("#")
    return f"{name}#{round_}#{attempt}", rest[0] if rest else ""
