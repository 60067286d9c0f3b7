"""Compressed bodies, both ways, within bounds."""

import gzip
import zlib

from rondo_core.errors import Invalid
from rondo_inference.contracts.messages import TooLarge, UnsupportedMedia

__all__ = ["compressed", "decompressed"]

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def decompressed(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """Return the body that the caller compressed; reads no further than ``max_bytes``.

    Raises:
        UnsupportedMedia: another encoding than gzip or deflate.
        TooLarge: it unpacks to more.
        Invalid: it is not what it says, or something follows it.
    """
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return body
    window = _WINDOWS.get(encoding)
    if window is None:
        raise UnsupportedMedia(f"content encoding {encoding!r} is none of gzip, deflate")
    unpacker = zlib.decompressobj(window)
    try:
        found = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as exc:
        raise Invalid(f"the body is not {encoding}: {exc}") from exc
    if len(found) > max_bytes:
        raise TooLarge(f"the body unpacks to more than {max_bytes} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise Invalid(f"the body is not one whole {encoding} stream")
    return found


def compressed(body: bytes) -> bytes:
    """Return the body as gzip, quickly rather than small."""
    return gzip.compress(body, compresslevel=1)
