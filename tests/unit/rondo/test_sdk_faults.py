"""Networks and gateways that misbehave in every way a client must outlive."""

from pathlib import Path

import httpx
import msgspec
import pytest

from rondo import Conflict, GatewayError, Invalid, Unauthorized, Unavailable
from rondo import connect as connect_to
from rondo_core.model_spec import encode_model_spec
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_gateway import URL, Connect, FakeGateway
from tests.unit.rondo.linear import line_trainer

REPORT = r"POST .*/report"


@pytest.mark.parametrize("served", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "pattern",
    [
        r"GET /v1/work",
        r"GET /v1/models/.*",
        r"GET /models/versions/.*",
        r"PUT .*/update$",
        r"PUT /models/updates/.*",
        REPORT,
        r"GET .*/update$",
    ],
)
def test_a_connection_that_breaks_anywhere_costs_a_repeat_and_nothing_else(
    connect: Connect, gateway: FakeGateway, clock: ManualClock, pattern: str, *, served: bool
) -> None:
    gateway.start_run(rounds=2)
    gateway.drop(pattern, times=3, served=served)
    start = clock.monotonic()

    result = connect().train(trainer=line_trainer(), progress=False)

    assert [entry.verdict for entry in result.rounds] == ["accepted", "accepted"]
    assert len(gateway.updates) == 2
    assert 0 < clock.monotonic() - start < 20


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_gateway_that_is_busy_is_asked_again(
    connect: Connect, gateway: FakeGateway, status: int
) -> None:
    gateway.start_run(rounds=1)
    gateway.fail(REPORT, status, "busy", times=4)

    result = connect().train(trainer=line_trainer(), progress=False)

    assert result.rounds[0].verdict == "accepted"
    assert gateway.count(REPORT) == 5


def test_a_gateway_that_names_a_pause_is_left_alone_for_that_long(
    connect: Connect, gateway: FakeGateway, clock: ManualClock
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault(REPORT, lambda _: httpx.Response(503, headers={"Retry-After": "70"}))
    start = clock.monotonic()

    connect().train(trainer=line_trainer(), progress=False)

    assert clock.monotonic() - start >= 70


def test_a_gateway_that_stays_away_ends_in_unavailable_after_ten_minutes(
    connect: Connect, gateway: FakeGateway, clock: ManualClock
) -> None:
    federation = connect()
    gateway.drop("GET /v1/work", times=10_000)
    start = clock.monotonic()

    with pytest.raises(Unavailable, match="connection refused"):
        federation.train(trainer=line_trainer(), progress=False)

    assert 580 < clock.monotonic() - start <= 600


def test_a_machine_whose_clock_is_wrong_signs_by_the_gateways_clock(
    gateway: FakeGateway, home: Path, clock: ManualClock
) -> None:
    gateway.start_run(rounds=1)
    behind = ManualClock()
    clock.advance(3600)

    federation = connect_to(
        URL, "line.first-invite", "north", home=home, transport=gateway, clock=behind
    )
    result = federation.train(trainer=line_trainer(), progress=False)

    assert result.state == "FINISHED"
    assert gateway.count("GET /v1/work") == 3


def test_a_client_that_the_gateway_does_not_know_any_more_is_told_so(
    connect: Connect, gateway: FakeGateway
) -> None:
    federation = connect()
    gateway.keys.clear()

    with pytest.raises(Unauthorized, match="not enrolled") as caught:
        federation.train(trainer=line_trainer(), progress=False)

    assert (caught.value.code, caught.value.correlation_id) == ("client-unknown", "c0ffee")
    assert gateway.count("GET /v1/work") == 1


def test_another_conflict_is_an_error(connect: Connect, gateway: FakeGateway) -> None:
    gateway.start_run(rounds=1)
    gateway.fail(r"PUT .*/update$", 409, "not-open")

    with pytest.raises(Conflict, match="not-open"):
        connect().train(trainer=line_trainer(), progress=False)


def test_a_verdict_that_does_not_come_is_not_waited_for_for_ever(
    connect: Connect, gateway: FakeGateway, clock: ManualClock
) -> None:
    def unjudged(request: httpx.Request) -> httpx.Response:
        clock.advance(float(request.url.params["wait"]))
        (receipt,) = gateway.runs["run-1"].attempts[1, 1].receipts.values()
        return httpx.Response(200, content=msgspec.json.encode(receipt))

    gateway.start_run(rounds=2)
    gateway.fault(r"GET .*/update$", unjudged, times=6)

    result = connect().train(trainer=line_trainer(), progress=False)

    assert [entry.verdict for entry in result.rounds] == ["unknown", "accepted"]
    assert gateway.runs["run-1"].attempts[1, 1].receipts.popitem()[1].state == "ACCEPTED"


def test_a_body_that_the_gateway_refuses_is_an_error_with_its_code(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.fail(r"PUT .*/update$", 400, "wrong-size")

    with pytest.raises(GatewayError) as caught:
        connect().train(trainer=line_trainer(), progress=False)

    assert isinstance(caught.value, Invalid)
    assert caught.value.code == "wrong-size"


def test_a_run_that_is_called_like_a_path_is_refused(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1, run_id="../../../escaped")

    with pytest.raises(Invalid, match="escaped"):
        connect().train(trainer=line_trainer(), progress=False)


def test_another_spec_than_the_one_asked_for_is_an_error(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    other = encode_model_spec(msgspec.structs.replace(gateway.spec, seed=8))
    gateway.fault("GET /v1/models/", lambda _: httpx.Response(200, content=other))

    with pytest.raises(Invalid, match=r"came, .* was asked for"):
        connect().train(trainer=line_trainer(), progress=False)


def test_the_end_of_a_run_that_nobody_asked_about_is_an_error(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.fault("GET /v1/work", lambda _: httpx.Response(200, json={"run_state": "FINISHED"}))

    with pytest.raises(Invalid, match="was not asked about"):
        connect().train(trainer=line_trainer(), progress=False)
