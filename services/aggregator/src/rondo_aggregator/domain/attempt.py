"""Which attempt of which round of which run, and where its rows are."""

from dataclasses import dataclass

from rondo_core import keys
from rondo_core.run_store import Key

__all__ = ["SERVICE", "Attempt"]

SERVICE = "aggregator"
"""The service's name in the topology, its events and its outbox."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a round.

    >>> Attempt("digits", 3, 1).event_id("UpdateAccepted", "ada")
    'UpdateAccepted/digits/3/1/ada'
    """

    run_id: str
    round: int
    attempt: int

    @property
    def key(self) -> Key:
        """Key of the ROUND row."""
        return keys.round_key(self.run_id, self.round, self.attempt)

    @property
    def updates(self) -> tuple[str, str]:
        """Partition of the attempt, and what the sort keys of its UPD rows start with."""
        return keys.attempt_pk(self.run_id, self.round, self.attempt), keys.UPDATE_PREFIX

    def update_key(self, client_id: str) -> Key:
        """Key of a client's UPD row."""
        return keys.update_key(self.run_id, self.round, self.attempt, client_id)

    def gate_key(self, client_id: str) -> Key:
        """Key of the gate that counts a client."""
        gate = keys.gate_of(client_id)
        return keys.gate_key(self.run_id, self.round, self.attempt, gate)

    def event_id(self, kind: str, client_id: str | None = None) -> str:
        """Name an event of this attempt: the same fact always has the same name."""
        parts = (kind, self.run_id, str(self.round), str(self.attempt))
        return "/".join(parts if client_id is None else (*parts, client_id))
