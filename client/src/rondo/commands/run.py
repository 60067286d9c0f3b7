"""``rondo run``: start, watch and list runs."""

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from rondo.commands.options import JSON, TOKEN_FILE, URL
from rondo.commands.output import print_json, print_table
from rondo.commands.seams import Seams, open_operator
from rondo.operator import Operator
from rondo.round_table import metric_names
from rondo.run_options import RunOptions
from rondo_core.events import Scalar
from rondo_core.operator_wire import RunView, VersionView

__all__ = ["run"]


@click.group()
def run() -> None:
    """Start, watch and list runs."""


def _scalars(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Scalar]:
    """Read NAME=VALUE: a number or true or false where it looks like one, else text."""
    found: dict[str, Scalar] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        try:
            found[name] = msgspec.json.decode(value, type=bool | int | float)
        except msgspec.MsgspecError:
            found[name] = value
    return found


@run.command()
@click.argument("model")
@click.option("--rounds", type=click.IntRange(1), help="At most this many rounds.")
@click.option("--target", type=click.IntRange(1), help="Clients in a round.")
@click.option("--quorum", type=click.IntRange(1), help="Updates that are enough at the deadline.")
@click.option("--strategy", help="How updates are combined, for example fedavg.")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    callback=_scalars,
    metavar="NAME=VALUE",
    help="Of the strategy; may be given several times.",
)
@click.option(
    "--training",
    multiple=True,
    callback=_scalars,
    metavar="NAME=VALUE",
    help="Overrides the model spec's, for example epochs=2.",
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="How updates are written: float32, float16, bfloat16, int8 or top-k:SHARE.",
)
@click.option("--deadline", "deadline_seconds", type=float, help="Seconds for one round.")
@click.option(
    "--start-deadline",
    "start_deadline_seconds",
    type=float,
    help="Seconds for enough clients to come.",
)
@click.option("--spec", help="SHA-256 of the model spec; the newest if left out.")
@click.option("--run-id", help="A name of your own; the same name twice is one run.")
@click.option("--watch", is_flag=True, help="Go on as `rondo run watch`.")
@URL
@TOKEN_FILE
@JSON
@click.pass_obj
def start(
    seams: Seams,
    /,
    *,
    model: str,
    watch: bool,
    url: str,
    token_file: Path | None,
    in_json: bool,
    **options: object,
) -> None:
    """Ask for a run of MODEL and print its id."""
    given = {name: value for name, value in options.items() if value not in (None, {})}
    with open_operator(seams, url, token_file) as operator:
        run_id = operator.start_run(model, **msgspec.convert(given, RunOptions))
        if in_json:
            print_json({"run_id": run_id})
        else:
            click.echo(run_id)
        if watch:
            _watch(operator, run_id, in_json=in_json)


@run.command("watch")
@click.argument("run_id")
@URL
@TOKEN_FILE
@JSON
@click.pass_obj
def watch_run(
    seams: Seams, run_id: str, *, url: str, token_file: Path | None, in_json: bool
) -> None:
    """Show RUN_ID until it is over; fails unless it ends as FINISHED.

    With --json one line for each change.
    """
    with open_operator(seams, url, token_file) as operator:
        _watch(operator, run_id, in_json=in_json)


@run.command("list")
@URL
@TOKEN_FILE
@JSON
@click.pass_obj
def list_runs(seams: Seams, *, url: str, token_file: Path | None, in_json: bool) -> None:
    """List all runs."""
    with open_operator(seams, url, token_file) as operator:
        runs = operator.runs()
    if in_json:
        print_json(runs)
        return
    columns = ("run", "model", "state", "rounds", "strategy", "requested", "reason")
    rows = [
        (
            view.run_id,
            view.model,
            view.state,
            f"{view.head}/{view.rounds}",
            view.strategy,
            f"{view.requested_at:%Y-%m-%d %H:%M:%S}",
            view.reason,
        )
        for view in runs
    ]
    print_table(columns, rows)


def _watch(operator: Operator, run_id: str, *, in_json: bool) -> None:
    console, printed = Console(), 0
    with console.status("waiting", spinner="dots") as status:
        for view in operator.watch(run_id):
            if in_json:
                print_json(view)
                continue
            status.update(_now(view))
            for version in view.versions[printed:]:
                console.print(escape(_line(version)), highlight=False, soft_wrap=True)
            printed = len(view.versions)
    if not in_json:
        click.echo(f"run {run_id}: {view.state}" + (f", {view.reason}" if view.reason else ""))
    if view.state != "FINISHED":
        raise click.exceptions.Exit(1)


def _now(view: RunView) -> str:
    if not view.attempts:
        return view.state
    last = view.attempts[-1]
    updates = (f"{count} {state.lower()}" for state, count in last.updates.items())
    return ", ".join((f"round {last.round} of {view.rounds}: {last.state}", *updates))


def _line(version: VersionView) -> str:
    """Metrics are of the version before: clients measure what they receive."""
    if version.version == 0:
        return "version 0: the initial weights"
    shown = metric_names(version.metrics)
    metrics = ", ".join(f"{name} {version.metrics[name]:.4f}" for name in shown)
    made = f"version {version.version}: {version.updates} updates, {version.examples} examples"
    return made + (f"; version {version.version - 1} had {metrics}" if metrics else "")
