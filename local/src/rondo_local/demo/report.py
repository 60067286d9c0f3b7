"""The demo's result: the numbers as JSON, and a page that shows them without any other file."""

import base64
import html
import io
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import msgspec
import numpy as np
from matplotlib.figure import Figure
from msgspec import Meta
from numpy.typing import NDArray

__all__ = ["Accuracy", "Report", "Seconds", "Served", "write"]

Share = Annotated[float, Meta(ge=0, le=1)]

INK = "#1f4e79"
ACCENT = "#d9822b"
PALE = "#9fb3c8"
SHOWN = 10
SHOWN_WRONG = 3
"""Mistakes are shown on purpose, but not as if they were half of all answers."""


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Share of the holdout's pictures that are recognised."""

    federated: Share
    pooled: Share
    """One model trained on everybody's data in one place."""
    alone: dict[str, Share]
    """Owner -> a model trained on its own data only."""


class Seconds(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went."""

    install: float | None
    start: float
    train: float
    total: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``report.json``.

    Attributes:
        curve: accuracy of each version, RUN/0 first, as the owners measured it on their own
            held-out parts, combined by examples.
        promoted_version: the model's integer that the evaluator gave.
        served_version: the one that the predictions were answered by.
        predictions_ok: every holdout picture was answered by the promoted version, by each replica,
            and the share that is right equals what the evaluator measured.
    """

    run_id: str
    rounds: int
    clients: int
    accuracy: Accuracy
    promoted_version: int
    served_version: int
    predictions_ok: bool
    seconds: Seconds
    curve: list[float]


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What inference answered for the holdout: arrays of n pictures, n truths, n guesses."""

    pictures: NDArray[np.float32]
    truth: NDArray[np.int64]
    guesses: NDArray[np.int64]


def write(folder: Path, report: Report, served: Served) -> Path:
    """Write ``report.json`` and ``report.html``; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    (folder / "report.json").write_bytes(text + b"\n")
    page = folder / "report.html"
    page.write_text(_page(report, served, text.decode()), "utf-8")
    return page


def _page(report: Report, served: Served, text: str) -> str:
    accuracy = report.accuracy
    best_alone = max(accuracy.alone.values())
    sections = [
        ("Accuracy by round", _picture(_curve(report), "Accuracy of each version by round")),
        ("Together or alone", _picture(_bars(accuracy), "Accuracy alone, pooled and federated")),
        ("What is taken for what", _picture(_confusion(served), "Confusion matrix")),
        (
            "A few pictures and what was read, some wrong ones among them",
            _picture(_digits(served), "Digits and guesses"),
        ),
        ("All numbers", f"<pre>{html.escape(text)}</pre>"),
    ]
    body = "\n".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections)
    return _PAGE.format(
        run=html.escape(report.run_id),
        federated=f"{accuracy.federated:.1%}",
        pooled=f"{accuracy.pooled:.1%}",
        alone=f"{best_alone:.1%}",
        clients=report.clients,
        rounds=report.rounds,
        version=report.served_version,
        seconds=f"{report.seconds.total:.0f}",
        body=body,
    )


def _curve(report: Report) -> Figure:
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(report.curve)), report.curve, "o-", color=INK, label="owners' own held-out")
    last = report.rounds
    axes.plot([last], [report.accuracy.federated], "D", color=ACCENT, label="holdout, all classes")
    axes.axhline(report.accuracy.pooled, color=PALE, linestyle="--", label="pooled training")
    axes.set(xlabel="version (round)", ylabel="accuracy", ylim=(0, 1.02), xticks=range(last + 1))
    axes.legend(frameon=False, loc="lower right")
    return figure


def _bars(accuracy: Accuracy) -> Figure:
    names = [*accuracy.alone, "federated", "pooled"]
    values = [*accuracy.alone.values(), accuracy.federated, accuracy.pooled]
    colours = [PALE] * len(accuracy.alone) + [ACCENT, INK]
    figure = Figure(figsize=(7, 3.0), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, [f"{value:.1%}" for value in values], padding=4)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.12), xlabel="accuracy on the holdout")
    return figure


def _confusion(served: Served) -> Figure:
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (served.truth, served.guesses), 1)
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for truth, guess in zip(*np.nonzero(counts), strict=True):
        dark = counts[truth, guess] > counts.max() / 2
        axes.text(
            guess, truth, counts[truth, guess], ha="center", va="center", color="w" if dark else "k"
        )
    axes.set(xlabel="read as", ylabel="is", xticks=range(10), yticks=range(10))
    return figure


def _digits(served: Served) -> Figure:
    wrong = np.flatnonzero(served.truth != served.guesses)[:SHOWN_WRONG]
    right = np.flatnonzero(served.truth == served.guesses)
    step = max(1, len(right) // (SHOWN - len(wrong)))
    shown = [*right[::step][: SHOWN - len(wrong)], *wrong]
    figure = Figure(figsize=(9, 1.5), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(shown)), shown, strict=True):
        axes.imshow(served.pictures[row, :, :, 0], cmap="gray_r")
        right_one = served.truth[row] == served.guesses[row]
        title = (
            f"{served.guesses[row]}"
            if right_one
            else f"{served.guesses[row]}, is {served.truth[row]}"
        )
        axes.set_title(title, color="black" if right_one else "#b00020", fontsize=11)
        axes.set_axis_off()
    return figure


def _picture(figure: Figure, alt: str) -> str:
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "rondo"}):  # the same numbers give the same bytes
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}">'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Rondo: {run}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1f23; background: #fff; }}
h1 {{ margin-bottom: 0; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
img {{ max-width: 100%; height: auto; }}
dl {{ display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1.5rem 0; }}
dt {{ color: #57606a; font-size: .85rem; }} dd {{ margin: 0; font-size: 1.8rem; font-weight: 600; }}
pre {{ background: #f6f8fa; padding: 1rem; overflow-x: auto; font-size: .85rem; }}
</style></head><body>
<h1>{federated} of unseen digits recognised</h1>
<p>{clients} data owners, each with five of the ten digits, trained one model in {rounds} rounds
without moving a picture. Run <code>{run}</code>.</p>
<dl>
<div><dt>federated</dt><dd>{federated}</dd></div>
<div><dt>pooled in one place</dt><dd>{pooled}</dd></div>
<div><dt>best owner alone</dt><dd>{alone}</dd></div>
<div><dt>served version</dt><dd>{version}</dd></div>
<div><dt>seconds in all</dt><dd>{seconds}</dd></div>
</dl>
{body}
</body></html>
"""
