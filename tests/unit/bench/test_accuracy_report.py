"""What the accuracy bench prints of what it finished."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.accuracy.report import BEGIN, END, draw, rounds_to, tables, write_between
from bench.accuracy.results import Result, read_results, result_path, write_result
from bench.accuracy.settings import Protocol

PROTOCOL = Protocol(epochs=1, rounds=50)


def result(setting: str, *accuracy: float, seed: int = 0, bytes_each: float = 1000.0) -> Result:
    return Result(
        setting=setting, seed=seed, accuracy=list(accuracy), bytes_each=bytes_each, seconds=1.0
    )


def test_rounds_are_counted_on_the_best_curve_so_far_and_between_two_rounds() -> None:
    assert rounds_to([0.90, 0.98, 0.97, 1.00], 0.99) == pytest.approx(3.5)
    assert rounds_to([0.99], 0.99) == 1.0
    assert rounds_to([0.90, 0.98], 0.99) is None


def test_a_row_holds_the_best_rounds_of_all_seeds_against_what_is_published() -> None:
    finished = {
        "fedavg-iid": [
            result("fedavg-iid", 0.5, 0.88, 0.87),
            result("fedavg-iid", 0.5, 0.60, 0.90, seed=1),
        ]
    }

    lines = tables(PROTOCOL, finished).splitlines()

    assert lines[0] == "Fashion-MNIST, 50 rounds of 1 local epoch, the best of all rounds:"
    assert lines[4] == "| FedAvg | iid | 2 | 89.00 ± 1.41 | 89.23 ± 0.45 | -0.23 | 0.5 |"
    assert len(lines) == 5


def test_an_algorithm_that_nobody_published_stands_for_itself() -> None:
    text = tables(PROTOCOL, {"fedadam-dirichlet": [result("fedadam-dirichlet", 0.75)]})

    row = "| FedAdam, η = 0.01 | dirichlet 0.5 | 1 | 75.00 |  |  |  |"
    assert text.splitlines()[4] == row


def test_encodings_are_held_against_float32_over_as_many_rounds_and_the_same_seeds() -> None:
    finished = {
        "fedavg-dirichlet": [
            result("fedavg-dirichlet", *[0.8] * 20, 0.9),
            result("fedavg-dirichlet", *[0.3] * 20, seed=1),
        ],
        "encoding-int8": [result("encoding-int8", *[0.7] * 20, bytes_each=250.0)],
    }

    lines = tables(PROTOCOL, finished).splitlines()

    assert "| float32 | 1 | 1,000 | 1.0 × | 80.00 |" in lines
    assert "| int8 | 1 | 250 | 4.0 × | 70.00 |" in lines


def test_a_run_that_never_gets_there_says_so() -> None:
    finished = {
        "mnist-cnn-iid": [
            result("mnist-cnn-iid", 0.97, 0.98),
            result("mnist-cnn-iid", 0.98, 1.0, seed=1),
        ]
    }

    assert tables(PROTOCOL, finished).splitlines()[4:] == [
        "| 0 | not in 2 | 98.00 |",
        "| 1 | 1.5 | 100.00 |",
    ]


def test_a_result_is_read_again_only_by_the_same_run(tmp_path: Path) -> None:
    setting = PROTOCOL.niid[0]
    longer = replace(setting, training={"epochs": 10})
    renamed = replace(setting, algorithm="FedAvg of 2017", published=None)
    write_result(result_path(tmp_path, setting, 1), result(setting.name, 0.5, seed=1))

    assert [found.seed for found in read_results(tmp_path, setting, range(3))] == [1]
    assert [found.seed for found in read_results(tmp_path, renamed, range(3))] == [1]
    assert read_results(tmp_path, longer, range(3)) == []


def test_only_what_is_between_the_marks_of_a_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")

    write_between(page, "| new |")
    write_between(page, "| newer |")

    assert page.read_text("utf-8") == f"# Before\n{BEGIN}\n\n| newer |\n\n{END}\nafter\n"


def test_a_picture_has_a_line_for_what_is_finished_and_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    finished = {"fedavg-iid": [result("fedavg-iid", 0.5, 0.8), result("fedavg-iid", 0.6, 0.7, 0.8)]}
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]

    for path in paths:
        draw(PROTOCOL.niid, finished, path, least=50)

    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.count(b"FedAvg, iid") == 1
    assert b"SCAFFOLD" not in first
