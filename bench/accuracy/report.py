"""What is finished as tables, in words of Markdown, and as pictures."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.accuracy.results import Result
from bench.accuracy.settings import Protocol, Setting

__all__ = ["Finished", "draw", "rounds_to", "tables", "write_between"]

BEGIN = "<!-- written by make bench-accuracy -->"
END = "<!-- as far as here -->"
COLOURS = ("#1f4e79", "#d9822b", "#4c9a5b", "#a33b3b", "#7a5195", "#8c8c8c", "#2a9d8f")

Finished = Mapping[str, Sequence[Result]]
"""Name of a setting -> its results, one for each seed that is finished."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation of a sample, in percent."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, shares: Sequence[float]) -> "Spread":
        """Return the spread of shares of 1; a single one has no deviation."""
        percent = [100 * share for share in shares]
        deviation = statistics.stdev(percent) if len(percent) > 1 else None
        return cls(statistics.fmean(percent), deviation)

    def __str__(self) -> str:
        """Return it as the papers write it."""
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


def best(result: Result, rounds: int | None = None) -> float:
    """Return the best accuracy of all rounds, or of the first ones."""
    return max(result.accuracy[:rounds])


def rounds_to(accuracy: Sequence[float], wanted: float) -> float | None:
    """Return after how many rounds an accuracy is reached; None where it never is.

    As McMahan et al. count: the curve is made monotone by the best value so far, and the crossing
    is interpolated linearly.

    Source: McMahan et al., 2017, section 3 (arXiv:1602.05629).

    >>> rounds_to([0.5, 0.4, 0.9], 0.7), rounds_to([0.5], 0.7), rounds_to([0.8], 0.7)
    (2.5, None, 1.0)
    """
    before = 0.0
    for number, found in enumerate(accuracy, 1):
        now = max(before, found)
        if now >= wanted:
            return float(number) if number == 1 else number - (now - wanted) / (now - before)
        before = now
    return None


def tables(protocol: Protocol, finished: Finished) -> str:
    """Return all tables, of what is finished."""
    parts = [_niid(protocol, finished), _encodings(protocol, finished), _mnist(protocol, finished)]
    return "\n\n".join(part for part in parts if part)


def _niid(protocol: Protocol, finished: Finished) -> str:
    rows = []
    for setting in protocol.niid:
        results = finished.get(setting.name, [])
        if results:
            found = Spread.of([best(result) for result in results])
            rows.append([setting.algorithm, setting.split, *_against(setting, found, results)])
    measured = ["ours, %", "published, %", "difference", "in published deviations"]
    epochs = f"{protocol.epochs} local epoch{'s' if protocol.epochs > 1 else ''}"
    title = f"Fashion-MNIST, {protocol.rounds} rounds of {epochs}, the best of all rounds:"
    return _table(title, ["algorithm", "split", "seeds", *measured], rows)


def _against(setting: Setting, found: Spread, results: Sequence[Result]) -> list[str]:
    there = setting.published
    if there is None:
        return [str(len(results)), str(found), "", "", ""]
    away = found.mean - there.mean
    published = f"{there.mean:.2f} ± {there.deviation:.2f}"
    measured = [str(len(results)), str(found), published]
    return [*measured, f"{away:+.2f}", f"{abs(away) / there.deviation:.1f}"]


def _encodings(protocol: Protocol, finished: Finished) -> str:
    """Compare encodings on the seeds that are finished with all of those that are begun."""
    rounds = protocol.encodings[0].rounds
    (plain,) = (one for one in protocol.niid if one.name == "fedavg-dirichlet")
    begun = [setting for setting in protocol.encodings if finished.get(setting.name)]
    alike = {result.seed for result in finished.get(plain.name, []) if begun}
    for setting in begun:
        alike &= {result.seed for result in finished[setting.name]}
    rows = []
    for setting in [plain, *begun] if alike else []:
        results = [result for result in finished[setting.name] if result.seed in alike]
        size, full = results[0].bytes_each, finished[plain.name][0].bytes_each
        found = Spread.of([best(result, rounds) for result in results])
        share = f"{full / size:.1f} ×"
        rows.append([setting.encoding, str(len(results)), f"{size:,.0f}", share, str(found)])
    head = ["encoding", "seeds", "bytes of an update", "smaller by", "ours, %"]
    title = f"Encodings, FedAvg at Dirichlet 0.5, the best of {rounds} rounds:"
    return _table(title, head, rows)


def _mnist(protocol: Protocol, finished: Finished) -> str:
    rows = [
        [str(result.seed), _rounds(result, setting), f"{100 * best(result):.2f}"]
        for setting in protocol.mnist
        for result in finished.get(setting.name, [])
    ]
    title = "MNIST, IID, E = 5, B = 10, C = 0.1; published are 20 rounds:"
    return _table(title, ["seed", "rounds to 99 %", "best, %"], rows)


def _rounds(result: Result, setting: Setting) -> str:
    found = rounds_to(result.accuracy, setting.until)
    return f"not in {len(result.accuracy)}" if found is None else f"{found:.1f}"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]
    return "\n".join([title, "", *lines])


def draw(settings: Sequence[Setting], finished: Finished, path: Path, *, least: float) -> None:
    """Draw accuracy against rounds: the mean of the seeds, and a band from least to largest.

    Args:
        settings: a line each, where anything is finished.
        finished: the results.
        path: of the SVG.
        least: percent that the axis begins at.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for setting, colour in zip(settings, COLOURS, strict=False):
        curves = [result.accuracy for result in finished.get(setting.name, [])]
        if not curves:
            continue
        shortest = min(map(len, curves))
        by_round = [[100 * one[k] for one in curves] for k in range(shortest)]
        rounds = range(1, shortest + 1)
        means = [statistics.fmean(values) for values in by_round]
        axes.plot(rounds, means, color=colour, linewidth=1.5, label=setting.label)
        lows, highs = [min(values) for values in by_round], [max(values) for values in by_round]
        axes.fill_between(rounds, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="round", ylabel="test accuracy, %")
    axes.set_ylim(bottom=least)
    figure.legend(frameon=False, loc="outside right upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "rondo"}):  # the same picture has the same bytes
        figure.savefig(path, metadata={"Date": None})


def write_between(page: Path, text: str) -> None:
    """Put a text between the two marks of a page."""
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", "utf-8")
