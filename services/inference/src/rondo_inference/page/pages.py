"""HTML and other files of the page: templates with everything escaped, and assets."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from rondo_core.errors import NotFound, RondoError
from rondo_inference.contracts.messages import Answer, Headers

__all__ = ["HTML", "Pages", "Refuse", "attachment", "error_text"]

Refuse = Callable[[RondoError], Answer]
"""Makes the JSON answer to an error; the page takes its status, its headers and its text."""


HTML = "text/html; charset=utf-8"

_ASSETS = {
    "mark.svg": "image/svg+xml",
    "jobs.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_IN_PLAIN_WORDS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "This server asks for a key. Load the page again: "
    "the key is the password, and any user name will do.",
}
"""What who writes no program need not know of headers."""

_SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin"}
_PAGE = {
    **_SAFE,
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'{also}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
_FOREVER = {**_SAFE, "cache-control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class Pages:
    """The package's files, read once.

    Attributes:
        templates: never trust a value, and never miss one.
        assets: name -> its bytes.
        headers: of every page.
    """

    templates: Environment
    assets: dict[str, bytes]
    headers: Headers

    @classmethod
    def load(cls, store: str | None = None) -> "Pages":
        """Read them.

        Args:
            store: the origin that scripts may send files to, beside the page's own.
        """
        folder = files(__package__) / "assets"
        assets = {name: (folder / name).read_bytes() for name in _ASSETS}
        templates = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        marks = {name: hashlib.sha256(data).hexdigest()[:12] for name, data in assets.items()}
        templates.globals["assets"] = {
            name: f"/page/assets/{name}?{mark}" for name, mark in marks.items()
        }
        policy = _PAGE["content-security-policy"].format(also=f" {store}" if store else "")
        return cls(templates, assets, {**_PAGE, "content-security-policy": policy})

    def html(
        self, template: str, *, status: int = 200, headers: Headers | None = None, **values: object
    ) -> Answer:
        """Return a page made of a template."""
        text = self.templates.get_template(template).render(values)
        return Answer(text.encode(), HTML, status, {**self.headers, **(headers or {})})

    def failure(self, refused: Answer) -> Answer:
        """Return the page of a refusal that has no other place to stand in."""
        return self.html(
            "failure.html",
            status=refused.status,
            headers=refused.headers,
            text=_IN_PLAIN_WORDS.get(refused.status) or error_text(refused),
            forbidden=refused.status == HTTPStatus.FORBIDDEN,
        )

    def asset(self, name: str) -> Answer:
        """Return a file; its address changes with its bytes, so it may be kept for ever.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self.assets:
            raise NotFound(f"no such file: {name!r}")
        return Answer(self.assets[name], _ASSETS[name], headers=_FOREVER)


def error_text(refused: Answer) -> str:
    """Return the text of a refusal in JSON."""
    text: str = msgspec.json.decode(refused.body)["error"]
    return text


def attachment(body: bytes, media: str, name: str) -> Answer:
    """Return a file that the browser saves under a name of letters, digits, points and dashes."""
    plain = re.sub("[^A-Za-z0-9._-]+", "_", name)
    told = {"content-disposition": f'attachment; filename="{plain}"', "cache-control": "no-store"}
    return Answer(body, media, headers={**_SAFE, **told})
