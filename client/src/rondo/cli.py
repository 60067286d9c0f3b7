"""The ``rondo`` command: its subcommands, and what becomes of their errors.

Exit codes: 0 done, 1 failed (stderr says why), 2 the command line was wrong.
"""

import os
from collections.abc import Sequence

import click

from rondo.commands.client import client
from rondo.commands.model import model
from rondo.commands.predict import predict
from rondo.commands.run import run
from rondo.commands.seams import Seams
from rondo.commands.stack import demo, up
from rondo.commands.version import version
from rondo.errors import GatewayError
from rondo_core.errors import RondoError, RowInvalid
from rondo_core.row_places import COUNTED, told_row

__all__ = ["commands", "main"]


class Commands(click.Group):
    """A group whose commands may raise Rondo's errors, and those of files."""

    def invoke(self, ctx: click.Context) -> object:
        """Turn a known error into one line, and one more for each row that it is about."""
        try:
            return super().invoke(ctx)
        except (RondoError, OSError) as exc:
            lines = [" ".join(line.split()) for line in _told(exc)]
            raise click.ClickException("\n  ".join(lines)) from exc


def _told(exc: RondoError | OSError) -> Sequence[str]:
    if isinstance(exc, GatewayError):
        return exc.message, *exc.rows
    if isinstance(exc, RowInvalid):
        return (f"{told_row(exc.row, exc.column, exc.rule)} ({COUNTED})",)
    return (str(exc),)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rondo")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Federated learning on events: train together, keep the data where it is."""
    ctx.ensure_object(Seams)


for _command in (client, demo, model, predict, run, up, version):
    commands.add_command(_command)


def main() -> None:
    """Run the command and end the process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # what it says is not for a data owner
    commands.main()
