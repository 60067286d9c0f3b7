"""What the demo and its owners' process tell each other, by files; light, unlike the owners."""

import msgspec

__all__ = ["BASELINES_FILE", "ORDERS_FILE", "Baselines", "Orders"]

ORDERS_FILE = "owners.json"
BASELINES_FILE = "baselines.json"


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the owners' process is told.

    Attributes:
        gateway_url: where to join.
        invites: owner -> invite code.
        spec: path of the model spec.
        rounds: of the run; the baselines train as long.
        seed: of the parting of the data.
    """

    gateway_url: str
    invites: dict[str, str]
    spec: str
    rounds: int
    seed: int


class Baselines(msgspec.Struct, frozen=True, kw_only=True):
    """Share of the holdout that is recognised by models trained without a federation.

    Attributes:
        alone: owner -> the share, trained on its own data only.
        pooled: the share, trained on everybody's data in one place.
    """

    alone: dict[str, float]
    pooled: float
