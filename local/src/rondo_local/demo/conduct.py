"""The demo from the outside: register, start the run by one message, ask inference, report."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import rondo
from rondo_core.aws import connect
from rondo_core.clock import SystemClock
from rondo_core.errors import Unavailable
from rondo_core.events import RunRequested
from rondo_core.operator_wire import ModelView, RunView
from rondo_local.demo.data import Labelled, load
from rondo_local.demo.orders import BASELINES_FILE, ORDERS_FILE, Baselines, Orders
from rondo_local.demo.report import Accuracy, Report, Seconds, Served, write
from rondo_local.processes import Program
from rondo_local.stack import Stack

__all__ = ["MODEL", "Demo", "ask", "await_that", "conduct"]

MODEL = "digits"
OWNERS = "owners"
DEADLINE_SECONDS = 600.0
BATCH = 100


@dataclass(frozen=True, slots=True)
class Demo:
    """What to show.

    Attributes:
        spec: path of the model spec.
        folder: report and the owners' files go here.
        rounds: of the run.
        install_seconds: how long installing took, where that is known.
        started: when the whole demo began, by the monotonic clock.
        stack_ready: when the stack was ready.
        seed: of the parting of the data.
    """

    spec: Path
    folder: Path
    rounds: int
    install_seconds: float | None
    started: float
    stack_ready: float
    seed: int = 0


def conduct(demo: Demo, stack: Stack, console: Console) -> Report:
    """Run the demo on a running stack; returns when the report is written.

    Raises:
        Unavailable: something did not happen in time; the text says what.
    """
    operator = rondo.Operator(stack.gateway_url, stack.operator_token)
    digits = load(seed=demo.seed)
    operator.register_model(demo.spec, digits.holdout.x, digits.holdout.y)
    owners = list(digits.owners)
    invites = dict(zip(owners, operator.invites(MODEL, len(owners)), strict=True))
    _start_owners(demo, stack, invites)
    with console.status("the owners load TensorFlow and join"):
        await_that("the owners joined", lambda: len(operator.model(MODEL).clients) == len(owners))
    begun = time.monotonic()
    run = _train(demo, stack, operator, len(owners), console)
    trained = time.monotonic()
    model = operator.model(MODEL)
    if model.champion is None or model.champion_run != run.run_id:
        raise Unavailable(f"run {run.run_id} ended as {run.state}: {run.reason}")
    with console.status("every replica of inference takes the new version over"):
        guesses = [ask(url, model.champion, digits.holdout) for url in stack.inference_urls]
    with console.status("what would each owner have reached alone?"):
        baselines = _baselines(demo.folder)
    stack.supervisor.stop(OWNERS)
    report = _report(
        demo,
        run,
        model,
        baselines,
        guesses=guesses,
        holdout=digits.holdout,
        train_seconds=trained - begun,
    )
    served = Served(pictures=digits.holdout.x, truth=digits.holdout.y, guesses=guesses[0])
    page = write(demo.folder, report, served)
    console.print(f"report: {page}")
    return report


def _start_owners(demo: Demo, stack: Stack, invites: dict[str, str]) -> None:
    orders = Orders(
        gateway_url=stack.gateway_url,
        invites=invites,
        spec=str(demo.spec),
        rounds=demo.rounds,
        seed=demo.seed,
    )
    demo.folder.mkdir(parents=True, exist_ok=True)
    (demo.folder / ORDERS_FILE).write_bytes(msgspec.json.encode(orders))
    (demo.folder / BASELINES_FILE).unlink(missing_ok=True)
    argv = (sys.executable, "-m", "rondo_local.demo.owners", str(demo.folder))
    stack.supervisor.start(Program(OWNERS, argv, stack.client_environment(), restart=False))


def _train(
    demo: Demo, stack: Stack, operator: rondo.Operator, owners: int, console: Console
) -> RunView:
    """Publish one message, and only watch from then on."""
    now = SystemClock().now()
    run_id = f"{MODEL}-{now:%Y%m%d-%H%M%S}"
    request = RunRequested(
        event_id=run_id,
        run_id=run_id,
        occurred_at=now,
        model=MODEL,
        rounds=demo.rounds,
        target=owners,
        quorum=owners // 2 + 1,
    )
    connect(stack.settings).publish("rondo/demo")(request)
    await_that("the run exists", lambda: any(run.run_id == run_id for run in operator.runs()))
    with _bar(console) as bar:
        task = bar.add_task("training", total=demo.rounds, accuracy="")
        for view in operator.watch(run_id, poll_seconds=0.5):
            accuracy = [f"{a:.0%}" for a in _curve(view)[-1:]]
            bar.update(task, completed=view.head, accuracy="".join(accuracy))
            if OWNERS in stack.supervisor.ended() and view.head < demo.rounds:
                log = stack.supervisor.log_path(OWNERS)
                raise Unavailable(f"the owners' process ended; see {log}")
    return view


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("round {task.completed}/{task.total}  {task.fields[accuracy]}"),
        TimeElapsedColumn(),
        console=console,
    )


def _curve(run: RunView) -> list[float]:
    """Accuracy of versions 0, 1, …; a round's clients measure the version before it."""
    return [version.metrics["accuracy"] for version in run.versions if version.metrics]


def ask(url: str, champion: int, holdout: Labelled) -> NDArray[np.int64]:
    """Return what one replica of inference reads in every picture of the holdout."""
    with httpx.Client(base_url=url, timeout=30.0) as http:
        await_that(f"{url} serves version {champion}", lambda: _serves(http) == champion)
        scores = [
            _predict(http, champion, holdout.x[start : start + BATCH])
            for start in range(0, len(holdout.x), BATCH)
        ]
    guesses: NDArray[np.int64] = np.concatenate(scores).argmax(axis=1)
    return guesses


def _serves(http: httpx.Client) -> int | None:
    answer = http.get(f"/v1/models/{MODEL}")
    if answer.status_code != httpx.codes.OK:
        return None
    statuses: list[dict[str, Any]] = answer.json()["model_version_status"]
    ready = [int(status["version"]) for status in statuses if status["state"] == "AVAILABLE"]
    return max(ready, default=None)


def _predict(http: httpx.Client, champion: int, pictures: NDArray[np.float32]) -> Any:  # noqa: ANN401
    answer = http.post(f"/v1/models/{MODEL}:predict", json={"instances": pictures.tolist()})
    answer.raise_for_status()
    if answer.headers["X-Rondo-Version"] != str(champion):
        raise Unavailable(f"version {answer.headers['X-Rondo-Version']} answered, not {champion}")
    return np.array(answer.json()["predictions"])


def _baselines(folder: Path) -> Baselines:
    file = folder / BASELINES_FILE
    await_that("the baselines are measured", file.exists)
    return msgspec.json.decode(file.read_bytes(), type=Baselines)


def _report(
    demo: Demo,
    run: RunView,
    model: ModelView,
    baselines: Baselines,
    *,
    guesses: list[NDArray[np.int64]],
    holdout: Labelled,
    train_seconds: float,
) -> Report:
    champion = model.champion or 0
    shares = [float((guess == holdout.y).mean()) for guess in guesses]
    measured = model.metrics["accuracy"]
    return Report(
        run_id=run.run_id,
        rounds=run.head,
        clients=len(baselines.alone),
        accuracy=Accuracy(federated=shares[0], pooled=baselines.pooled, alone=baselines.alone),
        promoted_version=champion,
        served_version=champion,  # `_predict` refuses an answer by another one
        predictions_ok=all(abs(share - measured) < 1 / len(holdout.y) for share in shares),
        seconds=Seconds(
            install=demo.install_seconds,
            start=round(demo.stack_ready - demo.started, 1),
            train=round(train_seconds, 1),
            total=round(time.monotonic() - demo.started, 1),
        ),
        curve=_curve(run),
    )


def await_that(what: str, probe: Callable[[], bool]) -> None:
    """Ask five times a second until it is so.

    Raises:
        Unavailable: it is not so after ten minutes; the text says what.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not probe():
        if time.monotonic() > deadline:
            raise Unavailable(f"still not after {DEADLINE_SECONDS:g} s: {what}")
        time.sleep(0.2)
