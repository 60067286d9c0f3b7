"""``rondo predict``: ask a served model."""

from pathlib import Path

import click

from rondo.commands.options import JSON
from rondo.commands.output import print_json, print_table
from rondo.commands.seams import Seams
from rondo.gateway_link import checked_url, open_http
from rondo.predictions import Prediction, ask, read_rows
from rondo.retry import Patience

__all__ = ["predict"]

DEFAULT_URL = "http://127.0.0.1:8081"


@click.command()
@click.argument("model")
@click.argument("rows", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--url",
    envvar="RONDO_INFERENCE_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Inference's address.",
)
@JSON
@click.pass_obj
def predict(seams: Seams, *, model: str, rows: Path, url: str, in_json: bool) -> None:
    """Ask MODEL about the rows of a file: .csv with a header, .json, or .npy."""
    body, content_type = read_rows(rows)
    with open_http(checked_url(url), seams.transport) as http:
        found = ask(http, model, body, content_type, Patience(clock=seams.clock))
    if in_json:
        print_json(found)
        return
    columns = _columns(found.predictions[0]) if found.predictions else ()
    table = [(number, *_cells(answer)) for number, answer in enumerate(found.predictions)]
    print_table(("row", *columns), table)
    click.echo(f"answered by version {found.version} of {found.model}")


def _columns(prediction: Prediction) -> tuple[str, ...]:
    return tuple(prediction.values) if prediction.label is None else ("label", "probability")


def _cells(prediction: Prediction) -> tuple[str, ...]:
    if prediction.label is None:
        return tuple(f"{value:.6g}" for value in prediction.values.values())
    probability = prediction.probabilities.get(prediction.label)
    return prediction.label, "" if probability is None else f"{probability:.4f}"
