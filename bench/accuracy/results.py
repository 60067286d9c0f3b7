"""What is finished: a file for each setting with each seed."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.accuracy.settings import Setting

__all__ = ["Result", "read_results", "result_path", "write_result"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A setting with a seed, when its last round was played.

    Attributes:
        setting: its name.
        seed: of it.
        accuracy: share of the test pictures that each version recognises, after every round.
        bytes_each: of an update, in the mean.
        seconds: of the processor.
    """

    setting: str
    seed: int
    accuracy: list[float]
    bytes_each: float
    seconds: float


def result_path(folder: Path, setting: Setting, seed: int) -> Path:
    """Return where a result is; a setting that says anything else in its run has another place."""
    run = dataclasses.asdict(setting)
    for words in ("algorithm", "published"):
        del run[words]
    digest = hashlib.sha256(msgspec.json.encode(run, order="sorted")).hexdigest()
    return folder / f"{setting.name}-{digest[:8]}-{seed}.json"


def write_result(path: Path, result: Result) -> None:
    """Write a result, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    new.rename(path)


def read_results(folder: Path, setting: Setting, seeds: Sequence[int]) -> list[Result]:
    """Return what is finished of a setting."""
    paths = [result_path(folder, setting, seed) for seed in seeds]
    return [msgspec.json.decode(one.read_bytes(), type=Result) for one in paths if one.exists()]
