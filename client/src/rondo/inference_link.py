"""Calls to inference: with an API key if there is one, repeated while nobody answers.

What inference refuses becomes an error that names the address and says what to do about it.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import httpx
import msgspec

from rondo.errors import GatewayError, error_from
from rondo.gateway_link import read_answer
from rondo.retry import Patience, persevere
from rondo_core.errors import Unavailable
from rondo_core.settings import Secret
from rondo_core.wire import Problem

__all__ = ["InferenceLink"]

Answer = TypeVar("Answer")

_NO_KEY = "; no API key was sent: set RONDO_API_KEY, or name a file that holds one with --key-file"
_UNKNOWN_KEY = (
    "; the server does not know the key of --key-file, or else of RONDO_API_KEY: correct it"
)
_NO_JOB = "; it was deleted, or another owner's key made it: the same command makes a new one"
_NO_JOBS = (
    "; this server has no batch jobs, since it serves a folder: ask one that follows the store, or"
    " ask without --batch"
)
_NO_PATH = "no such path"
"""How inference begins to tell of a path that none of its routes has."""
_NO_MODEL = "; check --url and the model's name"


class InferenceLink:
    """Inference as one of its callers sees it.

    Only paths below the base address are asked, and no redirect is followed, so that the key goes
    to nobody else.

    Args:
        http: with inference's address as its base.
        patience: for how long to repeat a call that finds nobody. Every call may be sent twice.
        key: printable ASCII; None: none is sent.
    """

    def __init__(self, http: httpx.Client, patience: Patience, key: Secret | None = None) -> None:
        self.patience = patience
        self._http = http
        self._key = key

    @property
    def url(self) -> str:
        """Inference's address."""
        return str(self._http.base_url)

    def get(self, path: str, kind: type[Answer]) -> Answer:
        """Read something. Raises as `answer` does, and Invalid: it is no ``kind``."""
        return read_answer(self.answer("GET", path), kind)

    def post(self, path: str, body: object, kind: type[Answer]) -> Answer:
        """Send what msgspec writes as JSON. Raises as `get` does."""
        content, headers = msgspec.json.encode(body), {"Content-Type": "application/json"}
        return read_answer(self.answer("POST", path, content=content, headers=headers), kind)

    def answer(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Return an answer that is no error, read to its end.

        Args:
            method: of HTTP.
            path: below the base address, with its query.
            content: the body.
            headers: of the body, and of what is wanted.

        Raises:
            GatewayError: inference refuses.
            TooMany: it does so because of a limit of requests, also after ``patience``.
            Unavailable: it does not answer.
        """
        build = partial(self._http.build_request, method, path, content=content, headers=headers)
        return persevere(partial(self._once, build), self.patience)

    def _once(self, build: Callable[[], httpx.Request]) -> httpx.Response:
        request = build()
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key.value}"
        try:
            response = self._http.send(request, follow_redirects=False)
        except httpx.TransportError as exc:
            raise Unavailable(f"{request.method} {request.url}: {exc!r}") from exc
        if response.is_success:
            return response
        raise self._refusal(request, response)

    def _refusal(self, request: httpx.Request, response: httpx.Response) -> GatewayError:
        is_csv = request.headers.get("Content-Type") == "text/csv"
        error = error_from(response, request.content if is_csv else b"")
        said, rows = error.message, error.rows
        if self._key is not None and self._key.value in response.text:
            said, rows = "what it says is not shown, since it repeats the key", ()
        where = f"{request.method} {str(request.url).partition('?')[0]}"
        message = f"{where} answered {response.status_code}: {said}{self._advice(response, error)}"
        problem = Problem(code=error.code, message=message, correlation_id="")
        return type(error)(problem, retry_after_seconds=error.retry_after_seconds, rows=rows)

    def _advice(self, response: httpx.Response, error: GatewayError) -> str:
        """Return what the caller can do, after a semicolon; nothing where the answer says all."""
        match response.status_code:
            case HTTPStatus.UNAUTHORIZED:
                return _NO_KEY if self._key is None else _UNKNOWN_KEY
            case HTTPStatus.FORBIDDEN:
                return "; ask whoever runs the server for an API key that may do this"
            case HTTPStatus.NOT_FOUND:
                return _missing(response.request.url.path, error.message)
            case HTTPStatus.TOO_MANY_REQUESTS:
                return f"; try again in {error.retry_after_seconds or 1:g} s"
        if response.has_redirect_location:
            place = response.headers["Location"].partition("?")[0]
            return f"; redirects are not followed: if {place} is the server, say so with --url"
        return ""


def _missing(path: str, message: str) -> str:
    """Return what to do about something that is not there."""
    if "/batch/" in path and message.startswith(_NO_PATH):
        return _NO_JOBS
    return _NO_JOB if "/jobs/" in path else _NO_MODEL
