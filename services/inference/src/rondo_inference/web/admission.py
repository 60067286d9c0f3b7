"""What the head of a request decides: its route, and whether its caller may ask it.

It is decided before the body is read, so that nobody's body is kept who may not send one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from msgspec import Struct
from msgspec.structs import replace

from rondo_core.errors import Invalid, NotFound, RondoError
from rondo_inference.contracts.messages import (
    Answer,
    PredictRoute,
    Request,
    Route,
    json_answer,
)
from rondo_inference.contracts.table import AnyRoute
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.web.access import Access, Forbidden
from rondo_inference.web.refusals import failure, refusal

__all__ = ["Admission", "Admissions", "is_site"]

REMEMBERED_PATHS = 4096
LONGEST_REMEMBERED = 256
"""Characters of a path: anybody may send long ones, which would be kept for good."""

Found = tuple[AnyRoute, Mapping[str, str]]


class Admission(Struct):
    """The head of a request, and what it is worth.

    Attributes:
        method: in capitals.
        path: percent-decoded.
        query: as sent.
        headers: by lower-case name.
        route: who answers, and the named parts of the path; None: nobody does.
        refusal: the answer, whatever the body is; None: the route makes it.
        asker: see `Request`.
        models: see `Request`.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    route: Found | None = None
    refusal: Answer | None = None
    asker: str | None = None
    models: tuple[str, ...] = ()

    @property
    def found(self) -> Found:
        """Who answers; asked only where nothing is refused."""
        assert self.route is not None  # noqa: S101  (else it is refused)
        return self.route

    def request(self, body: bytes) -> Request:
        """Return the request with its body."""
        groups = self.route[1] if self.route is not None else {}
        return Request(groups, self.headers, self.query, body, self.asker, self.models)

    @property
    def name(self) -> str:
        """What metrics call the route."""
        return self.route[0].name if self.route is not None else "unknown"

    @property
    def refused(self) -> Callable[[Answer], Answer] | None:
        """What writes a refusal as callers of the route read it; None: as it is."""
        route = self.route[0] if self.route is not None else None
        return route.refused if isinstance(route, PredictRoute) else None

    @property
    def stream(self) -> str:
        """The path that each message of a WebSocket asks; empty: the route speaks none."""
        route = self.route[0] if self.route is not None else None
        return route.stream if isinstance(route, Route) else ""

    @property
    def wants_page(self) -> bool:
        """Whether a browser asks, for a page or for what nobody answers, and not a program."""
        route = self.route[0] if self.route is not None else None
        is_page = route is None or (not isinstance(route, PredictRoute) and route.browser)
        return is_page and "text/html" in self.headers.get("accept", "")


@dataclass(slots=True)
class Admissions:
    """Reads heads. Used by one event loop.

    Attributes:
        routes: of all contracts; the first that matches answers.
        catalogue: knows which model is meant where none is named.
        access: keys; None: everybody may ask everything.
        as_page: makes of a refusal what a person reads who asked for a page; see `Pages.failure`.
        cors: whether pages of other sites may ask.
        remembered: method and path -> who answers.
    """

    routes: Sequence[AnyRoute]
    catalogue: Catalogue
    as_page: Callable[[Answer], Answer]
    access: Access | None = None
    cors: bool = False
    remembered: dict[tuple[str, str], Found] = field(default_factory=dict)

    def admit(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Admission:
        """Return what a head is worth; raises nothing. Spends a token of the caller's bucket."""
        admission = Admission(method, path, query, headers)
        try:
            self._decide(admission)
        except RondoError as exc:
            admission.refusal = refusal(exc)
        except Exception as exc:  # noqa: BLE001  (an outermost loop; `failure` logs it)
            admission.refusal = failure(exc)
        if admission.refusal is not None and admission.wants_page:
            admission.refusal = self.as_page(admission.refusal)
        return admission

    def again(self, admission: Admission) -> Admission:
        """Return what the same head is worth when it comes once more."""
        if self.access is None:
            return admission
        return self.admit(admission.method, admission.path, admission.query, admission.headers)

    def _decide(self, admission: Admission) -> None:
        method = admission.method
        if method == "OPTIONS" and self.cors:
            if not is_site(admission.headers):
                raise Invalid("OPTIONS needs an Origin of http or https")
            admission.refusal = Answer()
            return
        found = self._route("GET" if method == "HEAD" else method, admission.path)
        if isinstance(found, Answer):
            admission.refusal = found
            return
        admission.route = found
        if admission.stream and "origin" in admission.headers and not self.cors:
            raise Forbidden("pages of other sites may not ask")  # nothing else stops their streams
        if self.access is not None:
            self._check(self.access, found, admission)

    def _route(self, method: str, path: str) -> Found | Answer:
        remembered = self.remembered.get((method, path))
        if remembered is not None:
            return remembered
        allowed = []
        for route in self.routes:
            if match := route.pattern.fullmatch(path):
                if route.method == method:
                    groups = {key: text for key, text in match.groupdict().items() if text}
                    if len(path) <= LONGEST_REMEMBERED and len(self.remembered) < REMEMBERED_PATHS:
                        self.remembered[method, path] = route, groups
                    return route, groups
                allowed.append(route.method)
        if allowed:
            text = f"{method} is not allowed here"
            refused = json_answer({"error": text}, status=HTTPStatus.METHOD_NOT_ALLOWED)
            return replace(refused, headers={"allow": ", ".join(allowed)})
        raise NotFound(f"no such path: {path}")

    def _check(self, access: Access, found: Found, admission: Admission) -> None:
        route, groups = found
        if isinstance(route, Route) and route.open:
            return
        browser = not isinstance(route, PredictRoute) and route.browser
        who = access.identify(admission.headers, browser=browser)
        admission.asker, admission.models = access.owner(who), access.models(who)
        name = groups.get("model") or groups.get("name")
        if isinstance(route, PredictRoute) and "name" not in groups:
            target = route.target(Request(groups, admission.headers, admission.query))
            access.check_model(who, target.model or self.catalogue.only_name())
        elif name:
            access.check_model(who, name)
        elif not (isinstance(route, Route) and route.about_server):
            access.check_everything(who)


def is_site(headers: Mapping[str, str]) -> bool:
    """Return whether a page of another site asks."""
    return headers.get("origin", "").startswith(("http://", "https://"))
