"""The command line, which says in words what the environment says in variables.

``rondo-inference`` follows the store. ``rondo-inference serve`` serves a folder, and is also what
SageMaker starts a container with. The batch side's two words have no options.
"""

import argparse
from collections.abc import Mapping, Sequence

from rondo_core.errors import SettingsInvalid
from rondo_core.settings import ServiceSettings, read_settings
from rondo_inference.settings import Settings

__all__ = ["BATCH_PROCESSES", "environment", "health_port", "options_of"]

BATCH_PROCESSES = ("batch-intake", "batch-worker")
"""Words of the same image's other programs."""

SAGEMAKER_FOLDER = "/opt/ml/model"
SAGEMAKER_PORT = "8080"


def environment(argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the settings are read from.

    Args:
        argv: without the program's name.
        environ: the process's own variables; options override them.

    Raises:
        SettingsInvalid: a port is outside the range that SageMaker allows.

    Example:
        >>> environment(["serve", "--models", "m"], {"SAGEMAKER_BIND_TO_PORT": "8090"})["PORT"]
        '8090'
    """
    parser = argparse.ArgumentParser(prog="rondo-inference", description="Serves models.")
    commands = parser.add_subparsers(dest="command", metavar="follow|serve")
    serve = commands.add_parser("serve", help="serve a folder of exported versions")
    serve.add_argument("--models", help=f"the folder ({SAGEMAKER_FOLDER})")
    serve.add_argument("--host", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", help=f"port of HTTP ({SAGEMAKER_PORT}); 0: any that is free")
    serve.add_argument("--grpc-port", help="port of gRPC; none without")
    commands.add_parser("follow", help="serve what the store names; needs no word")
    options = parser.parse_args(argv)
    found = dict(environ)
    if options.command != "serve":
        return found
    found.setdefault("MODELS_FOLDER", SAGEMAKER_FOLDER)
    found.setdefault("PORT", environ.get("SAGEMAKER_BIND_TO_PORT") or SAGEMAKER_PORT)
    named = {
        "MODELS_FOLDER": options.models,
        "HOST": options.host,
        "PORT": options.port,
        "GRPC_PORT": options.grpc_port,
    }
    found |= {name: value for name, value in named.items() if value is not None}
    _check_range(found)
    return found


def _check_range(found: Mapping[str, str]) -> None:
    """Ports beside the one that SageMaker names must be in its range."""
    text, port = found.get("SAGEMAKER_SAFE_PORT_RANGE", ""), found.get("GRPC_PORT", "0")
    low, _, high = text.partition("-")
    if not (low.isdigit() and high.isdigit() and port.isdigit() and int(port)):
        return
    if not int(low) <= int(port) <= int(high):
        raise SettingsInvalid([f"GRPC_PORT={port} is outside SAGEMAKER_SAFE_PORT_RANGE={text}"])


def health_port(command_line: bytes, environ: Mapping[str, str]) -> int:
    r"""Return the port where a process of this program answers ``/readyz``.

    Args:
        command_line: the process's own, as for ``options_of``.
        environ: its variables.

    Example:
        >>> health_port(b"rondo-inference\0batch-worker\0", {"HEALTH_PORT": "91", "PORT": "81"})
        91
        >>> health_port(b"rondo-inference\0", {"HEALTH_PORT": "91", "PORT": "81"})
        81
    """
    options = options_of(command_line)
    if options[:1] and options[0] in BATCH_PROCESSES:
        return read_settings(ServiceSettings, environ).health_port
    return read_settings(Settings, environment(options, environ)).port


def options_of(command_line: bytes) -> list[str]:
    r"""Return the words after the program's name: none of a process that follows the store.

    Args:
        command_line: as the kernel tells it (proc(5), ``/proc/[pid]/cmdline``).

    Example:
        >>> options_of(b"/app/bin/python\0/app/bin/rondo-inference\0serve\0--port\x0081\0")
        ['serve', '--port', '81']
    """
    words = command_line.decode(errors="replace").split("\0")
    starts = [at for at, word in enumerate(words) if word in {"serve", *BATCH_PROCESSES}]
    return words[starts[0] : -1] if starts else []
