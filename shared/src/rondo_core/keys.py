"""Where each row is: partitions, sort keys, and which gate counts a client."""

import hashlib
from datetime import UTC, datetime

from rondo_core.run_store import Key

__all__ = [
    "ASSIGN_PREFIX",
    "CHAMPION",
    "GATES",
    "GATE_PREFIX",
    "MODELS_PK",
    "OPERATOR_KEY",
    "ROUND_PREFIX",
    "RUNS_PK",
    "UPDATE_PREFIX",
    "VERSION_PREFIX",
    "alias_key",
    "aside_key",
    "aside_pk",
    "assign_key",
    "attempt_pk",
    "attempts_of",
    "client_key",
    "gate_key",
    "gate_of",
    "head_key",
    "invite_key",
    "model_pk",
    "model_row_key",
    "outbox_key",
    "outbox_pk",
    "round_key",
    "run_key",
    "run_pk",
    "run_pointer_key",
    "spec_row_key",
    "update_key",
    "version_key",
]

GATES = 16
MODELS_PK = "MODELS"
"""Partition that lists the models."""
RUNS_PK = "RUNS"
"""Partition that lists the runs, ascending by the time they were asked for."""
CHAMPION = "champion"

ROUND_PREFIX = "ROUND#"
VERSION_PREFIX = "VERSION#"
"""What the sort keys of a run's attempts and versions start with."""

GATE_PREFIX = "GATE#"
ASSIGN_PREFIX = "ASSIGN#"
UPDATE_PREFIX = "UPD#"
"""What the sort keys of an attempt's gates, assignments and updates start with."""

OPERATOR_KEY = Key("OPERATOR", "TOKEN")


def run_pk(run_id: str) -> str:
    """Partition of a run: how it stands, its attempts and its versions."""
    return f"RUN#{run_id}"


def model_pk(model: str) -> str:
    """Partition of everything of a model."""
    return f"MODEL#{model}"


def outbox_pk(service: str) -> str:
    """Partition of a service's unpublished events."""
    return f"OUTBOX#{service}"


def aside_pk(service: str) -> str:
    """Partition of a service's events that the topic refused."""
    return f"ASIDE#{service}"


def run_key(run_id: str) -> Key:
    """Key of the run's META row."""
    return Key(run_pk(run_id), "META")


def head_key(run_id: str) -> Key:
    """Key of the run's HEAD row."""
    return Key(run_pk(run_id), "HEAD")


def version_key(run_id: str, version: int) -> Key:
    """Key of a version's row."""
    return Key(run_pk(run_id), f"{VERSION_PREFIX}{version:06d}")


def round_key(run_id: str, round_: int, attempt: int) -> Key:
    """Key of an attempt's ROUND row, which is beside those of the run's other attempts."""
    partition, prefix = attempts_of(run_id, round_)
    return Key(partition, f"{prefix}{attempt:02d}")


def attempts_of(run_id: str, round_: int) -> tuple[str, str]:
    """Partition, and what the sort keys start with, of the ROUND rows of one round."""
    return run_pk(run_id), f"{ROUND_PREFIX}{round_:06d}#"


def attempt_pk(run_id: str, round_: int, attempt: int) -> str:
    """Partition of an attempt's gates, assignments and updates.

    It is the attempt's alone, so that reading them costs the same in every round, and the writes of
    a run's many clients do not all go to the partition of the run.
    """
    return "#".join(round_key(run_id, round_, attempt))


def gate_of(client_id: str) -> int:
    """Return which of the ``GATES`` gates counts a client.

    >>> 0 <= gate_of("hospital-a") < GATES
    True
    """
    return int.from_bytes(hashlib.sha256(client_id.encode()).digest(), "big") % GATES


def gate_key(run_id: str, round_: int, attempt: int, gate: int) -> Key:
    """Key of a gate."""
    return Key(attempt_pk(run_id, round_, attempt), f"{GATE_PREFIX}{gate:02d}")


def assign_key(run_id: str, round_: int, attempt: int, client_id: str) -> Key:
    """Key of an assignment."""
    return Key(attempt_pk(run_id, round_, attempt), f"{ASSIGN_PREFIX}{client_id}")


def update_key(run_id: str, round_: int, attempt: int, client_id: str) -> Key:
    """Key of an update."""
    return Key(attempt_pk(run_id, round_, attempt), f"{UPDATE_PREFIX}{client_id}")


def spec_row_key(model: str, spec: str) -> Key:
    """Key of a registered model spec."""
    return Key(model_pk(model), f"SPEC#{spec}")


def model_row_key(model: str) -> Key:
    """Key of a model's entry in the list of models."""
    return Key(MODELS_PK, model)


def run_pointer_key(run_id: str, requested_at: datetime) -> Key:
    """Key of a run's entry in the list of runs; ``requested_at`` is timezone-aware.

    >>> run_pointer_key("run-1", datetime(2026, 1, 2, tzinfo=UTC)).sk
    '2026-01-02T00:00:00.000000Z#run-1'
    """
    return Key(RUNS_PK, f"{requested_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}#{run_id}")


def alias_key(model: str, label: str = CHAMPION) -> Key:
    """Key of an alias."""
    return Key(model_pk(model), f"ALIAS#{label}")


def invite_key(model: str, code: str) -> Key:
    """Key of an invite, by the code that was handed out."""
    return Key(model_pk(model), f"INVITE#{hashlib.sha256(code.encode()).hexdigest()}")


def client_key(model: str, client_id: str) -> Key:
    """Key of an enrolled client."""
    return Key(model_pk(model), f"CLIENT#{client_id}")


def outbox_key(service: str, event_id: str) -> Key:
    """Key of an event that a service still has to publish."""
    return Key(outbox_pk(service), event_id)


def aside_key(service: str, event_id: str) -> Key:
    """Key of an event that the topic refused."""
    return Key(aside_pk(service), event_id)
