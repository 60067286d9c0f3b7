"""What every contract is made of: requests, answers, routes. Nothing here knows the HTTP server."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from rondo_core.errors import Invalid, RondoError
from rondo_core.input_bounds import Beyond
from rondo_inference.checks import beyond_bounds
from rondo_inference.contracts.warnings import WARNINGS, warnings_text
from rondo_inference.domain.tensors import Tensors
from rondo_inference.handlers import Target
from rondo_inference.registry.served import ServedModel

__all__ = [
    "CSV",
    "JSON",
    "TEXT",
    "Answer",
    "Headers",
    "NotAcceptable",
    "PredictRoute",
    "Question",
    "Request",
    "Route",
    "TooLarge",
    "UnsupportedMedia",
    "WaitRoute",
    "json_answer",
    "request_key",
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


class Request(Struct, frozen=True):
    """One HTTP request.

    Attributes:
        path: the named parts of the path, percent-decoded.
        headers: by lower-case name.
        query: what follows the question mark.
        body: the whole of it.
        asker: who asks, by the name that jobs have of their owner; None: no keys are asked for.
        models: those that the caller's key is for; none: all of them.
    """

    path: Headers = {}
    headers: Headers = {}
    query: str = ""
    body: bytes = b""
    asker: str | None = None
    models: tuple[str, ...] = ()

    def may_ask(self, model: str) -> bool:
        """Whether the caller's key is for a model."""
        return not self.models or model in self.models

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, or None."""
        return next(iter(parse_qs(self.query).get(name, ())), None) if self.query else None

    def header(self, name: str) -> str:
        """Return a header, or an empty text."""
        return self.headers.get(name, "")


class Answer(Struct, frozen=True):
    """One HTTP response."""

    body: bytes = b""
    media: str = JSON
    status: int = 200
    headers: Headers = {}


class Question(Struct, frozen=True):
    """A prediction that was read and checked.

    Attributes:
        inputs: what the version takes.
        answer: makes the response of the outputs; must not block for long.
        beyond: numbers beyond the bounds of their columns that are answered all the same.
    """

    inputs: Tensors
    answer: Callable[[Tensors], Answer]
    beyond: Sequence[Beyond]

    @classmethod
    def of(cls, served: ServedModel, inputs: Tensors, answer: Callable[[Tensors], Answer]) -> Self:
        """Return a question whose answer itself tells of no numbers beyond bounds."""
        return cls(inputs, answer, beyond_bounds(served, inputs))


@dataclass(frozen=True, slots=True)
class Route:
    """A path that answers at once.

    Attributes:
        name: what metrics call it.
        method: GET or POST.
        pattern: matches the whole decoded path; its groups are `Request.path`.
        answer: makes the response; must not block.
        open: whether it needs no key: health and metrics.
        browser: whether a person asks, whose browser sends the key as a password.
        about_server: whether it tells of no model, or only of those that the key is for, so that
            any key will do; what names no model otherwise tells of all of them.
        stream: the path that each message of a WebSocket here asks by POST; empty: none is spoken.
    """

    name: str
    method: str
    pattern: re.Pattern[str]
    answer: Callable[[Request], Answer]
    open: bool = False
    browser: bool = False
    about_server: bool = False
    stream: str = ""


@dataclass(frozen=True, slots=True)
class WaitRoute:
    """A path whose answer takes time: loading, unloading, the page.

    Attributes:
        name: what metrics call it.
        method: GET or POST.
        pattern: matches the whole decoded path; its groups are `Request.path`.
        answer: makes the response.
        browser: see `Route`.
    """

    name: str
    method: str
    pattern: re.Pattern[str]
    answer: Callable[[Request], Awaitable[Answer]]
    browser: bool = False


@dataclass(frozen=True, slots=True)
class PredictRoute:
    """A path that predicts: one version is found first, then it alone makes the answer.

    Attributes:
        name: what metrics call it.
        pattern: matches the whole decoded path; its groups are `Request.path`. The method is POST.
        target: says which version is to answer.
        ask: reads the request; a pure function, so a large one is read in another thread.
        headers: what names the version, on refusals too, and what tells of its inputs.
        refusal: makes the response of an error, or None for the usual one.
        refused: writes a usual refusal as callers of the contract read it; None: as it is.
        pictures_in_json: whether its JSON may hold pictures, which take longer to read.
    """

    name: str
    pattern: re.Pattern[str]
    target: Callable[[Request], Target]
    ask: Callable[[Request, ServedModel], Question]
    headers: Callable[[ServedModel, Sequence[Beyond]], Headers]
    refusal: Callable[[RondoError], "Answer | None"] | None = None
    refused: Callable[[Answer], Answer] | None = None
    pictures_in_json: bool = True
    method: str = "POST"


def route_pattern(path: str) -> re.Pattern[str]:
    """Compile a path; letters match in both cases, as in TF Serving."""
    return re.compile(path, re.IGNORECASE)


def json_answer(value: object, *, status: int = 200) -> Answer:
    """Return a value as JSON."""
    return Answer(msgspec.json.encode(value), status=status)


def version_headers(served: ServedModel, beyond: Sequence[Beyond] = ()) -> Headers:
    """Name the version that answers: its number, and the run and round that made it.

    Args:
        served: the version.
        beyond: numbers beyond bounds that it answers all the same; told too.
    """
    named = served.headers
    return {**named, WARNINGS: warnings_text(beyond)} if beyond else named


def request_key(request: Request) -> str:
    """Return what decides between versions when traffic is split; empty: chance."""
    headers = request.headers
    return headers.get("x-request-id") or headers.get("x-amzn-sagemaker-inference-id", "")
