"""All of Rondo on this machine: emulator, Redis, and every service as a process on loopback.

Services get the variables that containers get; none of them knows that it runs here.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rondo_core.settings import AwsSettings
from rondo_local.bootstrap import bootstrap
from rondo_local.emulators import AwsEmulator, AwsName, start_aws, start_redis
from rondo_local.processes import Program, Supervisor
from rondo_local.readiness import await_ready, free_port, http_answers

__all__ = ["Plan", "Stack", "running"]

TOKEN_FILE = "operator-token"  # noqa: S105  (a file's name)
GRACE_SECONDS = 30.0
PASSED_ON = ("HOME", "LANG", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PATH")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    Attributes:
        folder: logs, state and the operator's token go below it.
        build_folder: the emulators' environments are made below it.
        aws: which emulator.
        prefix: first part of all names in the emulator.
        inference: replicas of inference.
        workers: Celery processes of each worker, the aggregator's and the batch side's.
        evaluator: whether to start it (it takes seconds and half a gigabyte: TensorFlow).
        ports: program -> the port that it is given if it is free; all others get any free one.
        environment: more variables for every service.
    """

    folder: Path
    build_folder: Path
    aws: AwsName = "ministack"
    prefix: str = "rondo"
    inference: int = 2
    workers: int = 2
    evaluator: bool = True
    ports: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack.

    Attributes:
        settings: how to reach the emulator, and the prefix.
        gateway_url: where clients and operators go.
        inference_urls: one a replica.
        urls: process -> where it answers ``/healthz``, ``/readyz`` and ``/metrics``.
        operator_token: also in ``token_file``, which only the owner may read.
        supervisor: keeps the processes; their names are the services' names.
    """

    settings: AwsSettings
    aws: AwsEmulator
    gateway_url: str
    inference_urls: tuple[str, ...]
    urls: Mapping[str, str]
    operator_token: str = field(repr=False)
    token_file: Path
    log_folder: Path
    supervisor: Supervisor

    def client_environment(self) -> dict[str, str]:
        """Variables for a data owner's program: no credential of any cloud is among them."""
        return _passed_on() | {
            "KERAS_BACKEND": "tensorflow",
            "RONDO_URL": self.gateway_url,
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }


@contextmanager
def running(plan: Plan) -> Iterator[Stack]:
    """Start everything, yield when all of it is ready, stop everything in the end.

    Raises:
        NotReady: a process did not become ready; the text quotes its log.
    """
    log_folder = plan.folder / "logs"
    with Supervisor(log_folder) as supervisor:
        aws = start_aws(
            plan.aws,
            supervisor,
            build_folder=plan.build_folder,
            state_folder=plan.folder / plan.aws,
            port=free_port(plan.ports.get(plan.aws, 0)),
        )
        redis = start_redis(
            supervisor, build_folder=plan.build_folder, state_folder=plan.folder / "redis"
        )
        os.environ.update(aws.credentials())  # boto3 reads them from nowhere else
        settings = AwsSettings(
            aws_endpoint_url=aws.endpoint_url, aws_region=aws.region, rondo_prefix=plan.prefix
        )
        token = _operator_token(bootstrap(settings).operator_token, plan.folder)
        environment = _environment(plan, aws, redis.url)
        ports = {name: free_port(plan.ports.get(name, 0)) for name in _argv(plan)}
        for name, argv in _argv(plan).items():
            supervisor.start(_program(name, argv, environment, ports[name]))
        for name, port in ports.items():
            await_ready(name, http_answers(f"http://127.0.0.1:{port}/readyz"), supervisor)
        try:
            yield _stack(plan, aws, settings, token, ports, supervisor)
        finally:
            _stop_together(tuple(ports), supervisor)


def _stack(  # noqa: PLR0917
    plan: Plan,
    aws: AwsEmulator,
    settings: AwsSettings,
    token: str,
    ports: Mapping[str, int],
    supervisor: Supervisor,
) -> Stack:
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    return Stack(
        settings=settings,
        aws=aws,
        gateway_url=urls["gateway"],
        inference_urls=tuple(url for name, url in urls.items() if name.startswith("inference")),
        urls=urls,
        operator_token=token,
        token_file=plan.folder / TOKEN_FILE,
        log_folder=plan.folder / "logs",
        supervisor=supervisor,
    )


def _stop_together(names: tuple[str, ...], supervisor: Supervisor) -> None:
    """End all services at once, before what they use: each may take some seconds to finish."""
    with ThreadPoolExecutor(max(1, len(names))) as threads:
        list(threads.map(supervisor.stop, names))


def _argv(plan: Plan) -> dict[str, tuple[str, ...]]:
    scripts = Path(sys.executable).parent
    programs: dict[str, tuple[str, ...]] = {
        "evaluator": ("rondo-evaluator",),  # first, since it takes longest
        "gateway": ("rondo-gateway",),
        "dispatcher": ("rondo-dispatcher",),
        "aggregator-intake": ("rondo-aggregator", "intake"),
        "aggregator-worker": ("rondo-aggregator", "worker"),
        "batch-intake": ("rondo-inference", "batch-intake"),
        "batch-worker": ("rondo-inference", "batch-worker"),
    }
    if not plan.evaluator:
        del programs["evaluator"]
    for number in range(1, plan.inference + 1):
        programs[f"inference-{number}"] = ("rondo-inference",)
    return {name: (str(scripts / argv[0]), *argv[1:]) for name, argv in programs.items()}


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def _environment(plan: Plan, aws: AwsEmulator, redis_url: str) -> dict[str, str]:
    return {
        **_passed_on(),
        **aws.environment(),
        "HOST": "127.0.0.1",
        "KERAS_BACKEND": "tensorflow",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        "REDIS_URL": redis_url,
        "RONDO_PREFIX": plan.prefix,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "WORKER_PROCESSES": str(plan.workers),
        **plan.environment,
    }


def _program(
    name: str, argv: tuple[str, ...], environment: Mapping[str, str], port: int
) -> Program:
    variable = "HEALTH_PORT" if _is_worker(name) else "PORT"
    return Program(name, argv, {**environment, variable: str(port)}, grace_seconds=GRACE_SECONDS)


def _is_worker(name: str) -> bool:
    return name.startswith(("aggregator", "batch", "dispatcher", "evaluator"))


def _operator_token(fresh: str | None, folder: Path) -> str:
    """Keep the token that bootstrap made; at a second start over kept state, read it back."""
    file = folder / TOKEN_FILE
    if fresh is not None:
        file.touch(mode=0o600)
        file.write_text(fresh)
    return file.read_text()
