"""What a request to the page says beside its forms: which site it is from, and which version."""

from rondo_core.errors import Invalid, NotFound
from rondo_inference.contracts.messages import Request

__all__ = ["check_site", "version_of"]

_LONGEST_VERSION = 18


def check_site(request: Request) -> None:
    """Refuse another site's form: a browser that knows a password sends it with that one as well.

    Over plain HTTP browsers tell only the origin, and not that of every program.

    Raises:
        Invalid: it is one.
    """
    site, origin = request.header("sec-fetch-site"), request.header("origin")
    ours = not origin or origin.partition("://")[2] == request.header("host")
    if site not in {"none", "same-origin"} and (site or not ours):
        raise Invalid(f"a form of the page comes from the page itself, not from {site or origin}")


def version_of(request: Request) -> int | None:
    """Return the version that is asked by its number, or None.

    Raises:
        NotFound: it is no number.
    """
    text = request.parameter("version")
    if not text:
        return None
    if not text.isdecimal() or len(text) > _LONGEST_VERSION:
        raise NotFound(f"{text!r} is no version: a version is a number")
    return int(text)
