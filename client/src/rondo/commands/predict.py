"""``rondo predict``: ask a served model."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from rondo.batch import BatchJob, BatchPredictions, only_model
from rondo.batch_files import failures_of
from rondo.commands.options import JSON, KEY_FILE
from rondo.commands.output import print_json, print_table
from rondo.commands.seams import Seams, find_key
from rondo.gateway_link import checked_url, open_http
from rondo.inference_link import InferenceLink
from rondo.predictions import Prediction, ask, read_rows
from rondo.retry import Patience
from rondo_core.row_places import row_number

__all__ = ["predict"]

DEFAULT_URL = "http://127.0.0.1:8081"
_MOST_WARNINGS = 5
"""So many columns are told; the others are counted."""


class _BatchOptions(NamedTuple):
    source: Path
    target: Path
    overwrite: bool
    in_json: bool


@click.command()
@click.argument("model", required=False)
@click.argument(
    "rows", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--batch",
    nargs=2,
    type=(click.Path(exists=True, path_type=Path), click.Path(dir_okay=False, path_type=Path)),
    metavar="IN OUT",
    help="Predict a large file as a job; the same command again goes on with it.",
)
@click.option("--overwrite", is_flag=True, help="With --batch: OUT may exist.")
@click.option(
    "--url",
    envvar="RONDO_INFERENCE_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Inference's address.",
)
@KEY_FILE
@JSON
@click.pass_obj
def predict(
    seams: Seams,
    *,
    model: str | None,
    rows: Path | None,
    batch: tuple[Path, Path] | None,
    overwrite: bool,
    url: str,
    key_file: Path | None,
    in_json: bool,
) -> None:
    """Ask MODEL about the rows of a file: .csv with a header, .json, or .npy.

    With --batch IN is a .csv, .jsonl or .npy of any size, or a folder of pictures, and OUT a .csv
    or .jsonl; MODEL may be left out where there is only one.
    """
    key = find_key(seams.environ, key_file)
    with open_http(checked_url(url), seams.transport) as http:
        link = InferenceLink(http, Patience(clock=seams.clock), key)
        if batch is not None and rows is None:
            with open_http(transport=seams.transport) as store:
                options = _BatchOptions(*batch, overwrite, in_json)
                _predict_batch(link, store, model, options)
        elif batch is None and model is not None and rows is not None:
            _predict_rows(link, model, rows, in_json=in_json)
        else:
            raise click.UsageError("give either MODEL ROWS or --batch IN OUT [MODEL]")


def _predict_batch(
    link: InferenceLink,
    store: httpx.Client,
    model: str | None,
    options: _BatchOptions,
) -> None:
    source, target = options.source, options.target
    with _bar() as bar:
        task = bar.add_task(source.name, total=1.0)

        def show(job: BatchJob) -> None:
            stage = "sending" if job.state == "WAITING" else job.state.lower()
            rows = f", {job.records_done:,} rows" if job.records_done else ""
            bar.update(task, completed=job.progress, description=f"{source.name}: {stage}{rows}")

        def wait(seconds: float) -> None:
            stage = f"the limit of requests is reached, waiting {seconds:g} s"
            bar.update(task, description=f"{source.name}: {stage}")

        predictions = BatchPredictions(link, store, show, wait)
        job = predictions.predict(
            model or only_model(link), source, target, overwrite=options.overwrite
        )
    if options.in_json:
        print_json(
            {
                "job_id": job.job_id,
                "model": job.model,
                "version": job.version,
                "records": job.records,
                "failed_records": job.failed_records,
                "warnings": job.warnings,
            }
        )
        return
    click.echo(f"{job.records} records to {target} by version {job.version} of {job.model}")
    for line in _warned(job):
        click.echo(line)
    if job.failed_records:
        listed = f"{failures_of(target)} lists them for programs, counted from 0"
        click.echo(f"{job.failed_records} did not fit: {target} says why in their lines, {listed}")


def _warned(job: BatchJob) -> Iterator[str]:
    for one in job.warnings[:_MOST_WARNINGS]:
        yield f"{one.more} more" if one.more else f"column {one.column!r}: {one.rule}"
    if others := sum(one.more or 1 for one in job.warnings[_MOST_WARNINGS:]):
        yield f"{others} more"


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def _predict_rows(link: InferenceLink, model: str, rows: Path, *, in_json: bool) -> None:
    found = ask(link, model, *read_rows(rows))
    if in_json:
        print_json(found)
        return
    columns = _columns(found.predictions[0]) if found.predictions else ()
    table = [(row_number(row), *_cells(answer)) for row, answer in enumerate(found.predictions)]
    print_table(("row", *columns), table)
    click.echo(f"answered by version {found.version} of {found.model}")


def _columns(prediction: Prediction) -> tuple[str, ...]:
    return tuple(prediction.values) if prediction.label is None else ("label", "probability")


def _cells(prediction: Prediction) -> tuple[str, ...]:
    if prediction.label is None:
        return tuple(f"{value:.6g}" for value in prediction.values.values())
    probability = prediction.probabilities.get(prediction.label)
    return prediction.label, "" if probability is None else f"{probability:.4f}"
