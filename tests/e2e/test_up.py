"""`rondo up` as an operator starts it: addresses for programs, and nothing left after Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import rondo

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = Path(sys.executable).parent / "rondo"
    argv = [str(command), "up", "--json", "--folder", str(tmp_path), "--inference", "1"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        yield process
        process.kill()


def test_up_tells_programs_its_addresses_and_ctrl_c_leaves_nothing(
    up: subprocess.Popen[str],
) -> None:
    assert up.stdout is not None
    told = json.loads(up.stdout.readline())
    (inference,) = told["inference_urls"]
    token = Path(told["token_file"])

    assert httpx.get(f"{inference}/healthz").status_code == httpx.codes.OK
    assert token.stat().st_mode & 0o777 == 0o600
    with rondo.Operator(told["gateway_url"], token.read_text()) as operator:
        assert operator.runs() == []

    os.kill(up.pid, signal.SIGINT)

    assert up.wait(timeout=120) == 130
    for url in (*told["health_urls"].values(), told["aws_endpoint_url"]):
        port = urlsplit(url).port
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)
