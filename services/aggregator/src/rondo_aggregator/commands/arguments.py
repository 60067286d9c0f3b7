"""The command line of ``rondo-aggregator``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from rondo_core.events import Scalar

__all__ = ["UpdateFile", "command_line"]


class UpdateFile(NamedTuple):
    """``FILE:EXAMPLES[:STALENESS[:STEPS]]``: a client's delta; its file's stem names the client."""

    path: Path
    examples: int
    staleness: int = 0
    steps: float | None = None


def command_line() -> argparse.ArgumentParser:
    """Return the parser; ``process`` says what to run."""
    parser = argparse.ArgumentParser(
        prog="rondo-aggregator", description="Validates and combines updates, and commits versions."
    )
    processes = parser.add_subparsers(dest="process", required=True)
    processes.add_parser("intake", help="messages to tasks, and the sweep")
    processes.add_parser("worker", help="the tasks")
    _add_combine(processes.add_parser("combine", help="combine files, as a round is combined"))
    _add_replay(processes.add_parser("replay", help="combine a past round again and compare"))
    return parser


def _add_combine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strategy", default="fedavg", metavar="NAME")
    _add_set(parser)
    parser.add_argument("--base", type=Path, required=True, metavar="FILE.safetensors")
    parser.add_argument(
        "--update",
        type=_update,
        action="append",
        required=True,
        dest="updates",
        metavar="FILE:EXAMPLES[:STALENESS[:STEPS]]",
        help="a delta of the base; combined in the order of the files' names",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    parser.add_argument("--state-in", type=Path, metavar="FOLDER", help="state of the round before")
    parser.add_argument("--state-out", type=Path, metavar="FOLDER", help="where to put the new one")


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", type=_version, metavar="RUN/ROUND")
    parser.add_argument("--strategy", metavar="NAME", help="another one than the round's")
    _add_set(parser)
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="CLIENT",
        help="leave this client's update out; may be given several times",
    )


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        type=_parameter,
        action="append",
        default=[],
        dest="parameters",
        metavar="PARAMETER=VALUE",
        help="of the strategy; may be given several times",
    )


def _parameter(text: str) -> tuple[str, Scalar]:
    """Read NAME=VALUE: a number or true or false where it looks like one, else text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, msgspec.json.decode(value, type=bool | int | float)
    except msgspec.MsgspecError:
        return name, value


def _update(text: str) -> UpdateFile:
    name, *numbers = text.split(":")
    counts, steps = numbers[:2], [_steps(number) for number in numbers[2:]]
    if not (name and counts and _all_digits(counts) and len(steps) <= 1 and None not in steps):
        raise argparse.ArgumentTypeError(f"{text!r} is not FILE:EXAMPLES[:STALENESS[:STEPS]]")
    staleness = int(counts[1]) if len(counts) > 1 else 0
    return UpdateFile(Path(name), int(counts[0]), staleness, *steps)


def _steps(text: str) -> float | None:
    try:
        steps: float = msgspec.json.decode(text, type=Annotated[float, msgspec.Meta(ge=1, le=1e9)])
    except msgspec.MsgspecError:
        return None
    return steps


def _version(text: str) -> tuple[str, int]:
    run_id, _, number = text.rpartition("/")
    if not run_id or not _all_digits([number]):
        raise argparse.ArgumentTypeError(f"{text!r} is not RUN/ROUND")
    return run_id, int(number)


def _all_digits(texts: Sequence[str]) -> bool:
    return all(text.isascii() and text.isdigit() for text in texts)
