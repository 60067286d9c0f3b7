"""Each engine of the sample models, by rows of a batch: seconds of a run, as a load measures them.

Prints a table and writes ``build/bench/engines.json``.

``python -m bench.engines [--threads N]``
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from rondo_inference.engines.runtimes import Engines, open_engines
from rondo_inference.registry.folder_files import read_folder
from rondo_inference.registry.proving import Proved, proved_engine
from rondo_local.environments import checkout

MODELS = checkout() / "build" / "models"
SAMPLES = ("digits", "breast-cancer")
NAMES = ("onnxruntime", "litert", "tensorflow")
PACKAGES = ("ai-edge-litert", "numpy", "onnxruntime", "tensorflow-cpu")


def measured(engines: Engines, models: Path) -> dict[str, Proved]:
    """Return what a load of each sample model finds out."""
    return {name: proved_engine(read_folder(models / name / "1"), engines) for name in SAMPLES}


def table(found: dict[str, Proved]) -> Table:
    """Return microseconds of a run, and who computes batches of that size."""
    shown = Table("model", "rows", *NAMES, "computes", title="microseconds of a run")
    for model, proved in found.items():
        for rows, seconds in proved.seconds.items():
            winner = next(name for most, name in proved.choice.by_rows if rows <= most)
            cells = [f"{seconds[name] * 1e6:.0f}" if name in seconds else "" for name in NAMES]
            shown.add_row(model, str(rows), *cells, winner)
    return shown


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="that one run may use")
    threads = parser.parse_args().threads
    found = measured(open_engines(",".join(NAMES), threads=threads, copies=1, largest=64), MODELS)
    Console(width=100).print(table(found))
    for model, proved in found.items():
        for name, reason in proved.choice.dropped.items():
            print(f"{model} without {name}: {reason}")
    machine.write_report(
        "engines",
        machine.versions(*PACKAGES),
        {
            "seconds": {model: proved.seconds for model, proved in found.items()},
            "by_rows": {model: proved.choice.by_rows for model, proved in found.items()},
        },
    )


if __name__ == "__main__":
    main()
