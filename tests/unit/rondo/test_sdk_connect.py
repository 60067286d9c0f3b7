"""Joining: one invite, one key, once."""

from pathlib import Path

import pytest

import rondo
from rondo.home import home_root
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_gateway import URL, FakeGateway

INVITE = "line.first-invite"


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "gateway.test" / "line-north"


def join(
    gateway: FakeGateway, home: Path, invite: str | None = INVITE, name: str | None = "north"
) -> rondo.Federation:
    return rondo.connect(URL, invite, name, home=home, transport=gateway, clock=ManualClock())


def test_joining_keeps_a_private_key_that_only_the_owner_can_read(
    gateway: FakeGateway, home: Path, folder: Path
) -> None:
    federation = join(gateway, home)

    assert federation.identity.client_id in gateway.keys
    assert federation.identity.model == "line"
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" in (folder / "key.pem").read_bytes()
    assert "north" in repr(federation)


def test_joining_again_asks_nobody_and_spends_nothing(gateway: FakeGateway, home: Path) -> None:
    first = join(gateway, home)

    second = join(gateway, home)

    assert second.identity == first.identity
    assert gateway.count("enrolments") == 1


def test_coming_back_needs_no_invite(gateway: FakeGateway, home: Path) -> None:
    first = join(gateway, home)

    assert join(gateway, home, invite=None).identity == first.identity


def test_a_gateway_that_forgot_a_client_knows_it_again_by_a_new_invite(
    gateway: FakeGateway, home: Path
) -> None:
    first = join(gateway, home)
    gateway.keys.clear()
    gateway.invites["line.second-invite"] = 1

    second = join(gateway, home, invite="line.second-invite")

    assert second.identity.client_id == first.identity.client_id
    assert list(gateway.keys) == [first.identity.client_id]


def test_an_answer_that_was_lost_does_not_cost_the_invite(gateway: FakeGateway, home: Path) -> None:
    gateway.drop("POST /v1/enrolments", served=True)

    federation = join(gateway, home)

    assert list(gateway.keys) == [federation.identity.client_id]
    assert gateway.invites[INVITE] == 0


def test_a_client_killed_between_key_and_answer_joins_with_the_same_key(
    gateway: FakeGateway, home: Path
) -> None:
    gateway.fail("POST /v1/enrolments", 403, "invite-used-up")
    with pytest.raises(rondo.Unauthorized):
        join(gateway, home)

    join(gateway, home)

    assert len(gateway.keys) == 1


@pytest.mark.parametrize(
    ("invite", "error", "text"),
    [
        ("line.never-given-out", rondo.NotFound, "nobody knows this invite"),
        ("no-dot-in-it", rondo.Invalid, "model '' is not"),
        ("../../etc.secret", rondo.Invalid, "model '../../etc' is not"),
    ],
)
def test_an_invite_that_is_none_is_refused(
    gateway: FakeGateway, home: Path, invite: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        join(gateway, home, invite=invite)


def test_an_invite_that_was_used_up_by_another_is_refused(gateway: FakeGateway, home: Path) -> None:
    join(gateway, home, name="south")

    with pytest.raises(rondo.Unauthorized, match="as often as it may be") as caught:
        join(gateway, home, name="north")

    assert caught.value.code == "invite-used-up"


def test_nobody_of_this_name_is_said_with_what_is_needed(gateway: FakeGateway, home: Path) -> None:
    join(gateway, home)

    with pytest.raises(rondo.NotFound, match=r"'south' has not joined.*an invite is needed"):
        join(gateway, home, invite=None, name="south")


def test_a_name_that_works_for_two_models_must_say_which(gateway: FakeGateway, home: Path) -> None:
    gateway.invites["other.invite"] = 1
    join(gateway, home)
    join(gateway, home, invite="other.invite")

    with pytest.raises(rondo.Invalid, match="works for line, other: say which model"):
        join(gateway, home, invite=None)
    federation = rondo.connect(URL, name="north", model="other", home=home, transport=gateway)

    assert federation.identity.model == "other"


def test_a_key_that_others_can_read_is_not_used(
    gateway: FakeGateway, home: Path, folder: Path
) -> None:
    join(gateway, home)
    (folder / "key.pem").chmod(0o644)

    with pytest.raises(rondo.Invalid, match=r"mode 0644.*chmod 600"):
        join(gateway, home)


@pytest.mark.parametrize("content", [b"", b"no key"])
def test_a_file_that_is_no_key_is_named(
    gateway: FakeGateway, home: Path, folder: Path, content: bytes
) -> None:
    join(gateway, home)
    (folder / "key.pem").write_bytes(content)

    with pytest.raises(rondo.Invalid, match=r"key\.pem is not a private key"):
        join(gateway, home)


def test_a_key_of_another_kind_is_named(gateway: FakeGateway, home: Path, folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    join(gateway, home)
    (folder / "key.pem").write_bytes(
        X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

    with pytest.raises(rondo.Invalid, match="not an Ed25519 key"):
        join(gateway, home)


def test_an_identity_that_cannot_be_read_is_named(
    gateway: FakeGateway, home: Path, folder: Path
) -> None:
    join(gateway, home)
    (folder / "identity.json").write_text("{}")

    with pytest.raises(rondo.Invalid, match=r"identity\.json"):
        join(gateway, home)


@pytest.mark.parametrize("name", ["-north", "a/b", "n" * 65, "north pole"])
def test_a_name_that_is_none_is_refused(gateway: FakeGateway, home: Path, name: str) -> None:
    with pytest.raises(rondo.Invalid, match="is not 1-64 letters"):
        join(gateway, home, name=name)


def test_without_a_name_the_machines_is_taken(
    gateway: FakeGateway, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "-ward 7.example")

    assert join(gateway, home, name=None).identity.name == "ward-7.example"


def test_the_home_is_rondo_home_or_a_folder_of_the_user(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONDO_HOME", str(tmp_path / "chosen"))

    rondo.connect(URL + "/", INVITE, "north", transport=gateway)

    assert (tmp_path / "chosen" / "gateway.test" / "line-north" / "key.pem").exists()
    assert home_root({}) == Path.home() / ".rondo"


def test_gateways_on_one_host_are_kept_apart(gateway: FakeGateway, home: Path) -> None:
    for port in (1, 2):
        gateway.invites[f"line.invite-{port}"] = 1
        rondo.connect(
            f"http://gateway.test:{port}",
            f"line.invite-{port}",
            "north",
            home=home,
            transport=gateway,
        )

    assert sorted(path.name for path in home.iterdir()) == ["gateway.test_1", "gateway.test_2"]
