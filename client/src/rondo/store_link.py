"""Objects through presigned links: streamed from and to disk, checked, repeated."""

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from rondo.errors import LinkRefused
from rondo.retry import Patience, persevere
from rondo_core.errors import Invalid, Unavailable
from rondo_core.wire import Upload

__all__ = ["StoreLink"]

_BLOCK_BYTES = 1024 * 1024
_ALREADY_THERE = HTTPStatus.PRECONDITION_FAILED
_TRY_AGAIN = {HTTPStatus.CONFLICT, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
"""S3 answers 409 to a create-once write while another one of the same key is under way."""


class StoreLink:
    """The store as the holder of presigned links sees it; sends no credential of its own.

    Args:
        http: without a base address: every link is whole.
        patience: for how long to repeat a transfer that breaks.
    """

    def __init__(self, http: httpx.Client, patience: Patience) -> None:
        self._http = http
        self._patience = patience

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def download(
        self, url: str, path: Path, *, size: int | None, sha256: str | None = None
    ) -> None:
        """Write an object to ``path``, which has all of it or does not exist.

        Args:
            url: of the object.
            path: of the file.
            size: bytes that were promised; None: not known.
            sha256: likewise.

        Raises:
            LinkRefused: the link has expired.
            Invalid: the object is not the one that was promised.
            Unavailable: patience ended.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.part")
        found = persevere(partial(self._fetch, url, draft, size), self._patience)
        if sha256 not in {None, found}:
            draft.unlink()
            raise Invalid(f"{path.name}: SHA-256 {found} came, {sha256} was promised")
        draft.replace(path)

    def upload(self, source: Path | bytes, link: Upload) -> None:
        """Put a file or bytes at a link; an object that is there already counts as put.

        The link is bound to the digest, so what is there can only be the same bytes.

        Raises:
            LinkRefused: the link has expired.
            Invalid: the bytes are not the ones that the link was made for.
            Unavailable: patience ended.
        """
        persevere(partial(self._put, source, link), self._patience)

    def _fetch(self, url: str, draft: Path, size: int | None) -> str:
        """Return the digest of what came; more than ``size`` bytes are not even read."""
        digest = hashlib.sha256()
        left = sys.maxsize if size is None else size
        try:
            with self._http.stream("GET", url) as response, draft.open("wb") as file:
                _check(response)
                for block in response.iter_bytes(_BLOCK_BYTES):
                    left -= len(block)
                    if left < 0:
                        raise Invalid(f"{draft.name}: over the {size} bytes that were promised")
                    digest.update(block)
                    file.write(block)
        except httpx.TransportError as exc:
            raise Unavailable(f"GET {_place(url)}: {exc!r}") from exc
        return digest.hexdigest()

    def _put(self, source: Path | bytes, link: Upload) -> None:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        headers = {"Content-Length": str(size), **link.headers}
        content = source if isinstance(source, bytes) else _blocks(source)
        try:
            response = self._http.put(link.url, content=content, headers=headers)
        except httpx.TransportError as exc:
            raise Unavailable(f"PUT {_place(link.url)}: {exc!r}") from exc
        if response.status_code != _ALREADY_THERE:
            _check(response)


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    status = response.status_code
    text = f"{response.request.method} {_place(str(response.request.url))} answered {status}"
    if response.is_server_error or status in _TRY_AGAIN:
        raise Unavailable(text)
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        raise LinkRefused(f"{text}: the link has expired or was not made for this")
    raise Invalid(f"{text}: these are not the bytes that the link was made for")


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _place(url: str) -> str:
    """Leave out the query: its signature is a key to the object."""
    return url.partition("?")[0]
