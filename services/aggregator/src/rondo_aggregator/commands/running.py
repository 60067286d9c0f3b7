"""What the commands print, and their exit codes: 0 done, 1 refused or another result."""

import argparse
import sys

import msgspec

from rondo_aggregator.adapters.own_strategies import installed_strategy
from rondo_aggregator.commands.combine import Files, combine_files
from rondo_aggregator.handlers.ports import Objects
from rondo_aggregator.handlers.replay import Choices, replay_round
from rondo_core.errors import RondoError
from rondo_core.run_store import RunStore

__all__ = ["run_combine_command", "run_replay_command"]


def run_combine_command(options: argparse.Namespace) -> int:
    """Combine files; print digests, and what each client counted, as JSON."""
    try:
        strategy = installed_strategy(options.strategy, dict(options.parameters))
        files = Files(
            options.base, options.updates, options.out, options.state_in, options.state_out
        )
        _print(combine_files(files, strategy))
    except RondoError as exc:
        return _refused(exc)
    return 0


def run_replay_command(options: argparse.Namespace, store: RunStore, objects: Objects) -> int:
    """Combine a round again; print how it came out as JSON.

    Returns:
        1 where an audit, which changes nothing, finds other bytes than were committed.
    """
    run_id, round_ = options.version
    parameters = dict(options.parameters) or None
    choices = Choices(options.strategy, parameters, tuple(options.without))
    try:
        found = replay_round(
            run_id, round_, choices, store=store, objects=objects, strategies=installed_strategy
        )
    except RondoError as exc:
        return _refused(exc)
    _print(found)
    return int(choices == Choices() and not found.same)


def _print(found: msgspec.Struct) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")


def _refused(exc: RondoError) -> int:
    sys.stderr.write(f"rondo-aggregator: {exc}\n")
    return 1
