"""``rondo client``: join a federation and work for it."""

from pathlib import Path

import click
from rich.console import Console

from rondo.commands.options import JSON, URL
from rondo.commands.output import print_json
from rondo.commands.seams import Seams
from rondo.data_files import load_examples
from rondo.enrolment import connect
from rondo.progress import PlainProgress, fitting_progress

__all__ = ["client"]

NAME = click.option("--name", help="What this client is called; this machine's name if left out.")


@click.group()
def client() -> None:
    """Join a federation and work for it, as a data owner."""


@client.command()
@click.option("--invite", required=True, help="The code that the operator gave you.")
@NAME
@URL
@JSON
@click.pass_obj
def join(seams: Seams, *, invite: str, name: str | None, url: str, in_json: bool) -> None:
    """Make a key, keep it on this machine, and spend the invite. Safe to repeat."""
    with connect(url, invite, name, transport=seams.transport, clock=seams.clock) as federation:
        who = federation.identity
    if in_json:
        print_json(who)
    else:
        click.echo(f"{who.client_id} works for {who.model} at {who.gateway}")


@client.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your examples: .npz with x and y, or .csv with a header.",
)
@click.option(
    "--label", help="The column of a CSV that is to be learned.  [default: label, or the last one]"
)
@click.option("--invite", help="Join first, if that has not been done.")
@NAME
@click.option("--model", help="Which one, if you have joined several under this name.")
@click.option("--holdout", default=0.2, show_default=True, help="Share that is only measured on.")
@click.option("--seed", default=0, show_default=True, help="Of that choice.")
@click.option(
    "--runs",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="Runs to take part in; 0 goes on until it is stopped.",
)
@URL
@JSON
@click.pass_obj
def work(
    seams: Seams,
    /,
    *,
    data: Path,
    label: str | None,
    holdout: float,
    seed: int,
    runs: int,
    url: str,
    in_json: bool,
    **whom: str | None,
) -> None:
    """Train on your own data in the run that comes next. Safe to stop and to start again."""
    x, y = load_examples(data, label)
    shown = PlainProgress(Console(stderr=True)) if in_json else fitting_progress(Console())
    with connect(url, transport=seams.transport, clock=seams.clock, **whom) as federation:
        try:
            result = federation.train(
                x, y, holdout=holdout, seed=seed, runs=runs or None, progress=shown
            )
        except KeyboardInterrupt:
            raise click.ClickException("stopped; the same command goes on where it was") from None
    if in_json:
        print_json(result)
    if result.state != "FINISHED":
        raise click.exceptions.Exit(1)
