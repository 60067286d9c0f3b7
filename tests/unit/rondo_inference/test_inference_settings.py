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


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings(Settings, {"PORT": "http", "THREADS": "many"})

    assert [fault.split(" ")[0] for fault in caught.value.faults] == [
        "PORT='http'",
        "THREADS='many'",
    ]
