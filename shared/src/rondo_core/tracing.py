"""Spans of requests and events, each knowing what caused it, also across HTTP and SNS.

Off unless `start_tracing` finds an endpoint; until then nothing of OpenTelemetry is imported, and
every function here returns at once.

Source: W3C Trace Context (traceparent); CloudEvents 1.0.2, distributed tracing extension.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, NewType, Protocol

from rondo_core.errors import SettingsInvalid

if TYPE_CHECKING:
    from rondo_core.spans import Recorder

__all__ = [
    "Around",
    "Kind",
    "Recorded",
    "around",
    "flush",
    "record",
    "resumed",
    "span",
    "start_tracing",
    "traceparent",
    "tracing",
    "use",
]

Kind = Literal["server", "consumer", "producer", "internal"]
Around = NewType("Around", object)
"""A span that others are recorded as children of."""


class Recorded(Protocol):
    """A span while it is recorded."""

    def rename(self, name: str) -> None:
        """Name it by what is known only now."""
        ...

    def tell(self, name: str, value: str | int) -> None:
        """Add a field, named as OpenTelemetry's semantic conventions name it."""
        ...

    def failed(self, reason: str) -> None:
        """Say that it went wrong, and of what kind that is."""
        ...


_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_NOTHING: AbstractContextManager[None] = nullcontext()
_recorder: "Recorder | None" = None


def start_tracing(service: str, environ: Mapping[str, str]) -> None:
    """Send the spans of this process away from now on, if an endpoint is named; called in ``main``.

    What is not sent yet when the process ends is sent then. A collector that does not answer costs
    spans, and nothing else.

    Args:
        service: what the spans are of, unless ``OTEL_SERVICE_NAME`` says otherwise.
        environ: the process's variables; OpenTelemetry itself reads the other ``OTEL_`` ones.

    Raises:
        SettingsInvalid: an endpoint is named, and what sends spans is not installed.
    """
    endpoint = environ.get(_ENDPOINT, "")
    if not endpoint:
        return
    try:
        from rondo_core.spans import recorder_to  # noqa: PLC0415  (an extra, and half a second)
    except ImportError as exc:
        raise SettingsInvalid([f"{_ENDPOINT} needs rondo-core[tracing]: {exc}"]) from exc
    use(recorder_to(endpoint, environ.get("OTEL_SERVICE_NAME") or f"rondo-{service}"))


def use(recorder: "Recorder | None") -> None:
    """Record by this from now on, or not at all."""
    global _recorder  # noqa: PLW0603  (as the logging of a process: one for all of it)
    _recorder = recorder


def flush() -> None:
    """Send what is not sent yet, for a process that ends without its usual end; blocks for that."""
    if _recorder is not None:
        _recorder.flush()


def tracing() -> bool:
    """Return whether spans are recorded."""
    return _recorder is not None


def span(
    name: str, *, kind: Kind = "internal", parent: str = "", links: Sequence[str] = ()
) -> AbstractContextManager[Recorded | None]:
    """Record how long a block takes; what is recorded within is its child.

    Args:
        name: of few values: a route, a type of event.
        kind: see OpenTelemetry, "SpanKind".
        parent: a ``traceparent``; without one, or where it is malformed, the span around.
        links: more of them, of what else this is done for.
    """
    if _recorder is None:
        return _NOTHING
    return _recorder.span(name, kind, parent, links)


def resumed(parent: str) -> AbstractContextManager[None]:
    """Let what a block records be the child of another thread's or process's span."""
    if _recorder is None or not parent:
        return _NOTHING
    return _recorder.resumed(parent)


def traceparent() -> str:
    """Return the span around, to be told to who goes on elsewhere; empty: there is none."""
    return "" if _recorder is None else _recorder.traceparent()


def around() -> Around | None:
    """Return the span around for `record`; None: nothing is recorded."""
    return None if _recorder is None else _recorder.around()


def record(name: str, parent: Around, *, start: float, end: float) -> None:
    """Record what is over.

    Args:
        name: of few values.
        parent: see `around`.
        start: seconds of ``time.perf_counter``.
        end: the same.
    """
    if _recorder is not None:
        _recorder.record(name, parent, start, end)
