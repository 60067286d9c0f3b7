"""HTML and other files of the page: templates with everything escaped, and assets."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from rondo_core.errors import NotFound
from rondo_inference.contracts.messages import Answer, Headers

__all__ = ["HTML", "Pages", "attachment"]

HTML = "text/html; charset=utf-8"

_ASSETS = {
    "mark.svg": "image/svg+xml",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_PAGE = {
    **_SAFE,
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
_FOREVER = {**_SAFE, "cache-control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class Pages:
    """The package's files, read once.

    Attributes:
        templates: never trust a value, and never miss one.
        assets: name -> its bytes.
    """

    templates: Environment
    assets: dict[str, bytes]

    @classmethod
    def load(cls) -> "Pages":
        """Read them."""
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
        return cls(templates, assets)

    def html(
        self, template: str, *, status: int = 200, headers: Headers | None = None, **values: object
    ) -> Answer:
        """Return a page made of a template."""
        text = self.templates.get_template(template).render(values)
        return Answer(text.encode(), HTML, status, {**_PAGE, **(headers or {})})

    def asset(self, name: str) -> Answer:
        """Return a file; its address changes with its bytes, so it may be kept for ever.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self.assets:
            raise NotFound(f"no such file: {name!r}")
        return Answer(self.assets[name], _ASSETS[name], headers=_FOREVER)


def attachment(body: bytes, media: str, name: str) -> Answer:
    """Return a file that the browser saves under a name of letters, digits, points and dashes."""
    plain = re.sub("[^A-Za-z0-9._-]+", "_", name)
    told = {"content-disposition": f'attachment; filename="{plain}"', "cache-control": "no-store"}
    return Answer(body, media, headers={**_SAFE, **told})
