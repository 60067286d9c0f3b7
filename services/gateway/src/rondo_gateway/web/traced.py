"""The layer that records each call as a span, where spans are recorded at all."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rondo_core.tracing import span
from rondo_gateway.web.access import SILENT

__all__ = ["Traced"]


class Traced:
    """A span around every call, the child of the caller's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call, or pass on what is none."""
        if scope["type"] != "http" or scope["path"] in SILENT:
            await self._app(scope, receive, send)
            return
        parent = Headers(scope=scope).get("traceparent", "")
        with span(scope["method"], kind="server", parent=parent) as recorded:

            async def send_noted(message: Message) -> None:
                if recorded is not None and message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", "unknown")
                    recorded.rename(f"{scope['method']} {route}")
                    recorded.tell("http.route", route)
                    recorded.tell("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, send_noted)
