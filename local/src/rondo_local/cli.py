"""The ``rondo-local`` command: start everything on this machine, or run the demo on it."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast, get_args

import click
from rich.console import Console

from rondo_core.errors import RondoError
from rondo_local.emulators import AwsName
from rondo_local.environments import checkout, ensure
from rondo_local.processes import exit_on_sigterm
from rondo_local.stack import Plan, Stack, running

__all__ = ["main"]

USUAL_PORTS = {
    "aggregator-intake": 9092,
    "aggregator-worker": 9093,
    "batch-intake": 9095,
    "batch-worker": 9096,
    "dispatcher": 9091,
    "evaluator": 9094,
    "gateway": 8080,
    "inference-1": 8081,
    "inference-2": 8082,
    "localstack": 4566,
    "ministack": 4566,
}
"""Where the `rondo` command and everybody's snippets look first."""

FOLDER = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Logs, state and the operator's token go here.",
)
AWS = click.option(
    "--aws",
    type=click.Choice(get_args(AwsName)),
    default="ministack",
    show_default=True,
    help="Which AWS emulator.",
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="One line of JSON on stdout; all else on stderr."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """All of Rondo on this machine, without Docker: emulator, Redis and every service."""


@commands.command()
@AWS
@FOLDER
@click.option("--inference", default=2, show_default=True, help="Replicas of inference.")
@click.option("--workers", default=2, show_default=True, help="Celery processes.")
@JSON
def up(aws: str, folder: Path | None, inference: int, workers: int, *, as_json: bool) -> None:
    """Start everything, print the addresses, and run until Ctrl-C."""
    plan = Plan(
        folder=folder or checkout() / "build" / "local",
        build_folder=checkout() / "build",
        aws=cast("AwsName", aws),
        inference=inference,
        workers=workers,
        ports=USUAL_PORTS,
    )
    console = Console(stderr=as_json)
    with _stack(plan, console) as stack:
        if as_json:
            click.echo(json.dumps(_facts(stack)))
        else:
            _show(stack, console)
        _stay(stack, console)


@commands.command()
@AWS
@FOLDER
@click.option("--rounds", default=12, show_default=True, help="Rounds of the run.")
@click.option("--keep", is_flag=True, help="Leave everything running when the demo is over.")
@JSON
def demo(aws: str, folder: Path | None, rounds: int, *, keep: bool, as_json: bool) -> None:
    """Four data owners learn handwritten digits; ends with served predictions and a report."""
    from rondo_local.demo.conduct import Demo, conduct  # noqa: PLC0415  (an extra)

    started = time.monotonic()
    folder = folder or checkout() / "build" / "demo"
    state = folder / "stack"
    shutil.rmtree(state, ignore_errors=True)  # a demo shows a first start
    plan = Plan(folder=state, build_folder=checkout() / "build", aws=cast("AwsName", aws))
    console = Console(stderr=as_json)
    with _stack(plan, console) as stack:
        shown = Demo(
            spec=checkout() / "examples" / "digits" / "model.json",
            folder=folder,
            rounds=rounds,
            install_seconds=_install_seconds(),
            started=started,
            stack_ready=time.monotonic(),
        )
        report = conduct(shown, stack, console)
        written = (folder / "report.json").read_text()
        if as_json:
            click.echo(json.dumps(json.loads(written)))
        else:
            console.print_json(written)
        if keep:
            _show(stack, console)
            _stay(stack, console)
    if not report.predictions_ok:
        raise click.ClickException("the predictions are not those of the promoted version")


@contextmanager
def _stack(plan: Plan, console: Console) -> Iterator[Stack]:
    with exit_on_sigterm():
        with console.status("making the emulators' environments (first time only)"):
            ensure(plan.aws, plan.build_folder)
            ensure("redis", plan.build_folder)
        with console.status(f"starting {plan.aws}, Redis and the services") as status:
            before = time.monotonic()
            with running(plan) as stack:
                status.stop()
                console.print(f"started in {time.monotonic() - before:.1f} s", style="green")
                yield stack
                console.print("stopping", style="dim")


def _facts(stack: Stack) -> dict[str, object]:
    return {
        "gateway_url": stack.gateway_url,
        "inference_urls": stack.inference_urls,
        "health_urls": dict(stack.urls),
        "aws_endpoint_url": stack.aws.endpoint_url,
        "token_file": str(stack.token_file),
        "log_folder": str(stack.log_folder),
    }


def _show(stack: Stack, console: Console) -> None:
    lines = {
        "gateway": f"{stack.gateway_url}/docs",
        **{f"inference {n}": url for n, url in enumerate(stack.inference_urls, start=1)},
        **{name: f"{url}/metrics" for name, url in stack.urls.items() if _is_inside(name)},
        "AWS": stack.aws.endpoint_url,
        "operator's token": str(stack.token_file),
        "logs": str(stack.log_folder),
    }
    for name, value in lines.items():
        console.print(f"{name:>17}  {value}", highlight=False, soft_wrap=True)


def _is_inside(name: str) -> bool:
    """Whether a process has no door: only its health and its metrics can be asked for."""
    return not name.startswith(("gateway", "inference"))


def _stay(stack: Stack, console: Console) -> None:
    console.print("Ctrl-C stops everything", style="dim")
    while not stack.supervisor.ended():  # only an emulator is not started again
        time.sleep(1.0)
    ended = ", ".join(stack.supervisor.ended())
    raise click.ClickException(f"ended by itself: {ended}; logs are in {stack.log_folder}")


def _install_seconds() -> float | None:
    """Return what `make install` noted, if this was installed so."""
    note = checkout() / "build" / "install-seconds"
    return float(note.read_text()) if note.exists() else None


def main() -> None:
    """Run the command; a Ctrl-C and every known error end it with one line."""
    try:
        commands.main(standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except RondoError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(1)
