"""Commands that another distribution of Rondo carries out."""

import importlib.util
import sys
from collections.abc import Sequence

from rondo.commands.seams import Seams
from rondo_core.errors import Invalid

__all__ = ["HANDED_ON", "hand_on"]

HANDED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""Click's settings of such a command: its words are for the other program, ``--help`` too."""


def hand_on(seams: Seams, package: str, arguments: Sequence[str], *, missing: str) -> None:
    """Become that program: its signals and its exit code are ours, and nothing is imported.

    Args:
        seams: what stands between the commands and the world.
        package: what is run, as ``python -m``.
        arguments: of it.
        missing: what to say where it is not installed.

    Raises:
        Invalid: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise Invalid(missing)
    seams.become([sys.executable, "-m", package, *arguments])
