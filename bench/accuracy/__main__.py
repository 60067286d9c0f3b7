"""How well federations learn, beside the published numbers, with three seeds each.

Clients train with the SDK's Keras trainer and rounds are combined by the aggregator's strategies,
in one process and without queues. What is finished is in ``build/bench/accuracy`` and not run
again; what the minutes end in the middle of is gone on with by the next program.

``python -m bench.accuracy [--minutes M] [--only NAME ...] [--seeds 3] [--epochs 1] [--rounds 50]``

Prints tables of what is finished, writes them into docs/accuracy.md and pictures beside it
(``--minutes 0`` runs nothing). Exit code 3: there is more to run. The published protocol on
Fashion-MNIST is ``--epochs 10``.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial

os.environ["KERAS_BACKEND"] = "tensorflow"

import tensorflow as tf
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from bench.accuracy.data import Data, fashion_mnist, mnist
from bench.accuracy.federation import Federation
from bench.accuracy.report import draw, tables, write_between
from bench.accuracy.results import Result, read_results, result_path, write_result
from bench.accuracy.settings import MODELS, DataName, Protocol, Setting
from rondo.keras_training import LocalTraining
from rondo_core.errors import RondoError
from rondo_local.environments import checkout

FOLDER = checkout() / "build" / "bench" / "accuracy"
DOCS = checkout() / "docs"
UNFINISHED = 3
Tell = Callable[[int], None]


def run(federation: Federation, until: float, played: Tell) -> bool:
    """Play rounds until the last one, or the time; return whether it was the last one."""
    path = result_path(FOLDER, federation.setting, federation.seed)
    saved = path.with_suffix(".npz")
    if saved.exists():
        federation.load(saved)
        played(len(federation.progress.accuracy))
    while not federation.over:
        if time.monotonic() > until:
            federation.save(saved)
            return False
        federation.play()
        played(len(federation.progress.accuracy))
    found = federation.progress
    result = Result(
        setting=federation.setting.name,
        seed=federation.seed,
        accuracy=found.accuracy,
        bytes_each=found.bytes_up / found.updates,
        seconds=found.seconds,
    )
    write_result(path, result)
    saved.unlink(missing_ok=True)
    return True


@cache
def data_of(name: DataName) -> Data:
    """Read a data set once."""
    build = checkout() / "build"
    return fashion_mnist(build) if name == "fashion-mnist" else mnist(build)


@cache
def training_of(name: DataName) -> LocalTraining:
    """Compile the model of a data set once."""
    return LocalTraining(MODELS[name])


def tell(bar: Progress, task: TaskID, done: int) -> None:
    """Move a bar to where a federation is."""
    bar.update(task, completed=done)


def work_left(settings: Sequence[Setting], seeds: int) -> list[tuple[Setting, int]]:
    """Return what is not finished, one seed of everything before the next."""
    return [
        (setting, seed)
        for seed in range(seeds)
        for setting in settings
        if not result_path(FOLDER, setting, seed).exists()
    ]


def play_all(settings: Sequence[Setting], seeds: int, until: float) -> bool:
    """Run what is left until the time; return whether nothing is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        for setting, seed in work_left(settings, seeds):
            if time.monotonic() > until:
                return False
            task = bar.add_task(f"{setting.name}, seed {seed}", total=setting.rounds)
            data, training = data_of(setting.data), training_of(setting.data)
            federation = Federation(setting, seed, data, training)
            if not run(federation, until, partial(tell, bar, task)):
                return False
            bar.remove_task(task)
    return True


def main() -> int:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--only", nargs="*", default=[""], help="how names of settings begin")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    protocol = Protocol(epochs=options.epochs, rounds=options.rounds)
    settings = protocol.settings
    wanted = [one for one in settings if one.name.startswith(tuple(options.only))]
    try:
        finished = play_all(wanted, options.seeds, time.monotonic() + 60 * options.minutes)
    except RondoError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    seeds = range(options.seeds)
    results = {one.name: read_results(FOLDER, one, seeds) for one in settings}
    text = tables(protocol, results)
    sys.stdout.write(f"{text}\n")
    write_between(DOCS / "accuracy.md", text)
    draw(protocol.niid, results, DOCS / "images" / "accuracy.svg", least=50)
    draw(protocol.encodings, results, DOCS / "images" / "accuracy-encodings.svg", least=50)
    draw(protocol.mnist, results, DOCS / "images" / "accuracy-mnist.svg", least=90)
    return 0 if finished else UNFINISHED


if __name__ == "__main__":
    sys.exit(main())
