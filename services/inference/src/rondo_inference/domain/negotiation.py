"""Which media type answers: what the caller accepts, most wanted first, of what there is.

Source: RFC 9110, section 12.5.1 (Accept).
"""

from collections.abc import Sequence
from functools import lru_cache

__all__ = ["media_parameter", "media_type", "negotiated"]


@lru_cache(maxsize=256)
def media_type(header: str) -> str:
    """Return a Content-Type without its parameters.

    Example:
        >>> media_type("Text/CSV; charset=utf-8")
        'text/csv'
    """
    return header.partition(",")[0].partition(";")[0].strip().lower()


def media_parameter(header: str, name: str) -> str | None:
    """Return a parameter of a Content-Type, without quotes, or None.

    Example:
        >>> media_parameter('multipart/form-data; boundary="a b"', "boundary")
        'a b'
    """
    for part in header.split(";")[1:]:
        key, equals, value = part.partition("=")
        if equals and key.strip().lower() == name:
            return value.strip().strip('"')
    return None


def negotiated(accept: str, offered: Sequence[str]) -> str | None:
    """Return the offered type that the caller wants most, or None where it wants none of them.

    Args:
        accept: the header; empty accepts everything.
        offered: our types, the one that we like best first; it wins where the caller has no wish.

    Example:
        >>> negotiated("text/csv;q=0.5, application/json", ("text/csv", "application/json"))
        'application/json'
        >>> negotiated("text/*", ("application/json", "text/csv"))
        'text/csv'
        >>> negotiated("image/png", ("text/csv",)) is None
        True
    """
    if not accept or accept == "*/*":
        return offered[0]
    ranges = [_range(part) for part in accept.split(",")]
    best, best_quality = None, 0.0
    for media in offered:
        quality = _quality(media, ranges)
        if quality > best_quality:
            best, best_quality = media, quality
    return best


def _range(text: str) -> tuple[str, float]:
    quality = media_parameter(text, "q")
    try:
        value = 1.0 if quality is None else float(quality)
    except ValueError:
        value = 0.0
    return media_type(text), value


def _quality(media: str, ranges: list[tuple[str, float]]) -> float:
    """The most exact range decides."""
    family = f"{media.partition('/')[0]}/*"
    for wanted in (media, family, "*/*"):
        for found, quality in ranges:
            if found == wanted:
                return quality
    return 0.0
