"""A whole federation in one process: the SDK's training, the aggregator's combining, no queue."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from bench.accuracy.data import Data, Examples
from bench.accuracy.server import Server, Update, combined
from bench.accuracy.settings import MODELS, SPLITS, Setting
from rondo.controls import Correction
from rondo.encoded import encoded
from rondo.keras_training import LocalTraining
from rondo.trainer import RoundTask
from rondo.updates import Base
from rondo_aggregator.strategies.combination import CONTROL
from rondo_aggregator.strategies.registry import named
from rondo_core.encodings import form_of
from rondo_core.encodings.names import TOP_K
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.layout import Float32Array, Layout

__all__ = ["Federation", "Progress"]


class Progress(msgspec.Struct, kw_only=True):
    """What is measured.

    Attributes:
        accuracy: share of the test pictures that each version recognises, after every round.
        bytes_up: of all updates of all rounds.
        updates: how many these were.
        seconds: of the processor.
    """

    accuracy: list[float] = []
    bytes_up: int = 0
    updates: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Client:
    """What a client keeps between rounds; None before its first.

    Attributes:
        variate: SCAFFOLD's c_k, float32 (size,).
        left: what top-k left out of its last update, float32 (size,).
    """

    variate: Float32Array | None = None
    left: Float32Array | None = None


@dataclass(slots=True)
class Federation:
    """A setting with a seed: of the split, of the first weights, and of all that is drawn.

    Attributes:
        setting: what is run.
        seed: of it.
        data: of the setting.
        training: of the setting's model; may be shared.
    """

    setting: Setting
    seed: int
    data: Data
    training: LocalTraining
    progress: Progress = field(default_factory=Progress)
    _server: Server = field(init=False)
    _clients: list[_Client] = field(init=False)
    _parts: list[Examples] = field(init=False)

    def __post_init__(self) -> None:
        spec = msgspec.structs.replace(MODELS[self.setting.data], seed=self.seed)
        self._server = Server(initial_weights(spec))
        self._clients = [_Client() for _ in range(self.setting.clients)]
        split = SPLITS[self.setting.split]
        positions = split(self.data.train.targets, self.setting.clients, self._rng(0))
        self._parts = [self.data.train.at(mine) for mine in positions]

    @property
    def over(self) -> bool:
        """Whether the last round was played, or the accuracy that was wanted is reached."""
        found = self.progress.accuracy
        return len(found) >= self.setting.rounds or max(found, default=0.0) >= self.setting.until

    def play(self) -> None:
        """Play a round: choose, train, combine, measure.

        Raises:
            Invalid: an update is not finite, or the strategy refuses the round.
        """
        began = time.process_time()
        number = self._server.step + 1
        setting = self.setting
        chosen = np.sort(self._rng(number).permutation(setting.clients)[: setting.chosen])
        updates = [self._update(int(client), number) for client in chosen]
        strategy = named(setting.strategy, setting.parameters, owned=lambda _: None)
        self._server = combined(strategy, self._server, updates)
        layout = layout_of_spec(MODELS[setting.data])
        weights = layout.to_arrays(self._server.weights)
        test = self.data.test
        scores = self.training.evaluate(weights, test.inputs, test.targets)
        self.progress.accuracy.append(scores.get("accuracy", 0.0))  # none of a version of NaN
        self.progress.seconds += time.process_time() - began

    def save(self, path: Path) -> None:
        """Write all that the next round depends on."""
        arrays = {"weights": self._server.weights}
        arrays |= {f"slot {name}": array for name, array in self._server.slots.items()}
        for number, client in enumerate(self._clients):
            if client.variate is not None:
                arrays[f"variate {number}"] = client.variate
            if client.left is not None:
                arrays[f"left {number}"] = client.left
        kept = self.progress, self._server.scalars, self._server.step
        arrays["kept"] = np.frombuffer(msgspec.json.encode(kept), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".new").open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stubs know no names
        path.with_suffix(".new").rename(path)

    def load(self, path: Path) -> None:
        """Go on where a federation of the same setting and seed was saved."""
        with np.load(path) as found:
            arrays = dict(found)
        kept = tuple[Progress, dict[str, float], int]
        data = arrays.pop("kept").tobytes()
        self.progress, scalars, step = msgspec.json.decode(data, type=kept)
        slots = {}
        for key, array in arrays.items():
            kind, _, name = key.partition(" ")
            match kind:
                case "slot":
                    slots[name] = array
                case "variate":
                    self._clients[int(name)].variate = array
                case "left":
                    self._clients[int(name)].left = array
        self._server = Server(arrays["weights"], slots, scalars, step)

    def _update(self, number: int, round_: int) -> Update:
        base = Base(layout_of_spec(MODELS[self.setting.data]), self._server.weights)
        correction = self._correction(number) if self.setting.strategy == "scaffold" else None
        task = RoundTask(
            run_id=self.setting.name,
            round=round_,
            rounds=self.setting.rounds,
            seed=int(self._rng(round_, number).integers(2**31)),
            training=self.setting.training,
            drift=None if correction is None else base.layout.to_arrays(correction.drift),
        )
        part = self._parts[number]
        trained = self.training.train(base.weights, task, part.inputs, part.targets)
        delta = base.delta(trained.weights)
        if correction is not None and trained.steps is not None:
            self._clients[number].variate = correction.after(delta, trained.steps)
        arrived = self._arrived(number, round_, base.layout, delta)
        return Update(number, arrived, trained.examples, trained.steps)

    def _correction(self, number: int) -> Correction:
        zeros = np.zeros_like(self._server.weights)
        own = self._clients[number].variate
        return Correction(zeros if own is None else own, self._server.slots.get(CONTROL, zeros))

    def _arrived(
        self, number: int, round_: int, layout: Layout, delta: Float32Array
    ) -> Float32Array:
        client, form = self._clients[number], form_of(layout, self.setting.encoding)
        update = encoded(form, delta, (self.seed, round_, number, 1), client.left)
        if form.name == TOP_K:
            client.left = update.left
        self.progress.bytes_up += len(update.data)
        self.progress.updates += 1
        return update.delta

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])
