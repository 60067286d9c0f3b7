"""An organisation's own strategy: one file and an entry point, and what it may do wrong."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rondo_aggregator.adapters.own_strategies import GROUP, installed_strategy
from rondo_core.errors import StrategyInvalid
from rondo_core.events import Scalar
from tests.architecture.packages import ROOT
from tests.unit.rondo_aggregator.aggregator_world import World, seal_three
from tests.unit.rondo_aggregator.played_rounds import columns
from tests.unit.rondo_aggregator.round_rows import CLIENTS

Installer = Callable[[str, str], None]

HEAD = """
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Settings:
    share: float = 0.5


"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    """Return what installs a module that offers a strategy, as pip would."""

    def install(module: str, source: str) -> None:
        folder = tmp_path / module
        information = folder / f"{module}-1.0.dist-info"
        information.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source)
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n"
        )
        offered = f"[{GROUP}]\nacme.{module} = {module}:combine\n"
        (information / "entry_points.txt").write_text(offered)
        monkeypatch.syspath_prepend(folder)

    return install


def documented() -> str:
    """Return the strategy of docs/strategies.md."""
    page = (ROOT / "docs" / "strategies.md").read_text()
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


def of_three(world: World, strategy: str, parameters: dict[str, Scalar]) -> None:
    world.open_round()
    for client, values in zip(CLIENTS, ([1.0] * 7, [3.0] * 7, [90.0] * 7), strict=True):
        world.submit(client, columns(*values))
    world.judge(*CLIENTS)
    world.seal()
    world.write_manifest(strategy, parameters)
    world.combine()


def test_the_documented_strategy_runs_in_a_round_and_has_twenty_lines(
    world: World, offer: Installer
) -> None:
    source = documented()
    offer("tempered", source)

    of_three(world, "acme.tempered", {"limit": 4.0})

    assert world.round().reason is None
    assert world.weights().tolist() == [pytest.approx((1 + 3 + 4) / 3)] * 7
    assert len(source.splitlines()) <= 20


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('no idea')", "raised RuntimeError: no idea"),
        ("return deltas[0] * np.nan", "gave a value that is not finite"),
        ("return deltas", r"gave shape \(3, 7\) for 7 columns"),
        ("return 'model'", "raised ValueError: could not convert string to float"),
    ],
)
def test_a_strategy_that_goes_wrong_ends_the_round_with_the_reason(
    world: World, offer: Installer, body: str, reason: str
) -> None:
    module = f"wrong{len(body)}"
    rule = f"def combine(deltas, weights, parameters: Settings):\n    {body}\n"
    offer(module, HEAD + rule)

    of_three(world, f"acme.{module}", {})

    found = world.round().reason or ""
    assert re.match(f"cannot be combined: strategy 'acme.{module}' {reason}", found)
    assert world.head == 0


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"{HEAD}def combine(deltas, weights, parameters):\n    return deltas[0]\n", "a dataclass"),
        ("import nothing_of_this_name\n", "cannot be loaded: No module named"),
        ("answer = 42\n", "cannot be loaded"),
    ],
)
def test_a_strategy_that_cannot_be_used_is_refused(
    offer: Installer, source: str, reason: str
) -> None:
    module = f"unfit{len(source)}"
    offer(module, source)

    with pytest.raises(StrategyInvalid, match=reason):
        installed_strategy(f"acme.{module}", {})


def test_its_parameters_are_checked_by_its_own_class(offer: Installer) -> None:
    offer("exact", f"{HEAD}def combine(deltas, weights, parameters: Settings):\n    return 0\n")

    with pytest.raises(StrategyInvalid, match=r"'acme\.exact': share: Expected `float`, got `str`"):
        installed_strategy("acme.exact", {"share": "half"})
    with pytest.raises(StrategyInvalid, match=r"'acme\.exact' has no parameter 'part'"):
        installed_strategy("acme.exact", {"part": 0.5})


def test_a_strategy_that_is_not_installed_ends_the_round_with_the_reason(world: World) -> None:
    seal_three(world)
    world.write_manifest("acme.absent", {})

    world.combine()

    assert "strategy 'acme.absent' is not installed" in (world.round().reason or "")
