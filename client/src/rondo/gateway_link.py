"""Calls to the gateway: signed, repeated while it is away, and answered with structs or errors."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import httpx
import msgspec

from rondo.errors import error_from
from rondo.retry import Patience, persevere
from rondo_core.errors import Invalid, Unavailable

__all__ = ["GatewayLink", "checked_url", "open_http", "read_answer"]

Answer = TypeVar("Answer")
Token = Callable[[datetime], str]
"""Makes the bearer token of a request that is sent now."""

TIMEOUT_SECONDS = 30.0
_CONNECT_SECONDS = 5.0


def checked_url(url: str) -> str:
    """Return the URL without a slash at its end.

    Raises:
        Invalid: it is not http or https, names no host, or has a password, which would show.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise Invalid(f"{url!r} is not a URL: {exc}") from exc
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise Invalid(f"{url!r} is not an address such as https://gateway.example.org")
    if parsed.userinfo:
        raise Invalid(
            f"the address of {parsed.host} has a user or a password in it: leave them out"
        )
    return url.rstrip("/")


def open_http(url: str = "", transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a connection pool; ``transport`` stands in for the network, as in HTTPX itself."""
    timeout = httpx.Timeout(TIMEOUT_SECONDS, connect=_CONNECT_SECONDS)
    return httpx.Client(base_url=url, transport=transport, timeout=timeout)


def read_answer(response: httpx.Response, kind: type[Answer]) -> Answer:
    """Return what was answered.

    Raises:
        Invalid: it is no JSON of ``kind``; names the path and what is wrong.
    """
    try:
        return msgspec.json.decode(response.content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        path = response.request.url.path
        raise Invalid(f"the answer to {path} is not a {kind.__name__}: {exc}") from exc


class GatewayLink:
    """The gateway as one of its callers sees it. Not for use by several threads at once.

    Args:
        http: with the gateway's address as its base.
        patience: for how long to repeat a call that finds nobody. Every call of the API may be
            sent twice.
        token: signs requests; None leaves them unsigned.
    """

    def __init__(self, http: httpx.Client, patience: Patience, token: Token | None = None) -> None:
        self._http = http
        self._patience = patience
        self._token = token
        self._skew = timedelta()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(
        self,
        path: str,
        kind: type[Answer],
        *,
        query: dict[str, str] | None = None,
        wait_seconds: float = 0.0,
    ) -> Answer:
        """Read something; ``wait_seconds`` is how long the gateway may hold back its answer."""
        query = {**(query or {}), **({"wait": f"{wait_seconds:g}"} if wait_seconds else {})}
        request = partial(
            self._http.build_request,
            "GET",
            path,
            params=query,
            timeout=httpx.Timeout(wait_seconds + TIMEOUT_SECONDS, connect=_CONNECT_SECONDS),
        )
        return self._answer(request, kind)

    def send(self, method: str, path: str, body: object, kind: type[Answer]) -> Answer:
        """PUT or POST a struct, or anything else that msgspec writes as JSON."""
        request = partial(
            self._http.build_request,
            method,
            path,
            content=msgspec.json.encode(body),
            headers={"Content-Type": "application/json"},
        )
        return self._answer(request, kind)

    def _answer(self, request: Callable[[], httpx.Request], kind: type[Answer]) -> Answer:
        return read_answer(persevere(partial(self._once, request), self._patience), kind)

    def _once(self, request: Callable[[], httpx.Request]) -> httpx.Response:
        """Send one request, and once more where only this machine's clock was to blame."""
        response = self._send(request())
        if response.status_code == HTTPStatus.UNAUTHORIZED and self._clock_was_wrong(response):
            response = self._send(request())
        if response.is_success:
            return response
        raise error_from(response)

    def _send(self, request: httpx.Request) -> httpx.Response:
        if self._token is not None:
            now = self._patience.clock.now() + self._skew
            request.headers["Authorization"] = f"Bearer {self._token(now)}"
        try:
            return self._http.send(request)
        except httpx.TransportError as exc:
            raise Unavailable(f"{request.method} {request.url}: {exc!r}") from exc

    def _clock_was_wrong(self, response: httpx.Response) -> bool:
        """Take over the gateway's clock for tokens if it is more than a few seconds away."""
        try:
            theirs = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return False
        skew = theirs - self._patience.clock.now()
        if abs(skew - self._skew) < timedelta(seconds=5):
            return False
        self._skew = skew
        return True
