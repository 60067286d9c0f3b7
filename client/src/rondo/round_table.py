"""A client's rounds as a table for people, and as lines for logs."""

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from rondo.history import RoundResult
from rondo.trainer import EXAMPLES

__all__ = ["metric_names", "round_line", "rounds_table"]

_PREFERRED = ("loss", "accuracy", "auc", "mean_absolute_error")
_STYLES = {"accepted": "green", "rejected": "bold red", "late": "yellow", "unknown": "yellow"}
_UNKNOWN = "·"


def rounds_table(rounds: Sequence[RoundResult], last: int | None = None) -> Table:
    """Return one row per round: own metrics, the federation's, examples, seconds, verdict.

    Metrics are of the version that the round started from; ``last`` shows only that many rows.
    """
    names = metric_names(name for entry in rounds for name in entry.metrics)
    table = Table(title_justify="left", header_style="bold")
    table.add_column("round", justify="right")
    for name in names:
        table.add_column(f"own {name}", justify="right")
    for name in names:
        table.add_column(f"federation {name}", justify="right")
    table.add_column("examples", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("verdict")
    for entry in rounds[-last:] if last else rounds:
        table.add_row(
            _round(entry),
            *(_number(entry.metrics, name) for name in names),
            *(_number(entry.federation, name) for name in names),
            str(entry.examples),
            f"{entry.seconds:.1f}",
            _verdict(entry),
        )
    return table


def round_line(entry: RoundResult) -> str:
    """Return one round as a line.

    >>> round_line(RoundResult(run_id="r", round=2, attempt=1, verdict="accepted",
    ...     metrics={"accuracy": 0.5, "examples": 9.0}, examples=40, seconds=1.25))
    'round 2: accepted, own accuracy 0.5000, 40 examples, 1.2 s'
    """
    own = [f"own {name} {entry.metrics[name]:.4f}" for name in metric_names(entry.metrics)]
    parts = [
        f"round {_round(entry)}: {entry.verdict}",
        *own,
        f"{entry.examples} examples",
        f"{entry.seconds:.1f} s",
    ]
    return ", ".join(parts) + (f" ({note})" if (note := _note(entry)) else "")


def metric_names(names: Iterable[str]) -> list[str]:
    """Choose two metrics at most, the best known ones first.

    >>> metric_names(["examples", "accuracy", "zeal", "loss"])
    ['loss', 'accuracy']
    """
    found = set(names) - {EXAMPLES}
    known = [name for name in _PREFERRED if name in found]
    return (known + sorted(found - set(known)))[:2]


def _round(entry: RoundResult) -> str:
    return str(entry.round) + (f" (attempt {entry.attempt})" if entry.attempt > 1 else "")


def _number(metrics: dict[str, float], name: str) -> str:
    return f"{metrics[name]:.4f}" if name in metrics else _UNKNOWN


def _verdict(entry: RoundResult) -> str:
    text = f"[{_STYLES[entry.verdict]}]{entry.verdict}[/]"
    return f"{text}: {escape(note)}" if (note := _note(entry)) else text


def _note(entry: RoundResult) -> str:
    """Say why an update was not accepted, and where a late one counts.

    >>> from rondo_core.client_wire import Entered
    >>> _note(RoundResult(run_id="r", round=3, attempt=1, verdict="accepted",
    ...     entered=Entered(round=5, attempt=1, staleness=2)))
    'entered round 5, staleness 2'
    """
    later = entry.entered
    entered = f"entered round {later.round}, staleness {later.staleness}" if later else None
    return ", ".join(part for part in (entered, entry.reason) if part)
