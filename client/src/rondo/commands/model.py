"""``rondo model``: register models, invite clients to them, and look at them."""

from pathlib import Path

import click

from rondo.commands.options import JSON, TOKEN_FILE, URL
from rondo.commands.output import print_json, print_table
from rondo.commands.seams import Seams, open_operator
from rondo.data_files import load_examples
from rondo_core.operator_wire import ModelView

__all__ = ["model"]


@click.group()
def model() -> None:
    """Register models, invite clients, and see what is served."""


@model.command()
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--holdout",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The examples that judge every version: .npz with x and y, or .csv with a header.",
)
@click.option("--label", help="The column of a CSV that is to be learned.")
@URL
@TOKEN_FILE
@JSON
@click.pass_obj
def register(
    seams: Seams,
    /,
    *,
    spec: Path,
    holdout: Path,
    label: str | None,
    url: str,
    token_file: Path | None,
    in_json: bool,
) -> None:
    """Register the model spec in the file SPEC. Safe to repeat."""
    x, y = load_examples(holdout, label)
    with open_operator(seams, url, token_file) as operator:
        sha256 = operator.register_model(spec, x, y)
    if in_json:
        print_json({"spec": sha256})
    else:
        click.echo(f"registered model spec {sha256}")


@model.command()
@click.argument("name")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--uses",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="How many clients may join with each code.",
)
@click.option("--days", default=7.0, show_default=True, help="How long the codes are good.")
@URL
@TOKEN_FILE
@JSON
@click.pass_obj
def invite(
    seams: Seams,
    /,
    *,
    name: str,
    count: int,
    uses: int,
    days: float,
    url: str,
    token_file: Path | None,
    in_json: bool,
) -> None:
    """Print new invite codes for the model NAME; they cannot be shown again."""
    with open_operator(seams, url, token_file) as operator:
        codes = operator.invites(name, count, uses=uses, expires_seconds=round(days * 86_400))
    if in_json:
        print_json({"model": name, "codes": codes})
    else:
        click.echo("\n".join(codes))


@model.command("list")
@URL
@TOKEN_FILE
@JSON
@click.pass_obj
def list_models(seams: Seams, *, url: str, token_file: Path | None, in_json: bool) -> None:
    """List all models."""
    with open_operator(seams, url, token_file) as operator:
        models = operator.models()
    if in_json:
        print_json(models)
        return
    columns = ("model", "served version", "clients", "specs", "metrics")
    rows = [
        (view.model, view.champion, len(view.clients), len(view.specs), _metrics(view))
        for view in models
    ]
    print_table(columns, rows)


@model.command()
@click.argument("name")
@URL
@TOKEN_FILE
@JSON
@click.pass_obj
def show(seams: Seams, name: str, *, url: str, token_file: Path | None, in_json: bool) -> None:
    """Show the model NAME: its specs, its clients, and the version that is served."""
    with open_operator(seams, url, token_file) as operator:
        view = operator.model(name)
    if in_json:
        print_json(view)
        return
    served = "none yet"
    if view.champion is not None:
        served = f"{view.champion} (run {view.champion_run}, its version {view.champion_version})"
    rows = [
        ("model", view.model),
        ("served version", served),
        ("metrics", _metrics(view)),
        ("clients", ", ".join(view.clients)),
        ("specs", "\n".join(view.specs)),
    ]
    print_table(("", ""), rows)


def _metrics(view: ModelView) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(view.metrics.items()))
