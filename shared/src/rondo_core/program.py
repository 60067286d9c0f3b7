"""What a service's command does with its one word: work, or ask the process that works here.

Standard library only, and the work itself is imported when it is asked for: a container's health
check starts this program every few seconds.
"""

import argparse
import http.client
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

__all__ = ["run_program"]

READY_PATH = "/readyz"
_SECONDS = 4


def run_program(
    name: str,
    work: Mapping[str, Callable[[], None]],
    *,
    port: Callable[[], int],
    default: str | None = None,
    commands: Mapping[str, Callable[[], None]] = MappingProxyType({}),
) -> None:
    """Do what the command line says; returns when the work is done.

    ``NAME health`` exits with 0 if the process that works in this container is ready, else with 1.

    Args:
        name: of the command, for its help.
        work: word of the command line -> what it does.
        port: where the working process answers ``/readyz`` on loopback; called for ``health`` only.
        default: the word that may be left out.
        commands: words that read what follows them on the command line themselves.
    """
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first in commands:
        commands[first]()
        return
    parser = argparse.ArgumentParser(prog=name)
    words = (*work, *commands, "health")
    parser.add_argument("word", choices=words, nargs="?" if default else None, default=default)
    word = parser.parse_args().word
    if word == "health":
        sys.exit(_ask(port()))
    work[word]()


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
