"""The page at ``/docs``: the OpenAPI document as plain HTML, without scripts or foreign hosts."""

from collections.abc import Iterator
from html import escape
from typing import Any

__all__ = ["CONTENT_SECURITY_POLICY", "docs_page"]

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font-family: ui-monospace, monospace } pre { white-space: pre-wrap }
section { border-top: 1px solid #8888; padding: .5rem 0 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0 }
.method { font-weight: 700; text-transform: uppercase }
"""


def docs_page(document: dict[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    info = document["info"]
    return "".join(
        (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f"<title>{escape(info['title'])}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])}</h1><pre>{escape(info['description'])}</pre>",
            "<p>For programs: <a href='/openapi.json'>openapi.json</a></p><h2>Calls</h2>",
            *_calls(document["paths"]),
            "<h2>Bodies</h2>",
            *_bodies(document["components"]["schemas"]),
            "</body></html>",
        )
    )


def _calls(paths: dict[str, Any]) -> Iterator[str]:
    for path, operations in paths.items():
        for method, call in operations.items():
            yield f"<section><h3><span class='method'>{method}</span> "
            yield f"<code>{escape(path)}</code></h3>"
            yield f"<p>{escape(call.get('description', ''))}</p><table>"
            for parameter in call.get("parameters", []):
                yield _row(f"{parameter['name']} ({parameter['in']})", _type(parameter["schema"]))
            if "requestBody" in call:
                yield _row("body", _content(call["requestBody"]))
            for status, answer in call["responses"].items():
                yield _row(status, _content(answer))
            yield "</table></section>"


def _bodies(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f"<section id='{escape(name)}'><h3><code>{escape(name)}</code></h3>"
        yield f"<p>{escape(schema.get('description', ''))}</p><table>"
        for field, kind in schema.get("properties", {}).items():
            optional = "" if field in schema.get("required", []) else " (optional)"
            yield _row(field + optional, _type(kind))
        yield "</table></section>"


def _row(name: str, html: str) -> str:
    return f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{html}</td></tr>"


def _content(part: dict[str, Any]) -> str:
    return _type(part["content"]["application/json"]["schema"])


def _type(schema: dict[str, Any]) -> str:
    """Show a JSON schema in a few words; a reference becomes a link to its section."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'><code>{name}</code></a>"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    shown = [escape(str(schema.get("type", "any")))]
    shown += [
        f"{name} <code>{escape(str(schema[name]))}</code>" for name in RULES if name in schema
    ]
    return ", ".join(shown)


RULES = (
    "format",
    "pattern",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "minLength",
    "maxLength",
    "default",
)
