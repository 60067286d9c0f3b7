"""What the commands share: their seams, their options, and how they print."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from rondo.files import check_private
from rondo.gateway_link import checked_url
from rondo.operator import Operator
from rondo_core.clock import Clock, SystemClock
from rondo_core.errors import Invalid

__all__ = [
    "JSON",
    "TOKEN_FILE",
    "URL",
    "Seams",
    "as_json",
    "open_operator",
    "print_json",
    "print_table",
]

DEFAULT_URL = "http://127.0.0.1:8080"
TOKEN_PLACES = ("build/local/operator-token", "~/.rondo/operator-token")

URL = click.option(
    "--url",
    envvar="RONDO_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="The gateway's address.",
)
TOKEN_FILE = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Holds the operators' token; must be readable by you only. Without it: the variable "
    f"RONDO_TOKEN, then {', then '.join(TOKEN_PLACES)}.",
)
JSON = click.option("--json", "in_json", is_flag=True, help="Print JSON, for programs.")


@dataclass(frozen=True, slots=True)
class Seams:
    """What stands between the commands and the world; tests put their own here.

    Attributes:
        transport: stands in for the network.
        clock: the time.
        environ: the environment.
        call: runs a program and returns its exit code.
    """

    transport: httpx.BaseTransport | None = None
    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    call: Callable[[Sequence[str]], int] = subprocess.call


def open_operator(seams: Seams, url: str, token_file: Path | None) -> Operator:
    """Return the operator's door.

    Raises:
        Invalid: there is no token, its file can be read by others, or the URL is not one.
    """
    token = _token(seams.environ, token_file)
    return Operator(checked_url(url), token, transport=seams.transport, clock=seams.clock)


def _token(environ: Mapping[str, str], token_file: Path | None) -> str:
    given = environ.get("RONDO_TOKEN", "")
    if token_file is None and given:
        return given
    places = [token_file] if token_file else [Path(place).expanduser() for place in TOKEN_PLACES]
    for place in places:
        if place.is_file():
            check_private(place)
            return place.read_text("utf-8").strip()
    raise Invalid(
        f"no operator's token: set RONDO_TOKEN, or write it to {TOKEN_PLACES[-1]} (chmod 600)"
    )


def as_json(value: object) -> str:
    """Return a value as one line of JSON."""
    return msgspec.json.encode(value).decode()


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    click.echo(as_json(value))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows for people; without rows only the header."""
    table = Table(*columns, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console().print(table)
