"""What a service's command does with its one word: work, or ask the process that works here.

Standard library only, and the work itself is imported when it is asked for: a container's health
check starts this program every few seconds.
"""

import argparse
import http.client
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rondo_core.errors import Invalid, NotFound, RondoError, Unavailable

__all__ = ["Command", "run_program"]

READY_PATH = "/readyz"
WRONG, TRY_AGAIN = 2, 1
"""Exit codes: the same start will fail again (as of wrong usage), and it may succeed later."""
_SECONDS = 4


@dataclass(frozen=True, slots=True)
class Command:
    """What a word of the command line stands for.

    Attributes:
        run: does it; returns when it is done.
        about: one line of help.
        own_options: whether it reads what follows the word itself, its help included.
    """

    run: Callable[[], None]
    about: str
    own_options: bool = False


def run_program(
    name: str,
    commands: Mapping[str, Command],
    *,
    port: Callable[[], int],
    default: str | None = None,
) -> None:
    """Do what the command line says; returns when the work is done.

    Work that cannot be done for what the process was told is one line on stderr and exit code 2,
    and 1 where the same start may succeed later. ``NAME health`` exits with 0 if the process that
    works in this container is ready, else with 1.

    Args:
        name: of the command, for its help.
        commands: by their words.
        port: where the working process answers ``/readyz`` on loopback; called for ``health`` only.
        default: the word that may be left out.
    """
    word: str = sys.argv[1] if len(sys.argv) > 1 else ""
    if word not in commands or not commands[word].own_options:
        word = _parser(name, commands, default).parse_args().word or default or ""
    if word == "health":
        sys.exit(_health(port))
    try:
        commands[word].run()
    except (Invalid, NotFound, Unavailable) as exc:
        sys.stderr.write(f"{name}: {' '.join(str(exc).split())}\n")
        sys.exit(TRY_AGAIN if isinstance(exc, Unavailable) else WRONG)


def _parser(
    name: str, commands: Mapping[str, Command], default: str | None
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name)
    words = parser.add_subparsers(dest="word", metavar="COMMAND", required=default is None)
    for word, command in commands.items():
        about = f"{command.about} (the default)" if word == default else command.about
        words.add_parser(word, help=about, description=about)
    about = "ask the process that works here whether it is ready: exit code 0 or 1"
    words.add_parser("health", help=about, description=about)
    return parser


def _health(port: Callable[[], int]) -> int:
    try:
        return _ask(port())
    except RondoError as exc:
        sys.stdout.write(f"{exc}\n")
        return 1


def _ask(port: int) -> int:
    """Print what the process answers, and return the exit code."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", READY_PATH)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException) as exc:
        sys.stdout.write(f"no answer on port {port}: {exc}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(text)
    return 0 if answer.status == http.HTTPStatus.OK else 1
