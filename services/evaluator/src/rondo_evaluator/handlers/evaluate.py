"""The handler of ``EvaluationRequested``."""

import logging
from collections.abc import Sequence

from rondo_core.errors import Invalid, NotFound
from rondo_core.events import EvaluationRequested
from rondo_core.exports import (
    ExportIndex,
    encode_export_index,
    export_file,
    export_file_key,
    export_index_key,
    format_of,
)
from rondo_core.keys import CHAMPION, alias_key
from rondo_core.model_rows import AliasRow
from rondo_core.outbox import outbox_put, publish_now
from rondo_core.rows import from_item
from rondo_core.run_store import CommitConflict
from rondo_core.weights import digest
from rondo_evaluator.domain.changes import SERVICE, hold, is_of, promote, promotion_of
from rondo_evaluator.domain.verdict import Verdict, judge
from rondo_evaluator.handlers.ports import Ports
from rondo_evaluator.handlers.subject import (
    Candidate,
    load_candidate,
    load_holdout,
    load_model,
)

__all__ = ["on_evaluation_requested"]

log = logging.getLogger(__name__)

LOST_RACES = 5
"""How often another run may be promoted while this one is being judged."""


def on_evaluation_requested(events: Sequence[EvaluationRequested], *, ports: Ports) -> None:
    """Give each run its verdict and answer its task token.

    Handling a request again finds the verdict in the alias, or comes to the same one.

    Raises:
        NotFound: there is no such run or version.
        Unavailable: a port did not answer; nothing is half done that a repetition does not mend.
    """
    for event in events:
        candidate = load_candidate(event.run_id, ports.store)
        outcome = _settle(candidate, ports)
        ports.workflow.succeed(event.task_token, {"outcome": outcome})


def _settle(candidate: Candidate, ports: Ports) -> str:
    alias = _champion(candidate.run.model, ports)
    if alias is not None and is_of(alias, candidate.run.run_id, candidate.version.version):
        _tell_promotion(alias, ports)
        return "promoted"
    try:
        metrics = _measure(candidate, ports)
        return _decide(candidate, metrics, ports)
    except (Invalid, NotFound) as exc:
        return _hold(candidate, str(exc), {}, ports)


def _decide(candidate: Candidate, metrics: dict[str, float], ports: Ports) -> str:
    export: str | None = None
    for _ in range(LOST_RACES):
        before = _champion(candidate.run.model, ports)
        verdict = judge(metrics, _measured_alike(candidate, before, ports))
        if not verdict.promote:
            return _hold(candidate, verdict.reason, metrics, ports)
        export = export or _export(candidate, ports)
        alias = _alias(candidate, before, export, metrics, ports)
        try:
            ports.store.commit(*promote(alias, before))
        except CommitConflict:
            continue  # another run was promoted meanwhile: compare with that one
        _log(candidate, verdict, metrics, ports)
        _tell_promotion(alias, ports)
        return "promoted"
    return _hold(candidate, "other runs were promoted meanwhile, again and again", metrics, ports)


def _measure(candidate: Candidate, ports: Ports) -> dict[str, float]:
    spec, flat = load_model(candidate.spec.spec, candidate.version.sha256, ports.model_store)
    holdout = load_holdout(candidate.spec.holdout_sha256, ports.model_store)
    with ports.metrics.timed("rondo_evaluate_seconds"):
        return ports.bench.evaluate(spec, flat, holdout.x, holdout.y)


def _measured_alike(
    candidate: Candidate, champion: AliasRow | None, ports: Ports
) -> dict[str, float] | None:
    """Return the champion's metrics on the candidate's holdout."""
    if champion is None or champion.holdout_sha256 == candidate.spec.holdout_sha256:
        return None if champion is None else champion.metrics
    spec, flat = load_model(champion.spec, champion.sha256, ports.model_store)
    holdout = load_holdout(candidate.spec.holdout_sha256, ports.model_store)
    try:
        return ports.bench.evaluate(spec, flat, holdout.x, holdout.y)
    except Invalid as exc:
        raise Invalid(f"the champion cannot be measured on this holdout: {exc}") from exc


def _export(candidate: Candidate, ports: Ports) -> str:
    """Write the export's files and their index; return the index's digest."""
    spec, flat = load_model(candidate.spec.spec, candidate.version.sha256, ports.model_store)
    with ports.metrics.timed("rondo_export_seconds"):
        exported = ports.bench.export(spec, flat)
    index = ExportIndex(
        format=format_of(exported.files),
        model=candidate.run.model,
        spec=candidate.spec.spec,
        weights=candidate.version.sha256,
        input=exported.input,
        output=exported.output,
        tolerance=exported.tolerance,
        files={name: export_file(data) for name, data in exported.files.items()},
    )
    for name, data in exported.files.items():
        ports.model_store.put(export_file_key(index, name), data)
    body = encode_export_index(index)
    ports.model_store.put(export_index_key(index.weights, digest(body)), body)
    return digest(body)


def _alias(
    candidate: Candidate,
    before: AliasRow | None,
    export: str,
    metrics: dict[str, float],
    ports: Ports,
) -> AliasRow:
    return AliasRow(
        model=candidate.run.model,
        label=CHAMPION,
        run_id=candidate.run.run_id,
        version=candidate.version.version,
        model_version=1 if before is None else before.model_version + 1,
        sha256=candidate.version.sha256,
        export=export,
        spec=candidate.spec.spec,
        holdout_sha256=candidate.spec.holdout_sha256,
        metrics=metrics,
        promoted_at=ports.clock.now(),
    )


def _champion(model: str, ports: Ports) -> AliasRow | None:
    item = ports.store.get(alias_key(model))
    return None if item is None else from_item(item, AliasRow)


def _tell_promotion(alias: AliasRow, ports: Ports) -> None:
    publish_now([promotion_of(alias)], service=SERVICE, store=ports.store, publish=ports.publish)


def _hold(candidate: Candidate, reason: str, metrics: dict[str, float], ports: Ports) -> str:
    event = hold(
        run_id=candidate.run.run_id,
        version=candidate.version.version,
        model=candidate.run.model,
        reason=reason,
        metrics=metrics,
        now=ports.clock.now(),
    )
    ports.store.commit(outbox_put(event, service=SERVICE))
    _log(candidate, Verdict(promote=False, reason=reason), metrics, ports)
    publish_now([event], service=SERVICE, store=ports.store, publish=ports.publish)
    return "held"


def _log(candidate: Candidate, verdict: Verdict, metrics: dict[str, float], ports: Ports) -> None:
    outcome = "promoted" if verdict.promote else "held"
    ports.metrics.count("rondo_evaluations_total", outcome=outcome)
    log.info(
        "verdict",
        extra={
            "run_id": candidate.run.run_id,
            "version": candidate.version.version,
            "outcome": outcome,
            "reason": verdict.reason,
            "metrics": metrics,
        },
    )
