"""An operator's calls: register, invite, start, watch."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rondo import Invalid, NotFound, Operator, Unauthorized, Unavailable
from rondo.run_options import RunOptions
from rondo_core.errors import SpecInvalid
from rondo_core.holdout import decode_holdout
from rondo_core.initial_weights import initial_weights
from rondo_core.model_spec import ModelSpec, encode_model_spec
from rondo_core.model_store import holdout_key, weights_key
from rondo_core.testing import ManualClock
from rondo_core.weights import decode
from tests.unit.rondo.fake_gateway import TOKEN, URL
from tests.unit.rondo.fake_operator_api import FakeOperatorApi
from tests.unit.rondo.linear import line_data


@pytest.fixture
def api(spec: ModelSpec, clock: ManualClock) -> FakeOperatorApi:
    return FakeOperatorApi(spec, clock)


@pytest.fixture
def operator(api: FakeOperatorApi, clock: ManualClock) -> Iterator[Operator]:
    with Operator(URL, TOKEN, transport=api, clock=clock) as found:
        yield found


def stored(api: FakeOperatorApi, prefix: str) -> bytes:
    (line,) = (line for line in api.requests if line.startswith(f"PUT /models/{prefix}"))
    return api.store.get(line.removeprefix("PUT /models/"))


def test_registering_uploads_the_seeded_weights_and_the_holdout(
    operator: Operator, api: FakeOperatorApi, spec: ModelSpec
) -> None:
    x, y = line_data(5)

    sha256 = operator.register_model(spec, x, y)

    assert sha256 == spec.sha256
    initial = decode(stored(api, weights_key("")), api.layout)
    np.testing.assert_array_equal(initial_weights(spec), initial)
    held_x, held_y = decode_holdout(stored(api, holdout_key("")))
    np.testing.assert_array_equal(x, held_x)
    np.testing.assert_array_equal(y[:, 0], held_y)


def test_registering_twice_uploads_nothing_again(
    operator: Operator, api: FakeOperatorApi, spec: ModelSpec
) -> None:
    first = operator.register_model(spec, *line_data(5))

    second = operator.register_model(spec, *line_data(5))

    assert first == second
    assert api.count("PUT /models/") == 2


def test_a_spec_may_be_a_document_or_a_file(
    operator: Operator, spec: ModelSpec, tmp_path: Path
) -> None:
    path = tmp_path / "line.json"
    path.write_bytes(encode_model_spec(spec))

    digests = {
        operator.register_model(form, *line_data(5))
        for form in (path, str(path), json.loads(path.read_bytes()))
    }

    assert digests == {spec.sha256}


def test_a_spec_that_breaks_a_rule_and_a_holdout_that_does_not_fit_never_leave_the_machine(
    operator: Operator, api: FakeOperatorApi, spec: ModelSpec
) -> None:
    with pytest.raises(SpecInvalid, match="layers"):
        operator.register_model({**json.loads(encode_model_spec(spec)), "layers": []}, [], [])
    with pytest.raises(Invalid, match=r"expected|shape"):
        operator.register_model(spec, np.zeros((3, 9)), np.zeros(3))

    assert api.requests == []


def test_invites_are_as_many_as_asked_for(operator: Operator, api: FakeOperatorApi) -> None:
    codes = operator.invites("line", 3, uses=2, expires_seconds=3600)

    assert len(set(codes)) == 3
    assert [api.invites[code] for code in codes] == [2, 2, 2]


def test_a_run_is_named_before_it_is_asked_for_so_that_a_lost_answer_starts_no_second_one(
    operator: Operator, api: FakeOperatorApi
) -> None:
    api.drop("POST /v1/runs", served=True)

    run_id = operator.start_run("line", rounds=3, target=2, training={"epochs": 2})

    assert list(api.runs) == [run_id]
    assert run_id.startswith("line-20260101-")
    assert api.runs[run_id].rounds == 3
    assert api.runs[run_id].training == {"epochs": 2}


def test_a_run_may_have_a_name_of_ones_own(operator: Operator) -> None:
    assert operator.start_run("line", run_id="tuesday") == "tuesday"


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (
            {"strategy": "bulyan", "target": 6, "quorum": 6},
            "target 6: bulyan with 1 attackers needs",
        ),
        ({"strategy": "fednova", "training": {"optimizer": "adam"}}, "needs plain steps"),
        ({"rounds": 0}, r"Expected `int` >= 1, found 0 - at `\$\.rounds`"),
    ],
)
def test_a_run_that_cannot_be_done_is_refused_before_it_is_asked_for(
    operator: Operator, api: FakeOperatorApi, options: RunOptions, rule: str
) -> None:
    with pytest.raises(Invalid, match=rule):
        operator.start_run("line", **options)

    assert api.count("POST /v1/runs") == 0


def test_watching_gives_every_change_and_ends_with_the_run(
    operator: Operator, api: FakeOperatorApi, clock: ManualClock
) -> None:
    api.start_run(rounds=3)
    start = clock.monotonic()

    views = list(operator.watch("run-1", poll_seconds=0.5))

    assert [view.head for view in views] == [0, 1, 2, 3]
    assert [view.state for view in views] == ["RUNNING"] * 3 + ["FINISHED"]
    assert clock.monotonic() - start == pytest.approx(1.0)


def test_a_run_that_was_just_asked_for_is_waited_for(
    operator: Operator, api: FakeOperatorApi
) -> None:
    api.start_run(rounds=1)
    api.fail("GET /v1/runs/run-1", 404, "not-found", times=2)

    assert [view.state for view in operator.watch("run-1")] == ["RUNNING", "FINISHED"]


def test_a_run_that_never_appears_is_not_waited_for_long(
    operator: Operator, clock: ManualClock
) -> None:
    start = clock.monotonic()

    with pytest.raises(NotFound):
        list(operator.watch("nowhere", appear_seconds=5))

    assert clock.monotonic() - start == pytest.approx(5)


def test_a_run_that_disappears_is_an_error_at_once(
    operator: Operator, api: FakeOperatorApi
) -> None:
    api.start_run(rounds=3)
    views = operator.watch("run-1")
    next(views)
    api.runs.clear()

    with pytest.raises(NotFound):
        next(views)


def test_lists_and_views_are_structs(operator: Operator, api: FakeOperatorApi) -> None:
    api.start_run(rounds=3)

    assert [view.run_id for view in operator.runs()] == ["run-1"]
    assert operator.run("run-1").rounds == 3
    assert [view.model for view in operator.models()] == ["line"]
    assert operator.model("line").champion is None


def test_what_is_not_there_is_not_found(operator: Operator) -> None:
    with pytest.raises(NotFound, match="no run 'nowhere'"):
        operator.run("nowhere")
    with pytest.raises(NotFound, match="no model 'nothing'"):
        operator.model("nothing")
    with pytest.raises(NotFound, match="no model 'nothing'"):
        operator.start_run("nothing")


def test_names_that_would_leave_the_path_are_refused_before_they_are_sent(
    operator: Operator, api: FakeOperatorApi
) -> None:
    with pytest.raises(Invalid, match="is not 1-64 letters"):
        operator.run("../models")

    assert api.requests == []


def test_a_wrong_token_is_said_at_once(api: FakeOperatorApi, clock: ManualClock) -> None:
    operator = Operator(URL, "guessed", transport=api, clock=clock)

    with pytest.raises(Unauthorized, match="not the operators' token"):
        operator.runs()

    assert len(api.requests) == 1


def test_a_gateway_that_does_not_answer_is_given_fifteen_seconds(
    operator: Operator, api: FakeOperatorApi, clock: ManualClock
) -> None:
    api.drop("GET /v1/runs", times=1000)
    start = clock.monotonic()

    with pytest.raises(Unavailable, match="connection refused"):
        operator.runs()

    assert clock.monotonic() - start <= 15


@pytest.mark.parametrize("url", ["gateway:8080", "ftp://gateway", "http://", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="is not"):
        Operator(url, TOKEN)
