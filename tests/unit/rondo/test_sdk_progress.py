"""What a person sees: lines, a live table, a notebook's cell, or nothing."""

import io
import types
from typing import Any

import pytest
from rich.console import Console

from rondo import Result, RoundResult
from rondo.progress import (
    NoProgress,
    NotebookProgress,
    PlainProgress,
    Progress,
    TerminalProgress,
    fitting_progress,
)
from rondo.round_table import round_line, rounds_table

ROUNDS = (
    RoundResult(
        run_id="r",
        round=1,
        attempt=1,
        verdict="accepted",
        metrics={"loss": 2.5, "accuracy": 0.25, "auc": 0.5, "examples": 10.0},
        federation={"loss": 2.25, "accuracy": 0.375},
        examples=40,
        seconds=1.25,
    ),
    RoundResult(
        run_id="r",
        round=2,
        attempt=2,
        verdict="rejected",
        reason="not-finite: [out/kernel] is NaN",
        metrics={"loss": 1.5, "accuracy": 0.5, "examples": 10.0},
        examples=40,
        seconds=0.5,
    ),
)
RESULT = Result(run_id="r", state="FINISHED", reason="promoted as version 3", rounds=ROUNDS)


def console(*, terminal: bool = False, width: int = 160) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, height=30)


def written(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def run_through(progress: Progress) -> None:
    progress.show((), "waiting for a round")
    progress.show((), "round 1 of 2: training", 2)
    progress.show(ROUNDS[:1], "round 2 of 2: training", 2)
    progress.show(ROUNDS, "waiting for a round", 2)
    progress.over(RESULT)
    progress.close()


def test_a_log_has_one_line_per_round_and_one_for_the_end() -> None:
    to = console()

    run_through(PlainProgress(to))

    assert written(to).splitlines() == [
        "round 1: accepted, own loss 2.5000, own accuracy 0.2500, 40 examples, 1.2 s",
        (
            "round 2 (attempt 2): rejected, own loss 1.5000, own accuracy 0.5000, 40 examples, "
            "0.5 s (not-finite: [out/kernel] is NaN)"
        ),
        "run r: FINISHED, promoted as version 3",
    ]


def test_a_second_run_starts_a_log_of_its_own() -> None:
    to = console()
    progress = PlainProgress(to)

    run_through(progress)
    run_through(progress)

    assert len(written(to).splitlines()) == 6


def test_a_terminal_keeps_the_whole_table_and_gets_its_cursor_back() -> None:
    to = console(terminal=True)

    run_through(TerminalProgress(to))

    text = written(to)
    assert "round 2 of 2: training" in text
    assert "promoted as version 3" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_closing_a_terminal_in_the_middle_gives_the_cursor_back() -> None:
    to = console(terminal=True)
    progress = TerminalProgress(to)
    progress.show(ROUNDS, "training", 2)

    progress.close()
    progress.close()

    text = written(to)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.rindex("\x1b[2K") > text.rindex("training")


def test_the_table_shows_own_and_federation_metrics_and_the_reason() -> None:
    to = console()

    to.print(rounds_table(ROUNDS))

    lines = written(to).splitlines()
    assert "own loss" in lines[1]
    assert "federation accuracy" in lines[1]
    assert "auc" not in lines[1]
    assert "0.3750" in lines[3]
    assert "·" in lines[4]
    assert "rejected: not-finite: [out/kernel] is NaN" in lines[4]
    assert "2 (attempt 2)" in lines[4]


def test_a_long_run_shows_its_last_rounds_only() -> None:
    to = console()
    many = [
        RoundResult(run_id="r", round=number, attempt=1, verdict="late") for number in range(1, 99)
    ]

    to.print(rounds_table(many, last=12))

    assert len(written(to).splitlines()) == 12 + 4
    assert "98" in written(to)


def test_metrics_that_nobody_knows_are_shown_by_their_names() -> None:
    entry = RoundResult(
        run_id="r", round=1, attempt=1, verdict="unknown", metrics={"b": 1.0, "a": 2.0, "c": 3.0}
    )

    assert "own a 2.0000, own b 1.0000, 0 examples" in round_line(entry)


class Cell:
    """As much of a notebook's cell as is used."""

    def __init__(self) -> None:
        self.outputs: list[list[Any]] = []

    def display(self, picture: Any, *, display_id: bool) -> "Cell":
        assert display_id
        self.outputs.append([picture])
        return self

    def update(self, picture: Any) -> None:
        self.outputs[-1].append(picture)


def test_a_notebook_draws_in_one_output_per_run_without_widgets() -> None:
    cell = Cell()
    progress = NotebookProgress(cell.display)

    run_through(progress)
    run_through(progress)

    assert [len(output) for output in cell.outputs] == [5, 5]
    last = console()
    last.print(cell.outputs[0][-1])
    assert "promoted as version 3" in written(last)
    assert "text/html" in cell.outputs[0][-1]._repr_mimebundle_((), ())


def test_output_that_is_no_terminal_gets_lines() -> None:
    assert isinstance(fitting_progress(console()), PlainProgress)
    assert isinstance(fitting_progress(console(terminal=True)), TerminalProgress)


def test_a_notebook_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("IPython.display")
    module.display = Cell().display  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "IPython.display", module)

    chosen = fitting_progress(Console(file=io.StringIO(), force_jupyter=True))

    assert isinstance(chosen, NotebookProgress)


def test_nothing_is_shown_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    run_through(NoProgress())

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("state", "reason", "promoted"),
    [
        ("FINISHED", "promoted as version 1", True),
        ("FINISHED", "held: accuracy 0.5 is below the champion's", False),
        ("FAILED", "promoted as version 1", False),
        ("CANCELLED", None, False),
    ],
)
def test_a_result_knows_whether_its_version_is_served(
    state: Any, reason: str | None, *, promoted: bool
) -> None:
    assert Result(run_id="r", state=state, reason=reason).promoted == promoted
