"""The demo's programs in containers: ``python -m rondo_local.demo.containers WORD``.

``register SPEC`` and ``conduct`` are the operator's; ``own OWNER`` is a data owner's, one container
each. `docker-compose.yml` starts them.
"""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import rondo
from rondo_core.aws import connect
from rondo_core.clock import SystemClock
from rondo_core.errors import Unavailable
from rondo_core.events import RunRequested
from rondo_core.settings import AwsSettings, Secret, read_settings
from rondo_local.demo.conduct import MODEL, ask, await_that
from rondo_local.demo.data import load
from rondo_local.processes import exit_on_sigterm

__all__ = ["Settings", "conduct", "main", "own", "register"]


@dataclass(frozen=True, kw_only=True)
class Settings(AwsSettings):
    """What the programs read from their environment.

    Attributes:
        rondo_url: the gateway's address.
        rondo_token: the operators' token.
        rondo_inference_url: inference's address; its name stands for every replica.
        demo_rounds: of the run.
    """

    rondo_url: str
    rondo_token: Secret
    rondo_inference_url: str = ""
    demo_rounds: int = 12


def register(settings: Settings, spec: str) -> None:
    """Register the model spec in the file ``spec`` with the digits' holdout; twice is once."""
    holdout = load().holdout
    with _operator(settings) as operator:
        sha256 = operator.register_model(Path(spec), holdout.x, holdout.y)
    _say(f"registered model spec {sha256}")


def own(settings: Settings, owner: str) -> None:
    """Join as one owner and train in every run until SIGTERM.

    In life the operator sends a data owner an invite; here nobody sits there to do it.
    """
    data = load().owners[owner]
    with _operator(settings) as operator:
        (invite,) = operator.invites(MODEL)
    home = Path.home() / owner
    with rondo.connect(settings.rondo_url, invite=invite, name=owner, home=home) as federation:
        _say(f"{federation.identity.client_id} has {len(data.y)} pictures")
        federation.train(data.x, data.y, runs=None)


def conduct(settings: Settings) -> None:
    """Start a run by one message when all owners are there, and ask every replica in the end.

    Raises:
        Unavailable: something did not happen in time, or the run's version was not promoted.
    """
    digits = load()
    now = SystemClock().now()
    run_id = f"{MODEL}-{now:%Y%m%d-%H%M%S}"
    request = RunRequested(
        event_id=run_id,
        run_id=run_id,
        occurred_at=now,
        model=MODEL,
        rounds=settings.demo_rounds,
        target=len(digits.owners),
        quorum=len(digits.owners) - 1,
    )
    with _operator(settings) as operator:
        await_that(
            "the owners joined", lambda: len(operator.model(MODEL).clients) >= len(digits.owners)
        )
        connect(settings).publish("rondo/demo")(request)
        _say(f"published RunRequested {run_id}")
        await_that("the run exists", lambda: any(r.run_id == run_id for r in operator.runs()))
        _show(operator, run_id)
        model = operator.model(MODEL)
    if model.champion is None or model.champion_run != run_id:
        raise Unavailable(f"run {run_id} was not promoted")
    for url in replicas(settings.rondo_inference_url):
        guesses = ask(url, model.champion, digits.holdout)
        right = int((guesses == digits.holdout.y).sum())
        _say(f"{url}: version {model.champion} reads {right} of {len(guesses)} pictures right")


def replicas(url: str) -> list[str]:
    """Return the address of every replica that the host's name stands for."""
    parts = urlsplit(url)
    _, _, hosts = socket.gethostbyname_ex(parts.hostname or "")
    return [f"{parts.scheme}://{host}:{parts.port}" for host in sorted(hosts)]


def _show(operator: rondo.Operator, run_id: str) -> None:
    shown = ("", -1)
    for view in operator.watch(run_id, poll_seconds=0.5):
        if (view.state, view.head) == shown:
            continue
        shown = (view.state, view.head)
        measured = [one.metrics["accuracy"] for one in view.versions if one.metrics]
        accuracy = f", accuracy {measured[-1]:.0%}" if measured else ""
        _say(f"{view.state} round {view.head}/{view.rounds}{accuracy}")


def _operator(settings: Settings) -> rondo.Operator:
    return rondo.Operator(settings.rondo_url, settings.rondo_token.value)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


WORDS: dict[str, Callable[..., None]] = {"conduct": conduct, "own": own, "register": register}


def main() -> None:
    """Do what the first word of the command line says, with the words after it."""
    settings = read_settings(Settings, os.environ)
    word, *arguments = sys.argv[1:]
    with exit_on_sigterm():  # a container's first process has no default for it
        WORDS[word](settings, *arguments)


if __name__ == "__main__":
    main()
