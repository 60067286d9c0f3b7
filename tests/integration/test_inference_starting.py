"""What the command says when a server starts, and when it cannot."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rondo_local.readiness import free_port
from tests.integration.test_inference_alone import ask
from tests.unit.rondo_inference.exported import sample_folder

SECONDS = 60.0


def command(*words: str) -> list[str]:
    return [str(Path(sys.executable).parent / "rondo-inference"), *words]


def environment(**more: str) -> dict[str, str]:
    names = {"ORT_DISABLE_TELEMETRY": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **names, **more}


def refused(*words: str, **variables: str) -> tuple[int, str]:
    """Return exit code and all that is printed, without what libraries write to the log."""
    done = subprocess.run(
        command(*words),
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture
def taken() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield str(other.getsockname()[1])


def test_a_port_in_use_is_one_line(models: Path, taken: str) -> None:
    expected = f"rondo-inference: cannot listen on 127.0.0.1:{taken}: Address already in use\n"

    http = refused("serve", "--models", str(models), "--port", taken)
    grpc = refused("serve", "--models", str(models), "--port", "0", "--grpc-port", taken)

    assert (http, grpc) == ((1, expected), (1, expected))


def test_a_port_that_is_none_is_one_line(models: Path) -> None:
    found = refused("serve", "--models", str(models), "--port", "99999", "--grpc-port", "x")

    text = "PORT='99999' is more than 65535; GRPC_PORT='x' is not a whole number"
    assert found == (2, f"rondo-inference: {text}\n")


@pytest.mark.parametrize("what", ["nothing", "file"])
def test_models_that_are_in_no_folder_are_one_line(what: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / what)

    found = refused("serve", "--models", folder, "--port", "0")

    assert found == (2, f"rondo-inference: MODELS_FOLDER={folder!r} is no folder\n")


def test_keys_that_cannot_be_read_are_one_line(models: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("{")

    found = refused("serve", "--models", str(models), "--port", "0", API_KEYS_FILE=str(keys))

    assert found == (2, f"rondo-inference: API_KEYS_FILE={keys}: Expected `array`, got `object`\n")


def test_a_store_without_credentials_is_one_line() -> None:
    code, line = refused(PORT="0")

    assert (code, line.count("\n")) == (1, 1)
    assert line.endswith("Unable to locate credentials\n")


def test_a_batch_process_without_a_broker_is_one_line() -> None:
    assert refused("batch-worker") == (2, "rondo-inference: REDIS_URL is missing\n")


@contextmanager
def listening(*words: str) -> Iterator[dict[str, object]]:
    """Start a server; give what it logs as soon as it listens."""
    with subprocess.Popen(command(*words), env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            lines = map(json.loads, process.stdout)
            yield next(line for line in lines if line["message"] == "listening")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_a_server_tells_where_it_listens(models: Path) -> None:
    grpc_port = free_port()

    with listening(
        *("serve", "--models", str(models), "--port", "0", "--grpc-port", str(grpc_port))
    ) as line:
        port = line["port"]
        assert isinstance(port, int)
        status, _ = ask(port, "GET", "/healthz")

    assert status in {200, 503}  # the models may not be there yet
    assert (line["host"], line["grpc_port"]) == ("127.0.0.1", grpc_port)
    assert line["url"] == f"http://127.0.0.1:{port}/"


def test_where_a_server_on_every_address_listens_is_an_address_to_click_on(models: Path) -> None:
    with listening("serve", "--models", str(models), "--port", "0", "--host", "0.0.0.0") as line:  # noqa: S104  (what a container says)
        pass

    assert (line["host"], line["grpc_port"]) == ("0.0.0.0", None)  # noqa: S104  (likewise)
    assert line["url"] == f"http://localhost:{line['port']}/"


def has_ipv6() -> bool:
    try:
        with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_server_listens_on_ipv6_for_http_and_grpc(models: Path) -> None:
    port = free_port()

    with listening(
        *("serve", "--models", str(models), "--host", "::1"),
        *("--port", "0", "--grpc-port", str(port)),
    ) as line:
        with socket.create_connection(("::1", port), timeout=SECONDS):
            pass
        with socket.create_connection(("::1", int(str(line["port"]))), timeout=SECONDS):
            pass

    assert line["url"] == f"http://[::1]:{line['port']}/"
