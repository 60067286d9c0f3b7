"""An application whose requests are recorded as spans; stands before it only where they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from rondo_core.tracing import Recorded, span
from rondo_inference.contracts.messages import Answer, Route
from rondo_inference.web.admission import Admission
from rondo_inference.web.budget import Budget
from rondo_inference.web.shared import App

__all__ = ["TracedApp"]


@dataclass(frozen=True, slots=True)
class TracedApp:
    """Records each request but those for health and metrics, as the child of the caller's span.

    Attributes:
        app: answers.
    """

    app: App

    @property
    def budget(self) -> Budget:
        """See ``App``."""
        return self.app.budget

    def admit(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Admission:
        """See ``App``."""
        return self.app.admit(method, path, query, headers)

    def again(self, admission: Admission) -> Admission:
        """See ``App``."""
        return self.app.again(admission)

    def expect(self, count: int) -> None:
        """See ``App``."""
        self.app.expect(count)

    async def respond(self, admission: Admission, body: bytes) -> Answer:
        """See ``App``."""
        route = admission.route[0] if admission.route is not None else None
        if isinstance(route, Route) and route.open:
            return await self.app.respond(admission, body)
        name, parent = admission.name, admission.headers.get("traceparent", "")
        with span(f"{admission.method} {name}", kind="server", parent=parent) as recorded:
            answer = await self.app.respond(admission, body)
            if recorded is not None:
                _tell(recorded, name, answer)
            return answer


def _tell(recorded: Recorded, name: str, answer: Answer) -> None:
    recorded.tell("http.route", name)
    recorded.tell("http.response.status_code", int(answer.status))
    if "x-rondo-version" in answer.headers:
        recorded.tell("rondo.version", answer.headers["x-rondo-version"])
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        recorded.failed(str(int(answer.status)))
