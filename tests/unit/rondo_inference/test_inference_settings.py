import pytest

from rondo_core.errors import SettingsInvalid
from rondo_core.settings import read_settings
from rondo_inference.settings import Settings


def test_an_empty_environment_is_a_local_replica_on_loopback() -> None:
    settings = read_settings(Settings, {})

    assert (settings.host, settings.port, settings.model_refresh_seconds) == ("127.0.0.1", 8081, 1)
    assert settings.max_body_bytes == 26_214_400
    assert settings.aws_endpoint_url is None


def test_variables_are_named_like_the_fields() -> None:
    settings = read_settings(
        Settings,
        {
            "HOST": "0.0.0.0",  # noqa: S104  (what a container sets)
            "PORT": "8080",
            "MODEL_REFRESH_SECONDS": "0.2",
            "MAX_BODY_BYTES": "1000",
            "THREADS": "4",
            "INTRA_OP_THREADS": "2",
            "DRAIN_SECONDS": "5",
        },
    )

    assert (settings.port, settings.model_refresh_seconds, settings.max_body_bytes) == (
        8080,
        0.2,
        1000,
    )
    assert (settings.threads, settings.intra_op_threads, settings.drain_seconds) == (4, 2, 5)


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("PORT", "-1", "is less than 0"),
        ("PORT", "65536", "is more than 65535"),
        ("GRPC_PORT", "99999", "is more than 65535"),
        ("MODEL_MEMORY_BYTES", "-5", "is less than 0"),
        ("MAX_BATCH_ROWS", "0", "is less than 1"),
        ("DRAIN_SECONDS", "-0.5", "is less than 0"),
        ("DRAIN_SECONDS", "nan", "is not a finite number"),
        ("QUEUE_SECONDS", "soon", "is not a number"),
        ("THREADS", "1.5", "is not a whole number"),
        ("PICTURE_SIZE", "odd", "is none of refuse, resize"),
        ("LOG_LEVEL", "info", "is none of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_value_that_nothing_can_be_done_with_is_refused_with_its_rule(
    variable: str, value: str, rule: str
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings(Settings, {variable: value})

    assert caught.value.faults == (f"{variable}={value!r} {rule}",)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings(Settings, {"PORT": "http", "THREADS": "many"})

    assert [fault.split(" ")[0] for fault in caught.value.faults] == [
        "PORT='http'",
        "THREADS='many'",
    ]
