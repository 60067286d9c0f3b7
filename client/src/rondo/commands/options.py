"""Options that several commands have."""

from pathlib import Path

import click

from rondo.commands.seams import TOKEN_PLACES

__all__ = ["JSON", "KEY_FILE", "TOKEN_FILE", "URL"]

DEFAULT_URL = "http://127.0.0.1:8080"

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
KEY_FILE = click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Holds an API key of the server; must be readable by you only. Without it: the variable "
    "RONDO_API_KEY, then no key is sent.",
)
JSON = click.option("--json", "in_json", is_flag=True, help="Print JSON, for programs.")
