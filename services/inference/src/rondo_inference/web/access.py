"""Who may ask, and how often: keys with the models that they are for, and token buckets.

Off unless a file of keys is named. The file holds digests, so that reading it gives nobody a key.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rondo_core.clock import Clock
from rondo_core.errors import Invalid, NotFound, RondoError
from rondo_core.events import Sha256

__all__ = ["Access", "Forbidden", "TooMany", "Unknown", "read_keys"]


class Unknown(RondoError):
    """The caller gives no key, or one that nobody was given.

    Attributes:
        challenge: how to send one, as HTTP says it.
    """

    def __init__(self, text: str, challenge: str = "Bearer") -> None:
        super().__init__(text)
        self.challenge = challenge


class Forbidden(RondoError):
    """The key is not for this model."""


class TooMany(RondoError):
    """The key's bucket is empty.

    Attributes:
        retry_seconds: when the next token is there.
    """

    def __init__(self, retry_seconds: float) -> None:
        super().__init__(f"too many requests with this key; come again in {retry_seconds:.2f} s")
        self.retry_seconds = retry_seconds


_Owner = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z", max_length=64)]
"""May be what names the owner of another key that has none: so its successor gets its jobs."""

_NAMING = 16
"""Hexadecimal digits of a key's digest that name its owner."""


class _Key(Struct, frozen=True, forbid_unknown_fields=True):
    sha256: Sha256
    owner: _Owner | None = None
    models: tuple[str, ...] = ()
    rate: Annotated[float, Meta(ge=0)] = 0.0
    burst: Annotated[float, Meta(ge=1)] = 1.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class Access:
    """What each key may do. Used by one thread.

    Attributes:
        keys: SHA-256 of a key -> what it may.
        clock: fills the buckets.
    """

    keys: Mapping[str, _Key]
    clock: Clock
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def identify(self, headers: Mapping[str, str], *, browser: bool = False) -> str:
        """Return who asks: by ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

        Args:
            headers: of the request.
            browser: whether the key may be the password of ``Authorization: Basic``, for which a
                browser asks. Browsers send it again by themselves, also when a page of another
                site makes them ask; so only the page takes it, which refuses such forms, and the
                documents that it links, which change nothing.

        Raises:
            Unknown: there is no such key.
            TooMany: it asked too often.
        """
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if browser and scheme.lower() == "basic":
            key = _password(bearer)
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = self.keys.get(digest)
        if found is None:
            text = "send a key: Authorization: Bearer KEY, or X-API-Key: KEY"
            raise Unknown(text, 'Basic realm="Rondo", charset="UTF-8"' if browser else "Bearer")
        self._spend(digest, found)
        return digest

    def owner(self, who: str) -> str:
        """Return whose a key is: as the file says, or else nobody else's; never the key itself."""
        return self.keys[who].owner or f"sha256:{who[:_NAMING]}"

    def models(self, who: str) -> tuple[str, ...]:
        """Return the models that a key is for; none: all of them."""
        return self.keys[who].models

    def check_model(self, who: str, model: str) -> None:
        """Check that a key is for a model.

        Raises:
            Forbidden: it is not.
        """
        models = self.models(who)
        if models and model not in models:
            raise Forbidden(f"the key is not for model {model!r}")

    def check_everything(self, who: str) -> None:
        """Check that a key is for all models: what it asks is not of one of them alone.

        Raises:
            Forbidden: it is for some models only.
        """
        if self.models(who):
            raise Forbidden("the key is for some models only, and this is about all")

    def _spend(self, digest: str, key: _Key) -> None:
        if not key.rate:
            return
        now = self.clock.monotonic()
        bucket = self._buckets.setdefault(digest, _Bucket(key.burst, now))
        bucket.tokens = min(key.burst, bucket.tokens + (now - bucket.at) * key.rate)
        bucket.at = now
        if bucket.tokens < 1:
            raise TooMany((1 - bucket.tokens) / key.rate)
        bucket.tokens -= 1


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def read_keys(file: Path, clock: Clock) -> Access:
    """Read a file of keys: a list of ``{"sha256", "owner", "models", "rate", "burst"}``.

    ``owner`` is whose batch jobs a key sees, and keys of one owner see the same; none: its own
    alone. ``models`` empty: all of them; ``rate`` in requests a second, 0: no limit.

    Raises:
        NotFound: there is no such file.
        Invalid: it is malformed.
    """
    try:
        keys = msgspec.json.decode(file.read_bytes(), type=list[_Key])
    except OSError as exc:
        raise NotFound(f"{file}: {exc.strerror}") from exc
    except msgspec.MsgspecError as exc:
        raise Invalid(f"{file}: {exc}") from exc
    return Access({key.sha256: key for key in keys}, clock)
