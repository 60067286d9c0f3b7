from dataclasses import dataclass, field

import pytest

from rondo_core.errors import SettingsInvalid
from rondo_core.settings import AwsSettings, Secret, ServiceSettings, read_settings


@dataclass(frozen=True, kw_only=True)
class Example(AwsSettings):
    name: str
    token: Secret
    port: int = 80
    ratio: float = 0.5
    verbose: bool = False
    limit: int | None = None
    extras: tuple[str, ...] = field(default_factory=tuple)


GOOD = {"NAME": "x", "TOKEN": "hunter2"}


def test_fields_are_read_from_variables_in_capitals() -> None:
    settings = read_settings(
        Example,
        GOOD | {"PORT": "8080", "RATIO": "0.25", "VERBOSE": "true", "LIMIT": "7", "OTHER": "y"},
    )

    assert settings == Example(
        name="x", token=Secret("hunter2"), port=8080, ratio=0.25, verbose=True, limit=7
    )


def test_what_is_not_set_or_empty_has_its_default() -> None:
    settings = read_settings(Example, GOOD | {"PORT": "", "LIMIT": ""})

    assert (settings.port, settings.limit, settings.extras) == (80, None, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("true", True), ("TRUE", True), ("0", False), ("false", False)],
)
def test_flags_are_one_of_four_words(text: str, *, expected: bool) -> None:
    assert read_settings(Example, GOOD | {"VERBOSE": text}).verbose is expected


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings(
            Example, {"NAME": "", "PORT": "http", "RATIO": "half", "VERBOSE": "yes", "LIMIT": "1.5"}
        )

    assert [fault.split(" ")[0] for fault in caught.value.faults] == [
        "NAME",
        "TOKEN",
        "PORT='http'",
        "RATIO='half'",
        "VERBOSE='yes'",
        "LIMIT='1.5'",
    ]
    assert "is none of 1, true, 0, false" in str(caught.value)


def test_secret_shows_nowhere() -> None:
    settings = read_settings(Example, GOOD)

    assert "hunter2" not in f"{settings} {settings!r} {settings.token} {[settings.token]}"
    assert settings.token.value == "hunter2"


def test_settings_cannot_be_changed() -> None:
    settings = read_settings(Example, GOOD)

    with pytest.raises(AttributeError):
        settings.name = "y"  # type: ignore[misc]  # what is tested


def test_every_service_is_told_where_aws_is() -> None:
    settings = read_settings(
        ServiceSettings,
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "RONDO_PREFIX": "mine", "HEALTH_PORT": "0"},
    )

    assert settings == ServiceSettings(
        aws_endpoint_url="http://127.0.0.1:4566", rondo_prefix="mine", health_port=0
    )
    assert settings.health_host == "127.0.0.1"
    assert read_settings(ServiceSettings, {}).aws_endpoint_url is None
