"""What is run: the published settings, each with what its authors report."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from bench.accuracy.models import MCMAHAN_CNN, NIID_CNN
from bench.accuracy.partition import Partition, by_dirichlet, by_labels, evenly
from rondo_core.events import Scalar
from rondo_core.model_spec import ModelSpec

__all__ = [
    "MODELS",
    "SPLITS",
    "DataName",
    "Protocol",
    "Published",
    "Setting",
    "encodings",
    "mnist",
    "niid",
]

DataName = Literal["fashion-mnist", "mnist"]
SplitName = Literal["iid", "dirichlet 0.5", "2 labels"]

MODELS: Mapping[DataName, ModelSpec] = {"fashion-mnist": NIID_CNN, "mnist": MCMAHAN_CNN}
SPLITS: Mapping[SplitName, Partition] = {
    "iid": evenly,
    "dirichlet 0.5": by_dirichlet(0.5),
    "2 labels": by_labels(2),
}
ENCODINGS = ("float16", "bfloat16", "int8", "top-k:0.1", "top-k:0.01")
ENCODING_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Published:
    """What others report: percent of test pictures recognised, mean and standard deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A federation, but for the seed.

    Attributes:
        name: unique, and the start of its files' names.
        algorithm: as papers call it.
        data: what is learned.
        split: how it is split among the clients.
        strategy: of the server, with `parameters`.
        training: what every client trains with, where the model's spec says otherwise.
        clients: how many there are.
        chosen: how many take part in a round.
        rounds: at most.
        until: accuracy at which the run ends earlier; above 1 for never.
        encoding: of the updates.
        published: what the protocol's authors, or who ran it again, report; None for nothing.
    """

    name: str
    algorithm: str
    data: DataName
    split: SplitName
    strategy: str = "fedavg"
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    training: Mapping[str, Scalar] = field(default_factory=dict)
    clients: int = 10
    chosen: int = 10
    rounds: int = 50
    until: float = 2.0
    encoding: str = "float32"
    published: Published | None = None

    @property
    def label(self) -> str:
        """What a picture calls it."""
        return f"{self.algorithm}, {self.split}"


def niid(*, epochs: int, rounds: int) -> list[Setting]:
    """Return the settings of NIID-Bench on Fashion-MNIST (the protocol: 10 epochs, 50 rounds).

    Published are the figures of Flower's rerun (baselines/niid_bench): 10 clients, all of them in
    each round, batches of 64, SGD with momentum 0.9, the best accuracy of all rounds.

    Source: Li et al., 2022 (arXiv:2102.02079).
    """
    plain = Setting(
        name="fedavg-dirichlet",
        algorithm="FedAvg",
        data="fashion-mnist",
        split="dirichlet 0.5",
        training={"epochs": epochs},
        rounds=rounds,
        published=Published(88.09, 0.29),
    )
    iid = replace(plain, name="fedavg-iid", split="iid", published=Published(89.23, 0.45))
    labels = replace(
        plain, name="fedavg-labels", split="2 labels", published=Published(78.10, 2.51)
    )
    prox = replace(
        plain,
        name="fedprox-dirichlet",
        algorithm="FedProx, μ = 0.01",
        training={"epochs": epochs, "proximal_mu": 0.01},
        published=Published(88.15, 0.42),
    )
    scaffold = replace(
        plain,
        name="scaffold-dirichlet",
        algorithm="SCAFFOLD",
        strategy="scaffold",
        parameters={"population": plain.clients},
        published=Published(88.44, 0.25),
    )
    nova = replace(
        plain,
        name="fednova-dirichlet",
        algorithm="FedNova",
        strategy="fednova",
        published=Published(88.22, 0.12),
    )
    adam = replace(
        plain,
        name="fedadam-dirichlet",
        algorithm="FedAdam, η = 0.01",
        strategy="fedadam",
        parameters={"server_learning_rate": 0.01},
        published=None,
    )
    return [iid, plain, labels, prox, scaffold, nova, adam]


def encodings(*, epochs: int, rounds: int) -> list[Setting]:
    """Return FedAvg at Dirichlet 0.5 with each encoding but float32, which is in `niid`."""
    (plain,) = (one for one in niid(epochs=epochs, rounds=rounds) if one.name == "fedavg-dirichlet")
    return [
        replace(
            plain,
            name=f"encoding-{encoding}",
            algorithm=encoding,
            encoding=encoding,
            published=None,
        )
        for encoding in ENCODINGS
    ]


def mnist() -> list[Setting]:
    """Return McMahan's IID setting of E = 5, B = 10, C = 0.1 for 100 clients, until 99 %.

    Source: McMahan et al., 2017, Table 2 (arXiv:1602.05629).
    """
    return [
        Setting(
            name="mnist-cnn-iid",
            algorithm="FedAvg",
            data="mnist",
            split="iid",
            training={"epochs": 5},
            clients=100,
            chosen=10,
            rounds=60,
            until=0.99,
        )
    ]


@dataclass(frozen=True)
class Protocol:
    """What is run of the published protocols.

    Attributes:
        epochs: local ones on Fashion-MNIST; 10 as published.
        rounds: on Fashion-MNIST; 50 as published.
    """

    epochs: int
    rounds: int

    @cached_property
    def niid(self) -> list[Setting]:
        """Algorithms and splits on Fashion-MNIST."""
        return niid(epochs=self.epochs, rounds=self.rounds)

    @cached_property
    def encodings(self) -> list[Setting]:
        """Encodings on Fashion-MNIST."""
        return encodings(epochs=self.epochs, rounds=min(self.rounds, ENCODING_ROUNDS))

    @cached_property
    def mnist(self) -> list[Setting]:
        """Rounds to an accuracy on MNIST."""
        return mnist()

    @property
    def settings(self) -> list[Setting]:
        """Everything, in the order in which it is run."""
        return [*self.niid, *self.encodings, *self.mnist]
