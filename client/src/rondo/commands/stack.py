"""``rondo up`` and ``rondo demo``: handed on to the distribution that runs Rondo on one machine."""

import importlib.util
import sys

import click

from rondo.commands.seams import Seams
from rondo_core.errors import Invalid

__all__ = ["demo", "up"]

LOCAL = "rondo_local"
_HANDED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@click.command(context_settings=_HANDED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def up(seams: Seams, arguments: tuple[str, ...]) -> None:
    """Start all of Rondo on this machine (needs rondo-local)."""
    _hand_on(seams, "up", arguments)


@click.command(context_settings=_HANDED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def demo(seams: Seams, arguments: tuple[str, ...]) -> None:
    """Train on handwritten digits and predict, all on this machine (needs rondo-local)."""
    _hand_on(seams, "demo", arguments)


def _hand_on(seams: Seams, command: str, arguments: tuple[str, ...]) -> None:
    """Become that program: its signals and its exit code are ours, and nothing is imported."""
    if importlib.util.find_spec(LOCAL) is None:
        raise Invalid(
            f"`rondo {command}` needs the distribution rondo-local: in a checkout run "
            f"`make install`, elsewhere `pip install 'rondo-local[demo]'`"
        )
    seams.become([sys.executable, "-m", LOCAL, command, *arguments])
