"""What operators are shown of models and runs, made from rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rondo_core.keys import CHAMPION
from rondo_core.model_rows import AliasRow, ClientRow, SpecRow
from rondo_core.operator_wire import ModelView, RoundView, RunView, VersionView
from rondo_core.rows import RoundRow, RunRow, UpdateRow, UpdateState, VersionRow, from_item
from rondo_core.run_store import Item

__all__ = ["Tally", "by_kind", "model_view", "round_view", "run_view", "tally", "version_views"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What operators are shown of an attempt's updates.

    Attributes:
        counts: how many there are in each state.
        rejections: client -> why its update does not count.
    """

    counts: Mapping[UpdateState, int]
    rejections: Mapping[str, str]


def model_view(model: str, items: Iterable[Item]) -> ModelView | None:
    """Make a model's view of all rows of its partition; None when it has no spec."""
    rows = by_kind(items)
    specs = [from_item(item, SpecRow) for item in rows["SPEC"]]
    if not specs:
        return None
    clients = sorted(from_item(item, ClientRow).client_id for item in rows["CLIENT"])
    aliases = [from_item(item, AliasRow) for item in rows["ALIAS"]]
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


def tally(items: Iterable[Item]) -> Tally:
    """Count an attempt's updates."""
    updates = [from_item(item, UpdateRow) for item in items]
    rejected = (update for update in updates if update.state == "REJECTED")
    return Tally(
        counts=Counter(update.state for update in updates),
        rejections={update.client_id: update.reason or update.code or "" for update in rejected},
    )


def round_view(row: RoundRow, updates: Tally) -> RoundView:
    """Make an attempt's view."""
    return RoundView(
        round=row.round,
        attempt=row.attempt,
        state=row.state,
        reason=row.reason,
        clients=list(row.clients),
        updates=dict(updates.counts),
        rejections=dict(updates.rejections),
        opened_at=row.opened_at,
        sealed_at=row.sealed_at,
        ended_at=row.ended_at,
    )


def by_kind(items: Iterable[Item]) -> defaultdict[str, list[Item]]:
    """Group rows by the first word of their sort key."""
    groups: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[str(item["SK"]).partition("#")[0]].append(item)
    return groups


def _newest_first(specs: Sequence[SpecRow]) -> list[SpecRow]:
    return sorted(specs, key=lambda row: (row.created_at, row.spec), reverse=True)
