"""What the demo's operator does in its container, with a gateway and an inference of ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from rondo_core.errors import Unavailable
from rondo_core.events import RunRequested
from rondo_core.operator_wire import ModelView, RunView, VersionView
from rondo_core.settings import Secret
from rondo_core.testing import MemoryBus
from rondo_local.demo import containers
from rondo_local.demo.data import Labelled, load

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = containers.Settings(
    rondo_url="http://gateway:8080",
    rondo_token=Secret("token"),
    rondo_inference_url="http://inference:8081",
    demo_rounds=2,
)


@dataclass
class Operator:
    """A gateway's operator whose runs end at once."""

    bus: MemoryBus
    promotes: bool = True
    registered: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    @property
    def run_id(self) -> str:
        (event,) = self.bus.published
        return event.run_id

    def register_model(self, spec: object, x: NDArray[np.float32], y: NDArray[np.int64]) -> str:
        self.registered.append(f"{spec}: {len(x)} and {len(y)}")
        return "0a" * 32

    def model(self, name: str) -> ModelView:
        owners = ["ambulance-1", "bank-1", "clinic-1", "dentist-1"]
        promoted: Mapping[str, Any] = {}
        if self.bus.published and self.promotes:
            promoted = {"champion": 1, "champion_run": self.run_id}
        return ModelView(model=name, specs=[], clients=owners, **promoted)

    def runs(self) -> list[RunView]:
        return [self.view(0)]

    def watch(self, run_id: str, *, poll_seconds: float) -> Iterator[RunView]:
        assert (run_id, poll_seconds) == (self.run_id, 0.5)
        yield from (self.view(0), self.view(0), self.view(1), self.view(2))

    def view(self, head: int) -> RunView:
        versions = [
            VersionView(
                version=number + 1,
                sha256="0a" * 32,
                updates=4,
                examples=100,
                metrics={"accuracy": 0.25 * number},
                committed_at=NOW,
            )
            for number in range(head)
        ]
        return RunView(
            run_id=self.run_id,
            model="digits",
            spec="0a" * 32,
            strategy="fedavg",
            state="RUNNING",
            rounds=2,
            target=4,
            quorum=3,
            head=head,
            requested_at=NOW,
            versions=versions,
        )


@dataclass
class World:
    """Everybody whom the programs talk to."""

    operator: Operator
    asked: list[str] = field(default_factory=list)

    def ask(self, url: str, champion: int, holdout: Labelled) -> NDArray[np.int64]:
        self.asked.append(f"{url} for version {champion}")
        return holdout.y


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    bus = MemoryBus()
    world = World(Operator(bus))
    monkeypatch.setattr(
        containers, "connect", lambda _: SimpleNamespace(publish=lambda _: bus.publish)
    )
    monkeypatch.setattr(containers, "ask", world.ask)
    monkeypatch.setattr("rondo.Operator", lambda *_: world.operator)
    addresses: tuple[str, list[str], list[str]] = ("inference", [], ["10.0.0.7", "10.0.0.9"])
    monkeypatch.setattr("socket.gethostbyname_ex", lambda _: addresses)
    return world


def test_the_model_spec_comes_with_the_holdout(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    containers.register(SETTINGS, "/model.json")

    size = len(load().holdout.y)
    assert world.operator.registered == [f"/model.json: {size} and {size}"]
    assert capsys.readouterr().out == f"registered model spec {'0a' * 32}\n"


def test_one_message_starts_the_run_and_every_replica_is_asked(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    containers.conduct(SETTINGS)

    (event,) = world.operator.bus.published
    assert isinstance(event, RunRequested)
    assert (event.rounds, event.target, event.quorum) == (2, 4, 3)
    assert world.asked == [
        "http://10.0.0.7:8081 for version 1",
        "http://10.0.0.9:8081 for version 1",
    ]
    assert capsys.readouterr().out.splitlines()[1:4] == [
        "RUNNING round 0/2",
        "RUNNING round 1/2, accuracy 0%",
        "RUNNING round 2/2, accuracy 25%",
    ]


def test_a_run_whose_version_is_not_promoted_is_a_failure(world: World) -> None:
    world.operator.promotes = False

    with pytest.raises(Unavailable, match="was not promoted"):
        containers.conduct(SETTINGS)
