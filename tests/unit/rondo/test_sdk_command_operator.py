"""`rondo model` and `rondo run`: what they print, in both forms."""

import json
from pathlib import Path

from rondo_core.model_spec import ModelSpec, encode_model_spec
from tests.unit.rondo.fake_operator_api import Command, FakeOperatorApi, error_of


def test_a_model_is_registered_from_files(
    command: Command, spec: ModelSpec, api: FakeOperatorApi, tmp_path: Path
) -> None:
    (tmp_path / "line.json").write_bytes(encode_model_spec(spec))
    (tmp_path / "holdout.csv").write_text("a,b,y\n1,2,3\n4,5,6\n")
    arguments = ("model", "register", "line.json", "--holdout", "holdout.csv")

    told = command(*arguments).stdout
    in_json = json.loads(command(*arguments, "--json").stdout)

    assert told == f"registered model spec {spec.sha256}\n"
    assert in_json == {"spec": spec.sha256}
    assert api.count("PUT /models/") == 2


def test_a_row_of_a_file_that_does_not_fit_is_told_as_people_count(
    command: Command, spec: ModelSpec, tmp_path: Path
) -> None:
    (tmp_path / "line.json").write_bytes(encode_model_spec(spec))
    (tmp_path / "holdout.csv").write_text("a,b,y\n1,2,3\nmany,5,6\n")

    result = command("model", "register", "line.json", "--holdout", "holdout.csv", expect=1)

    assert error_of(result) == (
        "Error: row 2, column 'a': 'many' is not a number"
        " (rows are counted from 1, without a header)"
    )


def test_invites_are_printed_one_a_line(command: Command) -> None:
    told = command("model", "invite", "line", "--count", "2").stdout
    in_json = json.loads(command("model", "invite", "line", "--count", "2", "--json").stdout)

    assert told.splitlines() == ["line.secret-0", "line.secret-1"]
    assert in_json == {"model": "line", "codes": ["line.secret-0", "line.secret-1"]}


def test_models_are_listed_and_shown(
    command: Command, api: FakeOperatorApi, spec: ModelSpec
) -> None:
    before = command("model", "show", "line").stdout
    api.start_run(rounds=1).state = "FINISHED"

    assert "none yet" in before
    assert "loss 0.25" in command("model", "list").stdout
    assert "1 (run run-1, its version 3)" in command("model", "show", "line").stdout
    (listed,) = json.loads(command("model", "list", "--json").stdout)
    shown = json.loads(command("model", "show", "line", "--json").stdout)
    assert listed == shown
    assert (shown["champion"], shown["specs"]) == (1, [spec.sha256])


def test_a_run_is_started_with_typed_options(command: Command, api: FakeOperatorApi) -> None:
    result = command(
        *("run", "start", "line", "--rounds", "3", "--target", "2", "--run-id", "tuesday"),
        *("--training", "epochs=2", "--training", "learning_rate=0.5"),
        *("--strategy", "fedavgm", "--parameter", "nesterov=true"),
        *("--training", "optimizer=adam", "--deadline", "30", "--json"),
    )

    assert json.loads(result.stdout) == {"run_id": "tuesday"}
    assert api.runs["tuesday"].rounds == 3
    assert api.runs["tuesday"].training == {
        "epochs": 2,
        "learning_rate": 0.5,
        "optimizer": "adam",
    }


def test_starting_and_watching_prints_each_version_once(command: Command) -> None:
    lines = command("run", "start", "line", "--rounds", "3", "--run-id", "r", "--watch").stdout

    assert lines.splitlines() == [
        "r",
        "version 0: the initial weights",
        "version 1: 2 updates, 80 examples; version 0 had loss 1.0000",
        "version 2: 2 updates, 80 examples; version 1 had loss 0.5000",
        "version 3: 2 updates, 80 examples; version 2 had loss 0.3333",
        "run r: FINISHED, promoted as version 1",
    ]


def test_watching_in_json_is_one_object_a_line(command: Command, api: FakeOperatorApi) -> None:
    api.start_run(rounds=2)

    views = [
        json.loads(line) for line in command("run", "watch", "run-1", "--json").stdout.splitlines()
    ]

    assert [view["head"] for view in views] == [0, 1, 2]
    assert views[-1]["state"] == "FINISHED"


def test_watching_a_run_that_fails_fails(command: Command, api: FakeOperatorApi) -> None:
    run = api.start_run(rounds=2)
    run.state, run.reason = "FAILED", "only 1 of 2 clients came"

    result = command("run", "watch", "run-1", expect=1)

    assert "run run-1: FAILED, only 1 of 2 clients came" in result.stdout


def test_runs_are_listed(command: Command, api: FakeOperatorApi) -> None:
    api.start_run(rounds=2).reason = "[/odd] reason"

    assert "[/odd] reason" in command("run", "list").stdout

    assert "0/2" in command("run", "list").stdout
    (view,) = json.loads(command("run", "list", "--json").stdout)
    assert (view["run_id"], view["state"]) == ("run-1", "RUNNING")
