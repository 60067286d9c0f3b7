"""What every contract is made of: requests, answers, routes. Nothing here knows the HTTP server."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import msgspec

from rondo_core.errors import Invalid
from rondo_inference.registry.served import ServedModel

__all__ = [
    "CSV",
    "JSON",
    "TEXT",
    "Answer",
    "Headers",
    "NotAcceptable",
    "PredictRoute",
    "Request",
    "Route",
    "TooLarge",
    "UnsupportedMedia",
    "json_answer",
    "media_type",
    "route_pattern",
    "version_headers",
]

JSON = "application/json"
CSV = "text/csv"
TEXT = "text/plain; charset=utf-8"

Headers = Mapping[str, str]


class UnsupportedMedia(Invalid):
    """The body is of a type that the route does not read."""


class NotAcceptable(Invalid):
    """The caller accepts no type that the route writes."""


class TooLarge(Invalid):
    """The body is longer than allowed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        path: the named parts of the path, percent-decoded.
        headers: by lower-case name.
        query: what follows the question mark.
        body: the whole of it.
    """

    path: Headers = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)
    query: str = ""
    body: bytes = b""

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, or None."""
        return next(iter(parse_qs(self.query).get(name, ())), None) if self.query else None


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response."""

    body: bytes = b""
    media: str = JSON
    status: int = 200
    headers: Headers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """A path that answers at once.

    Attributes:
        name: what metrics call it.
        method: GET or POST.
        pattern: matches the whole decoded path; its groups are `Request.path`.
        answer: makes the response; must not block.
    """

    name: str
    method: str
    pattern: re.Pattern[str]
    answer: Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class PredictRoute:
    """A path that predicts: one version is found first, then it alone makes the answer.

    Attributes:
        name: what metrics call it.
        pattern: matches the whole decoded path; its groups are `Request.path`. The method is POST.
        find: takes the version that will answer, which is held until the answer is made.
        answer: makes the response; blocks while it computes.
        headers: what names the version, on refusals too.
    """

    name: str
    pattern: re.Pattern[str]
    find: Callable[[Request], ServedModel]
    answer: Callable[[Request, ServedModel], Answer]
    headers: Callable[[ServedModel], Headers]
    method: str = "POST"


def route_pattern(path: str) -> re.Pattern[str]:
    """Compile a path; letters match in both cases, as in TF Serving."""
    return re.compile(path, re.IGNORECASE)


def json_answer(value: object, *, status: int = 200) -> Answer:
    """Return a value as JSON."""
    return Answer(msgspec.json.encode(value), status=status)


def media_type(header: str) -> str:
    """Return a Content-Type, or the first choice of an Accept, without its parameters.

    Example:
        >>> media_type("Text/CSV; charset=utf-8")
        'text/csv'
    """
    return header.partition(",")[0].partition(";")[0].strip().lower()


def version_headers(served: ServedModel) -> Headers:
    """Name the version that answers: its number, and the run and round that made it."""
    return {"x-rondo-version": str(served.version), "x-rondo-run": served.lineage}
