"""A client's Ed25519 key, kept in a file, and the short-lived tokens that it signs."""

import uuid
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rondo.files import check_private, write_whole
from rondo_core.client_wire import AUDIENCE, MAX_TOKEN_SECONDS
from rondo_core.errors import Invalid

__all__ = ["client_token", "keep_key", "public_bytes"]


def keep_key(path: Path) -> Ed25519PrivateKey:
    """Return the key of a file that only its owner can read; make both if the file is absent.

    Raises:
        Invalid: the file can be read by others, or holds something else.
    """
    if not path.exists():
        write_whole(
            path,
            Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
    check_private(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as exc:
        raise Invalid(f"{path} is not a private key: {exc}") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise Invalid(f"{path} is a {type(key).__name__}, not an Ed25519 key")
    return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the public key's 32 bytes."""
    return key.public_key().public_bytes_raw()


def client_token(key: Ed25519PrivateKey, *, client_id: str, model: str, now: datetime) -> str:
    """Return a JWT (EdDSA) that proves once, and for a minute at most, who is speaking.

    Source: RFC 7519 (claims), RFC 8037 (EdDSA in JOSE).
    """
    claims = {
        "sub": client_id,
        "model": model,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + timedelta(seconds=MAX_TOKEN_SECONDS),
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode(claims, key, algorithm="EdDSA")
