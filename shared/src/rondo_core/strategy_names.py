"""Which strategies there are, and the parts that they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rondo_core.strategy_parameters import client_weights, column_rules, server_optimizers

__all__ = [
    "CLIENT_WEIGHTS",
    "COLUMN_RULES",
    "COMPOSED",
    "DEFAULT_PARTS",
    "PARTS",
    "SERVER_OPTIMIZERS",
    "STRATEGIES",
    "Parts",
]

CLIENT_WEIGHTS: Mapping[str, type[client_weights.Weighting]] = MappingProxyType(
    {
        "adaptive-clip": client_weights.AdaptiveClip,
        "bulyan": client_weights.Bulyan,
        "clip": client_weights.Clip,
        "equal": client_weights.Equal,
        "examples": client_weights.Examples,
        "fednova": client_weights.FedNova,
        "fltrust": client_weights.FLTrust,
        "krum": client_weights.Krum,
        "multi-krum": client_weights.MultiKrum,
        "scaffold": client_weights.Scaffold,
        "staleness": client_weights.Staleness,
    }
)
"""Client weights -> their parameters."""

COLUMN_RULES: Mapping[str, type[column_rules.Combining]] = MappingProxyType(
    {
        "bulyan": column_rules.NearMedian,
        "centred-clip": column_rules.CentredClip,
        "geometric-median": column_rules.GeometricMedian,
        "mean": column_rules.Nothing,
        "median": column_rules.Nothing,
        "trimmed-mean": column_rules.TrimmedMean,
    }
)
"""Column rules -> their parameters."""

SERVER_OPTIMIZERS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "adagrad": server_optimizers.Adagrad,
        "adam": server_optimizers.Adam,
        "momentum": server_optimizers.Momentum,
        "none": server_optimizers.Step,
        "yogi": server_optimizers.Yogi,
    }
)
"""Server optimizers -> their parameters."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The names of the three parts."""

    client_weights: str
    column_rule: str
    server_optimizer: str = "none"


STRATEGIES: Mapping[str, Parts] = MappingProxyType(
    {
        "adaptive-clipped-mean": Parts("adaptive-clip", "mean"),
        "bulyan": Parts("bulyan", "bulyan"),
        "centred-clip": Parts("equal", "centred-clip"),
        "clipped-mean": Parts("clip", "mean"),
        "equal-mean": Parts("equal", "mean"),
        "fedadagrad": Parts("examples", "mean", "adagrad"),
        "fedadam": Parts("examples", "mean", "adam"),
        "fedavg": Parts("examples", "mean"),
        "fedavgm": Parts("examples", "mean", "momentum"),
        "fedbuff": Parts("staleness", "mean"),
        "fednova": Parts("fednova", "mean"),
        "fedyogi": Parts("examples", "mean", "yogi"),
        "fltrust": Parts("fltrust", "mean"),
        "geometric-median": Parts("examples", "geometric-median"),
        "krum": Parts("krum", "mean"),
        "median": Parts("equal", "median"),
        "multi-krum": Parts("multi-krum", "mean"),
        "scaffold": Parts("scaffold", "mean"),
        "trimmed-mean": Parts("equal", "trimmed-mean"),
    }
)
"""Strategy -> its parts."""

COMPOSED = "composed"
"""The strategy whose parts are parameters: ``client_weights``, ``column_rule``, …"""

PARTS: Mapping[str, Mapping[str, type[Any]]] = MappingProxyType(
    {
        "client_weights": CLIENT_WEIGHTS,
        "column_rule": COLUMN_RULES,
        "server_optimizer": SERVER_OPTIMIZERS,
    }
)
"""Part -> those that there are."""

DEFAULT_PARTS: Mapping[str, str] = MappingProxyType(
    {"client_weights": "examples", "column_rule": "mean", "server_optimizer": "none"}
)
"""Part -> the one that `COMPOSED` takes where its parameters name none."""
