"""``rondo up`` and ``rondo demo``: handed on to the distribution that runs Rondo on one machine."""

import click

from rondo.commands.handing import HANDED_ON, hand_on
from rondo.commands.seams import Seams

__all__ = ["demo", "up"]

LOCAL = "rondo_local"


@click.command(context_settings=HANDED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def up(seams: Seams, arguments: tuple[str, ...]) -> None:
    """Start all of Rondo on this machine (needs rondo-local)."""
    _hand_on(seams, "up", arguments)


@click.command(context_settings=HANDED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def demo(seams: Seams, arguments: tuple[str, ...]) -> None:
    """Train on handwritten digits and predict, all on this machine (needs rondo-local)."""
    _hand_on(seams, "demo", arguments)


def _hand_on(seams: Seams, command: str, arguments: tuple[str, ...]) -> None:
    missing = (
        f"`rondo {command}` needs the distribution rondo-local: in a checkout run "
        f"`make install`, elsewhere `pip install 'rondo-local[demo]'`"
    )
    hand_on(seams, LOCAL, [command, *arguments], missing=missing)
