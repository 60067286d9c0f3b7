"""What a person sees while a run goes on: in a terminal, in a notebook, or in a log."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rondo.history import Result, RoundResult
from rondo.round_table import round_line, rounds_table

__all__ = [
    "NoProgress",
    "NotebookProgress",
    "PlainProgress",
    "Progress",
    "TerminalProgress",
    "fitting_progress",
]

LIVE_ROWS = 12
"""More rounds do not fit a small terminal; the table at the end has all."""


class Progress(Protocol):
    """Shows one client's rounds."""

    def show(self, rounds: Sequence[RoundResult], stage: str, total: int | None = None) -> None:
        """Show what is settled, and what is being done now; does not block.

        Args:
            rounds: all that are settled, oldest first.
            stage: a few words.
            total: how many rounds the run will have, where it is known.
        """
        ...

    def over(self, result: Result) -> None:
        """Show how a run ended."""
        ...

    def close(self) -> None:
        """Leave terminal or notebook as it was found; safe to call twice."""
        ...


class NoProgress:
    """Shows nothing."""

    def show(self, rounds: Sequence[RoundResult], stage: str, total: int | None = None) -> None:
        """Show nothing."""

    def over(self, result: Result) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class PlainProgress:
    """One line per round, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = 0

    def show(self, rounds: Sequence[RoundResult], stage: str, total: int | None = None) -> None:
        """Print the rounds that were not printed yet; stages are not worth a line."""
        del stage, total
        for entry in rounds[self._printed :]:
            self._print(round_line(entry))
        self._printed = len(rounds)

    def over(self, result: Result) -> None:
        """Print the end."""
        self._printed = 0
        self._print(_ending(result))

    def close(self) -> None:
        """Nothing is open."""

    def _print(self, line: str) -> None:
        self._console.print(escape(line), soft_wrap=True, highlight=False)


class TerminalProgress:
    """A bar and a table that are drawn anew in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def show(self, rounds: Sequence[RoundResult], stage: str, total: int | None = None) -> None:
        """Draw bar and table."""
        if self._live is None:
            self._live = Live(console=self._console, transient=True, refresh_per_second=4)
            self._live.start()
        self._live.update(_picture(rounds, stage, total), refresh=True)

    def over(self, result: Result) -> None:
        """Leave the whole table in the terminal."""
        self.close()
        self._console.print(rounds_table(result.rounds), Text(_ending(result)))

    def close(self) -> None:
        """Take the live part away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class NotebookProgress:
    """The same picture in a notebook's cell; needs no widgets.

    Args:
        display: IPython's function of this name; its answer has ``update``.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None

    def show(self, rounds: Sequence[RoundResult], stage: str, total: int | None = None) -> None:
        """Draw bar and table in the cell's one output."""
        self._draw(_picture(rounds, stage, total))

    def over(self, result: Result) -> None:
        """Leave the whole table in the cell."""
        self._draw(_grid(rounds_table(result.rounds), Text(_ending(result))))
        self._handle = None

    def close(self) -> None:
        """Nothing is open."""

    def _draw(self, picture: Table) -> None:
        if self._handle is None:
            self._handle = self._display(picture, display_id=True)
        else:
            self._handle.update(picture)


def fitting_progress(console: Console) -> Progress:
    """Choose by where the output goes."""
    if console.is_jupyter:
        # Only a notebook is sure to have IPython, so nothing depends on it.
        return NotebookProgress(importlib.import_module("IPython.display").display)
    return TerminalProgress(console) if console.is_terminal else PlainProgress(console)


def _picture(rounds: Sequence[RoundResult], stage: str, total: int | None) -> Table:
    """Rich's grid: unlike its group of things, notebooks can draw it."""
    done = len({(entry.run_id, entry.round) for entry in rounds})
    bar = ProgressBar(total=total, completed=done, width=40, pulse=total is None)
    status = f"{done}/{total}  {stage}" if total else stage
    if not rounds:
        return _grid(bar, Text(status))
    return _grid(bar, Text(status), rounds_table(rounds, last=LIVE_ROWS))


def _grid(*parts: RenderableType) -> Table:
    grid = Table.grid()
    grid.add_column()
    for part in parts:
        grid.add_row(part)
    return grid


def _ending(result: Result) -> str:
    return f"run {result.run_id}: {result.state}" + (f", {result.reason}" if result.reason else "")
