"""Celery on Redis, configured so that as little as possible is lost and all of it comes back soon.

Even so a kill may lose a task (celery#7950, kombu#305), which is why every service that uses it has
a sweep. Extra ``celery``.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from celery import Celery, current_task
from celery.signals import (
    setup_logging,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)
from kombu.exceptions import OperationalError

from rondo_core.errors import Unavailable
from rondo_core.health import Health, serve_health
from rondo_core.settings import Positive, Secret, ServiceSettings
from rondo_core.telemetry import Metrics
from rondo_core.topology import Names
from rondo_core.tracing import flush, span, traceparent, tracing

__all__ = ["CelerySettings", "new_app", "send", "task_span", "work"]

_CELERY_ARGUMENTS = (
    "--quiet",
    "worker",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)
_BROKER_SECONDS = 10
_TRACE = "traceparent"
"""The header of a task's message that names the span it is recorded below."""


@dataclass(frozen=True, kw_only=True)
class CelerySettings(ServiceSettings):
    """What every process needs that asks for tasks or runs them.

    Attributes:
        redis_url: the Celery broker; may carry a password.
        task_seconds: hard limit of a task; the broker redelivers after twice this time.
        worker_processes: child processes of one worker.
    """

    redis_url: Secret
    task_seconds: Positive = 60
    worker_processes: Positive = 2


def new_app(service: str, settings: CelerySettings) -> Celery:
    """Return an app without tasks, which is all that a program needs that only enqueues.

    Args:
        service: whose tasks they are; names the broker's list as it names the SQS queue.
        settings: of broker and times.
    """
    app = Celery(f"rondo-{service}", broker=settings.redis_url.value, set_as_current=False)
    app.conf.update(_configuration(service, settings))
    return app


def send(app: Celery, name: str, ids: Sequence[object], **arguments: object) -> None:
    """Ask for a task; safe from several threads. Blocks until the broker has it.

    What a task asks for is recorded below the same span as that task, not below the task: a job of
    a thousand tasks is a thousand children of what began it, and not a chain.

    Args:
        app: as `new_app` made it.
        name: of the task.
        ids: its positional arguments.
        arguments: its others; JSON all of them.

    Raises:
        Unavailable: the broker did not take it.
    """
    headers = {_TRACE: _cause() or traceparent()} if tracing() else None
    try:
        app.send_task(name, args=ids, kwargs=arguments, headers=headers)
    except OperationalError as exc:
        raise Unavailable(f"the broker did not take {name} of {ids}") from exc


def task_span(name: str) -> AbstractContextManager[object]:
    """Record the task that runs, below what was around when the first of its kin was asked for."""
    return span(f"run {name}", kind="consumer", parent=_cause())


def work(app: Celery, settings: CelerySettings, metrics: Metrics) -> None:
    """Run a worker until SIGTERM or SIGINT; then finish the tasks that were begun, and return.

    Serves health and ``metrics`` from the main process, which runs no task itself.
    """
    health = Health()
    server = serve_health(settings, health, metrics)

    def ready(**_: object) -> None:
        health.ready.set()

    def stopping(**_: object) -> None:
        health.ready.clear()

    def keep_logging(**_: object) -> None:
        """That somebody listens to this signal leaves the logging as it is configured."""

    def leaving(**_: object) -> None:
        """Send what is not sent yet: nothing that runs at a process's end runs in a child."""
        flush()

    worker_process_shutdown.connect(leaving)
    worker_ready.connect(ready)
    worker_shutting_down.connect(stopping)
    setup_logging.connect(keep_logging)
    try:
        app.worker_main(list(_CELERY_ARGUMENTS))
    finally:
        server.shutdown()


def _cause() -> str:
    """Return the span that the task of this thread is recorded below; empty: there is none."""
    headers = current_task.request.headers if current_task else None
    return str((headers or {}).get(_TRACE, ""))


def _configuration(service: str, settings: CelerySettings) -> dict[str, object]:
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_default_queue": Names(settings.rondo_prefix).queue(service),
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": settings.task_seconds,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.worker_processes,
        "worker_pool": "prefork",
        # The ports are opened by a closure, which only a fork inherits.
        "worker_pool_start_method": "fork",
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        # The sweep owns the retries of what cannot be enqueued; one retry is for a connection that
        # the broker closed while it was idle.
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0},
        "broker_transport_options": {
            "visibility_timeout": 2 * settings.task_seconds,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            # Who dies holding this mutex stops all redelivery until it expires.
            "unacked_mutex_expire": 30,
            "socket_timeout": _BROKER_SECONDS,
            "socket_connect_timeout": _BROKER_SECONDS,
            "socket_keepalive": True,
        },
    }
