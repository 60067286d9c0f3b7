"""Celery tasks whose broker is a queue in this process."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from queue import Empty
from typing import Any

from celery import Celery

from rondo_core.settings import Secret
from rondo_inference.batch.settings import BatchSettings

__all__ = ["messages", "settings"]


def settings() -> BatchSettings:
    """Return settings whose queue no other test shares."""
    return BatchSettings(redis_url=Secret("memory://"), rondo_prefix=f"unit-{uuid.uuid4()}")


def messages(app: Celery) -> Iterator[tuple[Mapping[str, Any], list[object]]]:
    """Take the enqueued tasks out of the queue, until there is none: their headers and ids."""
    with app.connection() as connection, suppress(Empty):
        queue = connection.SimpleQueue(app.conf.task_default_queue)
        while True:
            message = queue.get(block=False)
            ids, _, _ = message.decode()
            message.ack()
            yield message.headers, ids
