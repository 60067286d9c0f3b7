"""What stands between the commands and the world, and how tokens and keys are found."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import httpx

from rondo.files import check_private
from rondo.operator import Operator
from rondo_core.clock import Clock, SystemClock
from rondo_core.errors import Invalid
from rondo_core.settings import Secret

__all__ = ["TOKEN_PLACES", "Seams", "find_key", "open_operator"]

TOKEN_PLACES = ("build/local/operator-token", "~/.rondo/operator-token")


def _become(argv: Sequence[str]) -> NoReturn:
    os.execv(argv[0], list(argv))  # noqa: S606  (a list, and no shell)


@dataclass(frozen=True, slots=True)
class Seams:
    """What stands between the commands and the world; tests put their own here.

    Attributes:
        transport: stands in for the network.
        clock: the time.
        environ: the environment.
        become: replaces this program by another one.
    """

    transport: httpx.BaseTransport | None = None
    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    become: Callable[[Sequence[str]], object] = _become


def open_operator(seams: Seams, url: str, token_file: Path | None) -> Operator:
    """Return the operator's door.

    Raises:
        Invalid: there is no token, its file can be read by others, or the URL is not one.
    """
    token = _token(seams.environ, token_file)
    return Operator(url, token, transport=seams.transport, clock=seams.clock)


def find_key(environ: Mapping[str, str], key_file: Path | None) -> Secret | None:
    """Return the API key of inference: of the file, or else of RONDO_API_KEY; None: there is none.

    Raises:
        Invalid: the file can be read by others, or what was found is no key; it is not shown.
    """
    if key_file is None:
        place, found = "RONDO_API_KEY", environ.get("RONDO_API_KEY", "").strip()
        if not found:
            return None
    else:
        check_private(key_file)
        place, found = str(key_file), key_file.read_bytes().decode("ascii", "replace").strip()
    if not (found and found.isascii() and found.isprintable()):
        raise Invalid(f"{place} does not hold an API key: one line of printable ASCII")
    return Secret(found)


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
