r"""A form with files, as browsers and ``curl -F`` send it.

Source: RFC 7578 (multipart/form-data) and RFC 2046, section 5.1.
"""

import re
from dataclasses import dataclass

from rondo_core.errors import Invalid

__all__ = ["Part", "decode_multipart"]

_MOST_PARTS = 10_000
_LONGEST_HEAD = 8192
_NAME = re.compile(r'(?:^|;)\s*name="?([^";]*)"?', re.IGNORECASE)
_FILE = re.compile(r'(?:^|;)\s*filename="?([^";]*)"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One field of the form.

    Attributes:
        name: of the field.
        filename: empty where it is no file.
        media: its Content-Type, lower case without parameters; empty where none is said.
        content: viewed, not copied.
    """

    name: str
    filename: str
    media: str
    content: memoryview


def decode_multipart(body: bytes, boundary: str | None) -> list[Part]:
    r"""Return the parts of a form, in order.

    Raises:
        Invalid: there is no boundary, or the body is not such a form.

    Example:
        >>> body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
        >>> [(part.name, bytes(part.content)) for part in decode_multipart(body, "x")]
        [('a', b'1')]
    """
    if not boundary:
        raise Invalid("multipart/form-data without a boundary")
    mark = b"--" + boundary.encode("latin-1", "replace")
    ends = b"\r\n" + mark
    if not body.startswith(mark):
        raise Invalid("the form does not start with its boundary")
    parts: list[Part] = []
    view, at = memoryview(body), len(mark)
    while body[at : at + 2] == b"\r\n":
        stop = body.find(ends, at)
        if stop < 0 or len(parts) == _MOST_PARTS:
            raise Invalid(f"part {len(parts)} of the form does not end, or there are too many")
        parts.append(_part(body, view, at + 2, stop))
        at = stop + len(ends)
    if body[at : at + 2] != b"--":
        raise Invalid("the form does not end with its boundary")
    return parts


def _part(body: bytes, view: memoryview, start: int, stop: int) -> Part:
    blank = body.find(b"\r\n\r\n", start, min(stop, start + _LONGEST_HEAD))
    if blank < 0:
        raise Invalid("a part of the form has no head, or one that is too long")
    headers: dict[str, str] = {}
    for line in body[start:blank].decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    disposition = headers.get("content-disposition", "")
    field, file = _NAME.search(disposition), _FILE.search(disposition)
    return Part(
        name=field[1] if field else "",
        filename=file[1] if file else "",
        media=headers.get("content-type", "").partition(";")[0].strip().lower(),
        content=view[blank + 4 : stop],
    )
