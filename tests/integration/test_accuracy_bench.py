"""The accuracy bench on a few made-up pictures, with the real trainer and the real strategies."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import __main__ as program
from bench.accuracy.data import Data, Examples
from bench.accuracy.federation import Federation
from bench.accuracy.models import NIID_CNN
from bench.accuracy.results import read_results
from bench.accuracy.settings import Protocol, Setting
from rondo.keras_training import LocalTraining

ROUNDS = 3
SETTINGS = {one.name: one for one in Protocol(epochs=2, rounds=ROUNDS).settings}
BYTES = {"float32": 178_464, "int8": 46_000, "top-k:0.1": 35_700}
"""About how long a file of the 44,426 parameters is."""


def examples(number: int, seed: int) -> Examples:
    """Return noisy pictures with a bright row for each label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number, dtype=np.int32) % 10
    pictures = rng.uniform(0, 60, (number, 28, 28, 1)).astype(np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        picture[4 + 2 * label : 6 + 2 * label] = 255
    return Examples(pictures, labels)


@pytest.fixture(scope="module")
def data() -> Data:
    return Data(examples(800, 0), examples(100, 1))


@pytest.fixture(scope="module")
def training() -> LocalTraining:
    return LocalTraining(NIID_CNN)


def played(setting: Setting, data: Data, training: LocalTraining, seed: int = 0) -> Federation:
    federation = Federation(setting, seed, data, training)
    while not federation.over:
        federation.play()
    return federation


@pytest.mark.parametrize("name", [one for one in SETTINGS if not one.startswith("mnist")])
def test_every_setting_plays_its_rounds_and_counts_its_bytes(
    name: str, data: Data, training: LocalTraining
) -> None:
    found = played(SETTINGS[name], data, training).progress

    assert len(found.accuracy) == ROUNDS
    assert found.updates == 10 * ROUNDS
    expected = BYTES.get(SETTINGS[name].encoding)
    if expected is not None:
        assert found.bytes_up / found.updates == pytest.approx(expected, rel=0.02)


def test_a_federation_learns_what_its_clients_hold(data: Data, training: LocalTraining) -> None:
    plain = replace(SETTINGS["fedavg-iid"], training={"epochs": 10}, rounds=6)

    accuracy = played(plain, data, training).progress.accuracy

    assert max(accuracy) > 0.9
    assert accuracy[0] < max(accuracy)


def test_a_run_ends_when_it_is_good_enough(data: Data, training: LocalTraining) -> None:
    easy = replace(SETTINGS["fedavg-iid"], until=0.01)

    assert len(played(easy, data, training).progress.accuracy) == 1


def test_only_those_that_are_chosen_hand_in(data: Data, training: LocalTraining) -> None:
    few = replace(SETTINGS["fedavg-iid"], chosen=3)

    assert played(few, data, training).progress.updates == 3 * ROUNDS


@pytest.mark.parametrize(
    "name", ["fedadam-dirichlet", "scaffold-dirichlet", "encoding-int8", "encoding-top-k:0.01"]
)
def test_what_was_saved_in_the_middle_goes_on_to_the_same_end(
    name: str, data: Data, training: LocalTraining, tmp_path: Path
) -> None:
    whole = played(SETTINGS[name], data, training).progress
    begun = Federation(SETTINGS[name], 0, data, training)
    begun.play()
    begun.save(tmp_path / "run.npz")

    later = Federation(SETTINGS[name], 0, data, training)
    later.load(tmp_path / "run.npz")
    while not later.over:
        later.play()

    assert later.progress.accuracy == whole.accuracy
    assert later.progress.bytes_up == whole.bytes_up


def test_a_program_whose_time_is_up_leaves_its_run_to_the_next_one(
    data: Data, training: LocalTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    setting, told = SETTINGS["fedavg-iid"], list[int]()
    first, second = (Federation(setting, 0, data, training) for _ in range(2))
    first.play()

    assert not program.run(first, -math.inf, told.append)
    assert read_results(tmp_path, setting, [0]) == []
    assert program.run(second, math.inf, told.append)

    (found,) = read_results(tmp_path, setting, [0])
    assert found.accuracy == played(setting, data, training).progress.accuracy
    assert told == [1, 2, 3]
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_seeds_differ_in_all_that_is_drawn(data: Data, training: LocalTraining) -> None:
    setting = replace(SETTINGS["fedavg-iid"], training={"epochs": 10})
    first, second = (played(setting, data, training, seed).progress for seed in (0, 1))

    assert first.accuracy != second.accuracy
