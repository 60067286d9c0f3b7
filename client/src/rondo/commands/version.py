"""``rondo version replay``: handed on to the distribution that combines."""

import click

from rondo.commands.handing import HANDED_ON, hand_on
from rondo.commands.seams import Seams

__all__ = ["version"]

AGGREGATOR = "rondo_aggregator"


@click.group()
def version() -> None:
    """Compute versions again."""


@version.command(context_settings=HANDED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def replay(seams: Seams, arguments: tuple[str, ...]) -> None:
    """Combine a past round again and compare (where the aggregator is installed)."""
    words = " ".join(["replay", *arguments])
    missing = (
        "`rondo version replay` reads the updates of a round, which only the aggregator may: run "
        "it where rondo-aggregator and its settings are, for example "
        f"`docker compose exec aggregator-worker rondo-aggregator {words}`"
    )
    hand_on(seams, AGGREGATOR, ["replay", *arguments], missing=missing)
