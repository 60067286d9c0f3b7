"""Whether a run that is asked for can be done: one answer for the SDK, gateway and dispatcher."""

from rondo_core.encodings import check_encoding
from rondo_core.errors import EncodingInvalid, SpecInvalid, StrategyInvalid
from rondo_core.events import RunRequested
from rondo_core.strategies import buffering, is_own, keeps_control, needs_steps, read_strategy
from rondo_core.training_parameters import TrainingParameters

__all__ = ["depends_on_spec", "run_fault", "training_fault"]


def run_fault(run: RunRequested) -> str | None:
    """Return why a run is impossible whatever its model spec, naming value and rule, or None.

    A round has at most ``target`` updates and at least ``quorum``; the strategy must be able to
    combine both numbers.
    """
    if run.target < run.quorum:
        return f"target {run.target} is below quorum {run.quorum}"
    return (
        _strategy_fault(run)
        or _buffer_fault(run)
        or _encoding_fault(run)
        or training_fault(run, TrainingParameters())
    )


def depends_on_spec(run: RunRequested) -> bool:
    """Say whether `training_fault` would judge the model spec's own defaults otherwise."""
    return needs_steps(run.strategy, run.parameters) and "optimizer" not in run.training


def training_fault(run: RunRequested, spec: TrainingParameters) -> str | None:
    """Return why clients cannot train as the run's strategy wants it, or None.

    Args:
        run: with its overrides.
        spec: the model spec's own training parameters.
    """
    try:
        training = spec.overridden(run.training)
    except SpecInvalid as exc:
        return f"training: {exc}"
    if needs_steps(run.strategy, run.parameters) and training.optimizer == "adam":
        return f"training: optimizer 'adam': strategy {run.strategy!r} needs plain steps"
    if keeps_control(run.strategy, run.parameters) and training.proximal_mu:
        return f"training: proximal_mu {training.proximal_mu:g}: SCAFFOLD goes without"
    return None


def _strategy_fault(run: RunRequested) -> str | None:
    if is_own(run.strategy):
        return None
    try:
        choice = read_strategy(run.strategy, run.parameters)
    except StrategyInvalid as exc:
        return str(exc)
    for name, updates in (("target", run.target), ("quorum", run.quorum)):
        if (refusal := choice.refusal(updates)) is not None:
            return f"{name} {updates}: {refusal}"
    return None


def _buffer_fault(run: RunRequested) -> str | None:
    buffer = buffering(run.strategy, run.parameters)
    if buffer is None or buffer.buffer_size is None:
        return None
    if buffer.buffer_size > run.target:
        return f"buffer_size {buffer.buffer_size} is more than target {run.target}"
    if buffer.buffer_size < run.quorum:
        return f"buffer_size {buffer.buffer_size} is less than quorum {run.quorum}"
    return None


def _encoding_fault(run: RunRequested) -> str | None:
    try:
        check_encoding(run.encoding, run.strategy, run.parameters)
    except EncodingInvalid as exc:
        return str(exc)
    return None
