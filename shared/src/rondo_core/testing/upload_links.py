"""Links into the bucket in memory, and the store's end of them."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit

from rondo_core.clock import Clock, SystemClock
from rondo_core.errors import NotFound
from rondo_core.model_store import UploadLink
from rondo_core.testing.model_store import MemoryModelStore

__all__ = ["MemoryUploadLinks"]

ADDRESS = "http://store.test/models/"


class MemoryUploadLinks:
    """An ``UploadLinks`` whose own ``put`` and ``get`` honour the links, with S3's statuses.

    Args:
        store: where the objects are.
        clock: decides whether a link has expired.
    """

    def __init__(self, store: MemoryModelStore, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()

    def for_upload(
        self, key: str, *, size: int, sha256: str | None, expires_seconds: int
    ) -> UploadLink:
        """Return a link bound to exact length, create-once and, where it is known, SHA-256."""
        url = self._url("PUT", key, expires_seconds, size, sha256 or "")
        return UploadLink(url, _signed(str(size), sha256 or ""))

    def for_download(self, key: str, *, expires_seconds: int) -> str:
        """Return a URL that ``get`` answers."""
        return self._url("GET", key, expires_seconds, 0, "")

    def put(self, url: str, headers: Mapping[str, str], data: bytes) -> int:
        """Answer an HTTP PUT as S3 does.

        Returns:
            200 stored; 400 other bytes than the checksum says; 403 expired, not for PUT, another
            length, or a signed header is missing or different; 412 the object exists already.
        """
        key, promise = self._open(url, "PUT")
        if key is None:
            return 403
        given = {name.lower(): value for name, value in headers.items()}
        given["content-length"] = str(len(data))
        sha256 = promise.get("sha256", "")
        wanted = _signed(promise["size"], sha256)
        if any(given.get(name.lower()) != value for name, value in wanted.items()):
            return 403
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            return 400
        if self._store.head(key) is not None:
            return 412
        self._store.put(key, data)
        return 200

    def get(self, url: str) -> tuple[int, bytes]:
        """Answer an HTTP GET: status (200, 403 expired or not for GET, 404) and body."""
        key, _ = self._open(url, "GET")
        if key is None:
            return 403, b""
        try:
            return 200, self._store.get(key)
        except NotFound:
            return 404, b""

    def _url(self, method: str, key: str, seconds: int, size: int, sha256: str) -> str:
        until = (self._clock.now() + timedelta(seconds=seconds)).timestamp()
        promise = f"method={method}&until={until}&size={size}&sha256={sha256}"
        seal = hashlib.sha256(f"{key}?{promise}".encode()).hexdigest()[:16]
        return f"{ADDRESS}{quote(key)}?{promise}&seal={seal}"

    def _open(self, url: str, method: str) -> tuple[str | None, dict[str, str]]:
        parts = urlsplit(url)
        promise = {name: values[0] for name, values in parse_qs(parts.query).items()}
        key = unquote(url.removeprefix(ADDRESS).split("?", maxsplit=1)[0])
        sealed = parts.query.rsplit("&seal=", maxsplit=1)[0]
        seal = hashlib.sha256(f"{key}?{sealed}".encode()).hexdigest()[:16]
        expired = float(promise.get("until", 0)) < self._clock.now().timestamp()
        genuine = promise.get("seal") == seal and promise.get("method") == method
        return (key if genuine and not expired else None), promise


def _signed(size: str, sha256: str) -> dict[str, str]:
    headers = {"Content-Length": size, "If-None-Match": "*"}
    if sha256:
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers["x-amz-checksum-sha256"] = checksum
    return headers
