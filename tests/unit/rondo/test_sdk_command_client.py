"""`rondo client` and `rondo predict`: what they print, in both forms."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import Result

from rondo.commands.seams import Seams
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_gateway import URL
from tests.unit.rondo.fake_operator_api import Command, FakeOperatorApi, error_of


def test_joining_prints_who_one_is(command: Command, api: FakeOperatorApi) -> None:
    arguments = ("client", "join", "--invite", "line.first-invite", "--name", "north")

    told = command(*arguments).stdout
    in_json = json.loads(command(*arguments, "--json").stdout)

    (client,) = api.keys
    assert told == f"{client} works for line at {URL}\n"
    assert (in_json["client_id"], in_json["model"]) == (client, "line")


@pytest.fixture
def _numpy_instead_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.rondo.linear import line_trainer  # noqa: PLC0415

    monkeypatch.setattr(
        "rondo.federation._keras_factory", lambda *_, **__: lambda _: line_trainer()
    )


@pytest.mark.usefixtures("_numpy_instead_of_keras")
def test_working_trains_until_the_run_is_over(
    command: Command, api: FakeOperatorApi, tmp_path: Path
) -> None:
    api.start_run(rounds=2)
    np.savez(tmp_path / "own.npz", x=np.zeros((2, 2)), y=np.zeros(2))
    whom = ("--invite", "line.first-invite", "--name", "north", "--data", "own.npz")

    result = command("client", "work", *whom, "--json")

    found = json.loads(result.stdout)
    assert (found["state"], len(found["rounds"])) == ("FINISHED", 2)
    assert result.stderr.splitlines()[0].startswith("round 1: accepted")


@pytest.mark.usefixtures("_numpy_instead_of_keras")
def test_working_in_a_run_that_fails_fails(
    command: Command, api: FakeOperatorApi, tmp_path: Path
) -> None:
    api.start_run(rounds=1)
    api.refuse = {(1, 1): "norm-too-large", (1, 2): "norm-too-large"}
    (tmp_path / "own.csv").write_text("a,b,y\n1,2,3\n4,5,6\n")
    command("client", "join", "--invite", "line.first-invite", "--name", "north")

    result = command("client", "work", "--name", "north", "--data", "own.csv", expect=1)

    assert "run run-1: FAILED" in result.stdout


@pytest.mark.usefixtures("_numpy_instead_of_keras")
def test_stopping_work_says_how_to_go_on(
    command: Command, api: FakeOperatorApi, tmp_path: Path
) -> None:
    def interrupt(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    api.fault("GET /v1/work", interrupt)
    (tmp_path / "own.csv").write_text("a,b,y\n1,2,3\n4,5,6\n")
    whom = ("--invite", "line.first-invite", "--name", "north", "--data", "own.csv")

    result = command("client", "work", *whom, expect=1)

    assert "the same command goes on" in error_of(result)


def inference(request: httpx.Request) -> httpx.Response:
    assert request.headers["Accept"] == "text/csv"
    if request.url.params["model"] == "price":
        return httpx.Response(200, content=b"price\n2.5\n", headers={"X-Rondo-Version": "2"})
    if request.url.params["model"] == "odd":
        return httpx.Response(200, content=b"label,probability_a\nx,many\n")
    if b"bad" in request.content:
        return httpx.Response(400, json={"error": "row 1, column 'a': 'bad' is not a number"})
    kind = request.headers["Content-Type"]
    rows = json.loads(request.content)["instances"] if "json" in kind else [0, 0]
    lines = ["label,probability_no,probability_yes", *["yes,0.25,0.75"] * len(rows)]
    return httpx.Response(200, content="\n".join(lines).encode(), headers={"X-Rondo-Version": "7"})


@pytest.fixture
def ask(command: Command, clock: ManualClock) -> Command:
    served = Seams(transport=httpx.MockTransport(inference), clock=clock, environ={})

    def run(*arguments: str, expect: int = 0) -> Result:
        return command("predict", *arguments, expect=expect, given=served)

    return run


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.npy"])
def test_predictions_are_a_table_of_labels_and_probabilities(
    ask: Command, tmp_path: Path, name: str
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "rows.json").write_text('{"instances": [[1, 2], [3, 4]]}')
    np.save(tmp_path / "rows.npy", np.ones((2, 2)))

    told = ask("line", name).stdout
    in_json = json.loads(ask("line", name, "--json").stdout)

    assert [line.split()[1:4:2] for line in told.splitlines() if "0.75" in line] == [
        ["1", "yes"],
        ["2", "yes"],
    ]
    assert "answered by version 7 of line" in told
    expected = {"label": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}
    assert in_json == {"model": "line", "version": "7", "predictions": [expected] * 2}


def test_numbers_are_predicted_by_name(ask: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")

    assert "price" in ask("price", "rows.csv").stdout
    in_json = json.loads(ask("price", "rows.csv", "--json").stdout)
    assert in_json["predictions"] == [{"values": {"price": 2.5}}]


@pytest.mark.parametrize(
    ("model", "name", "content", "text"),
    [
        ("line", "rows.csv", b"a\nbad\n", "row 1, column 'a': 'bad' is not a number"),
        ("odd", "rows.csv", b"a\n1\n", "not the CSV of predictions"),
        ("line", "rows.xlsx", b"", ".xlsx is not one of .csv, .json, .npy"),
        ("line", "rows.npy", b"", "is not a plain array"),
        ("line", "rows.npy", b"\x80\x04]\x94.", "is not a plain array"),
    ],
)
def test_predicting_fails_with_one_line(
    ask: Command, tmp_path: Path, model: str, name: str, content: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(content)

    assert text in error_of(ask(model, name, expect=1))


def test_rows_that_do_not_fit_are_a_line_each(
    command: Command, clock: ManualClock, tmp_path: Path
) -> None:
    rows = [{"row": at, "column": "a", "rule": "'x' is not a number"} for at in range(12)]
    body = {"error": "row 0, column 'a': 'x' is not a number", "rows": rows}
    transport = httpx.MockTransport(lambda _: httpx.Response(400, json=body))
    (tmp_path / "rows.csv").write_text("a\n" + "x\n" * 12)
    seams = Seams(transport=transport, clock=clock, environ={})

    shown = command("predict", "line", "rows.csv", expect=1, given=seams).stderr.splitlines()

    assert shown[0].endswith("/invocations answered 400: rows do not fit")
    assert shown[1:11] == [
        f"  row {at + 1} (line {at + 2} of the file), column 'a': 'x' is not a number"
        for at in range(10)
    ]
    assert shown[11:] == ["  and 2 more that the server names"]


@pytest.mark.parametrize(("misses", "expect"), [(3, 0), (99, 1)])
def test_model_that_is_not_served_may_have_been_promoted_just_now(
    command: Command, clock: ManualClock, tmp_path: Path, misses: int, expect: int
) -> None:
    asked = []

    def appearing(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) <= misses:
            return httpx.Response(404, json={"error": "there is no model 'line'"})
        return inference(request)

    (tmp_path / "rows.csv").write_text("a\n1\n")
    seams = Seams(transport=httpx.MockTransport(appearing), clock=clock, environ={})

    result = command("predict", "line", "rows.csv", expect=expect, given=seams)

    assert len(asked) == (misses + 1 if expect == 0 else 11)
    assert ("there is no model 'line'" in result.output) == (expect == 1)


def test_inference_that_is_away_is_one_line(
    command: Command, clock: ManualClock, tmp_path: Path
) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    (tmp_path / "rows.csv").write_text("a\n1\n")
    seams = Seams(transport=httpx.MockTransport(away), clock=clock, environ={})

    result = command("predict", "line", "rows.csv", expect=1, given=seams)

    assert "connection refused" in error_of(result)
