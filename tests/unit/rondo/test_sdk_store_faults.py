"""Stores and links that misbehave, and versions that are not what was promised."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from rondo import Invalid
from rondo_core.errors import LayoutMismatch
from tests.unit.rondo.fake_gateway import Connect, FakeGateway
from tests.unit.rondo.linear import CountingTrainer, line_trainer

REPORT = r"POST .*/report"


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


def test_a_store_that_is_busy_is_asked_again(connect: Connect, gateway: FakeGateway) -> None:
    gateway.start_run(rounds=1)
    gateway.fault("PUT /models/updates/", lambda _: httpx.Response(503), times=2)
    gateway.fault("GET /models/versions/", lambda _: httpx.Response(500), times=2)

    result = connect().train(trainer=line_trainer(), progress=False)

    assert result.rounds[0].verdict == "accepted"
    assert gateway.count("PUT /models/updates/") == 3


def test_a_version_that_is_called_like_a_path_is_refused(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    real = gateway._assignment  # noqa: SLF001  (one answer is to be a lie)

    def lying(run: Any) -> Any:
        found = real(run)
        base = msgspec.structs.replace(found.base, sha256="../../../escaped")
        return msgspec.structs.replace(found, base=base)

    gateway._assignment = lying  # type: ignore[method-assign]  # noqa: SLF001

    with pytest.raises(Invalid, match="escaped"):
        connect().train(trainer=line_trainer(), progress=False)

    assert gateway.count("GET /models/") == 0
