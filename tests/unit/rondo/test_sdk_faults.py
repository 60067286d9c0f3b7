"""Networks, gateways and stores that misbehave in every way a client must outlive."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from rondo import Conflict, GatewayError, Invalid, Unauthorized, Unavailable
from rondo import connect as connect_to
from rondo_core.errors import LayoutMismatch
from rondo_core.model_spec import encode_model_spec
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_gateway import URL, Connect, FakeGateway
from tests.unit.rondo.linear import CountingTrainer, line_trainer

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


def test_a_base_version_with_other_bytes_than_promised_is_an_error_and_is_not_kept(
    connect: Connect, gateway: FakeGateway, home: Path
) -> None:
    gateway.start_run(rounds=1)
    gateway.corrupt = True
    trainer = CountingTrainer()

    with pytest.raises(Invalid, match=r"SHA-256 .* came, .* was promised"):
        connect().train(trainer=trainer, progress=False)

    assert trainer.measured == 0
    assert not [path for path in home.rglob("versions/*") if path.is_file()]


def test_a_base_version_that_never_ends_is_not_read_to_its_end(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault("GET /models/versions/", lambda _: httpx.Response(200, content=bytes(10**6)))

    with pytest.raises(Invalid, match="bytes that were promised"):
        connect().train(trainer=line_trainer(), progress=False)


def test_a_base_version_of_another_model_is_an_error(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.layout = type(gateway.layout)(gateway.layout.tensors[::-1])
    federation = connect()
    real = gateway._assignment  # noqa: SLF001  (one answer is to be a lie)
    wrong = "0" * 64

    def lying(run: Any) -> Any:
        return msgspec.structs.replace(real(run), layout=wrong)

    gateway._assignment = lying  # type: ignore[method-assign]  # noqa: SLF001

    with pytest.raises(LayoutMismatch, match=wrong):
        federation.train(trainer=line_trainer(), progress=False)


def test_a_link_that_expired_before_the_download_is_replaced_by_the_next_poll(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault("GET /models/versions/", lambda _: httpx.Response(403), times=2)

    result = connect().train(trainer=line_trainer(), progress=False)

    assert result.rounds[0].verdict == "accepted"


def test_links_that_are_always_refused_are_an_error_in_the_end(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.fault("PUT /models/updates/", lambda _: httpx.Response(403), times=100)

    with pytest.raises(Invalid, match="expired"):
        connect().train(trainer=line_trainer(), progress=False)

    assert gateway.count("PUT /models/updates/") == 9


def test_a_store_that_has_the_object_already_has_taken_the_upload(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.drop("PUT /models/updates/", served=True)

    result = connect().train(trainer=line_trainer(), progress=False)

    assert result.rounds[0].verdict == "accepted"
    assert gateway.count("PUT /models/updates/") == 2
    assert len(gateway.updates) == 1


def test_bytes_that_the_store_refuses_are_an_error(connect: Connect, gateway: FakeGateway) -> None:
    gateway.start_run(rounds=1)
    gateway.fault("PUT /models/updates/", lambda _: httpx.Response(400))

    with pytest.raises(Invalid, match="not the bytes"):
        connect().train(trainer=line_trainer(), progress=False)


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


def test_a_store_that_is_busy_is_asked_again(connect: Connect, gateway: FakeGateway) -> None:
    gateway.start_run(rounds=1)
    gateway.fault("PUT /models/updates/", lambda _: httpx.Response(503), times=2)
    gateway.fault("GET /models/versions/", lambda _: httpx.Response(500), times=2)

    result = connect().train(trainer=line_trainer(), progress=False)

    assert result.rounds[0].verdict == "accepted"
    assert gateway.count("PUT /models/updates/") == 3


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
