"""Who calls: clients by a JWT that they sign themselves (EdDSA), operators by a bearer token.

Replays of a client's token are harmless for its 60 seconds: every client call can be repeated.

Source: RFC 7519 (claims), RFC 8037 section 3.1 (EdDSA), RFC 8725 section 3.1 (one algorithm only).
"""

import hashlib
import hmac
from datetime import datetime
from typing import Annotated

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from rondo_core.client_wire import AUDIENCE, MAX_TOKEN_SECONDS
from rondo_core.events import Name
from rondo_core.model_rows import OperatorRow
from rondo_gateway.domain.refusals import Unauthenticated

__all__ = ["LEEWAY_SECONDS", "Claims", "bearer_token", "check_client", "check_operator", "claimed"]

LEEWAY_SECONDS = 10
"""How far a client's clock may be off; it can set it by the ``Date`` header of any answer."""

MAX_TOKEN_CHARACTERS = 4096
Seconds = Annotated[float, Meta(ge=0, le=1e11)]


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a client's token says; all of it is required."""

    sub: Name
    model: Name
    aud: str
    iat: Seconds
    exp: Seconds
    jti: Annotated[str, Meta(min_length=1, max_length=128)]


def bearer_token(header: str | None) -> str:
    """Return the token of an ``Authorization`` header.

    Raises:
        Unauthenticated: ``token-missing``.

    >>> bearer_token("Bearer abc")
    'abc'
    """
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("token-missing", "an Authorization header 'Bearer TOKEN' is needed")
    return token.strip()


def check_operator(token: str, row: OperatorRow | None) -> None:
    """Compare an operator's token with the stored digest, in constant time.

    Raises:
        Unauthenticated: ``operator-token-invalid``.
    """
    digest = hashlib.sha256(token.encode()).hexdigest()
    if row is None or not hmac.compare_digest(digest, row.token_sha256):
        raise Unauthenticated("operator-token-invalid", "not the operators' token")


def claimed(token: str) -> Claims:
    """Read what a token says, so that the key can be looked up. NOTHING IS VERIFIED YET.

    Raises:
        Unauthenticated: ``token-invalid``, not a JWT, or a claim is missing or of the wrong type.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _invalid(f"{len(token)} characters are over {MAX_TOKEN_CHARACTERS}")
    try:
        payload = jwt.decode(token, options={"verify_signature": False})
        return msgspec.convert(payload, Claims)
    except jwt.PyJWTError as exc:
        raise _invalid("not a JSON Web Token") from exc
    except msgspec.ValidationError as exc:
        raise _invalid(f"claims: {exc}") from exc


def check_client(token: str, claims: Claims, public_key: bytes, *, now: datetime) -> None:
    """Verify signature, audience and times of a client's token.

    Args:
        token: the JWT.
        claims: what ``claimed`` read from it.
        public_key: Ed25519, 32 bytes, of the client that the token names.
        now: timezone-aware.

    Raises:
        Unauthenticated: ``token-invalid``, or ``token-expired`` when only its time is over.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        jwt.decode(token, key, algorithms=["EdDSA"], audience=AUDIENCE, options=_OUR_OWN_CLOCK)
    except jwt.InvalidAudienceError as exc:
        raise _invalid(f"aud is {claims.aud!r}, expected {AUDIENCE!r}") from exc
    except (jwt.PyJWTError, ValueError) as exc:
        raise _invalid("not signed with EdDSA by the client's key") from exc
    if not claims.iat <= claims.exp <= claims.iat + MAX_TOKEN_SECONDS:
        lifetime = claims.exp - claims.iat
        raise _invalid(f"exp is {lifetime:g} s after iat; at most {MAX_TOKEN_SECONDS}")
    seconds = now.timestamp()
    if claims.iat > seconds + LEEWAY_SECONDS:
        raise _invalid(f"iat is {claims.iat - seconds:.0f} s in the future")
    if claims.exp + LEEWAY_SECONDS < seconds:
        over = seconds - claims.exp
        raise Unauthenticated("token-expired", f"the token's time was over {over:.0f} s ago")


_OUR_OWN_CLOCK: jwt.types.Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
"""The library reads the machine's clock; time is an argument here."""


def _invalid(rule: str) -> Unauthenticated:
    return Unauthenticated("token-invalid", rule)
