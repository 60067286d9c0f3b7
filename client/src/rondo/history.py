"""What a client did in a run: one entry a round, and how it all ended."""

from pathlib import Path
from typing import Literal, Self

import msgspec

from rondo.files import write_whole
from rondo_core.client_wire import Assignment, Entered
from rondo_core.rows import RunState

__all__ = ["Attempt", "Journal", "Result", "RoundResult", "Verdict"]

_SETTLED_KEPT = 100

Verdict = Literal["accepted", "rejected", "late", "unknown"]
"""``unknown``: the round went on before the client heard how its update was judged."""


class Attempt(msgspec.Struct, frozen=True):
    """Names one attempt of a round."""

    run_id: str
    round: int
    attempt: int

    @classmethod
    def of(cls, assignment: Assignment) -> Self:
        """Return the attempt that a client was assigned to."""
        return cls(assignment.run_id, assignment.round, assignment.attempt)

    @property
    def name(self) -> str:
        """As the poll's parameter ``done`` spells it.

        >>> Attempt("r", 2, 1).name
        'r/2/1'
        """
        return f"{self.run_id}/{self.round}/{self.attempt}"


class RoundResult(msgspec.Struct, frozen=True, kw_only=True):
    """One client's part in one round.

    Attributes:
        run_id: the run.
        round: counted from 1.
        attempt: 1, or 2 after the first attempt of the round was aborted.
        verdict: what became of the update.
        reason: why it was not accepted.
        metrics: what this client measured, on its held-out part, of the version that the round
            started from.
        federation: the same of all clients together, counted by examples; known one round later.
        examples: how many this client trained on.
        seconds: of measuring and training.
        entered: the later attempt that the update went into when its own round was sealed, where
            the run takes late updates.
    """

    run_id: str
    round: int
    attempt: int
    verdict: Verdict
    reason: str | None = None
    metrics: dict[str, float] = {}
    federation: dict[str, float] = {}
    examples: int = 0
    seconds: float = 0.0
    entered: Entered | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, as one client saw it.

    Attributes:
        run_id: the run.
        state: FINISHED, FAILED or CANCELLED.
        reason: in the federation's words, for example "promoted as version 3".
        rounds: this client's part, in order.
    """

    run_id: str
    state: RunState
    reason: str | None = None
    rounds: tuple[RoundResult, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the run's last version is the one that is served now.

        >>> Result(run_id="r", state="FINISHED", reason="promoted as version 3").promoted
        True
        """
        return self.state == "FINISHED" and (self.reason or "").startswith("promoted")


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known again after a restart.

    Attributes:
        run_id: the run that the client is in, None between runs.
        settled: the last attempts that need nothing more from this client, oldest first.
        rounds: what was done in them.
    """

    run_id: str | None = None
    settled: tuple[str, ...] = ()
    rounds: tuple[RoundResult, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file that `save` wrote; an absent or unreadable one is an empty journal."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (FileNotFoundError, msgspec.MsgspecError):
            return cls()

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; lost power costs a table's rows, nothing else."""
        write_whole(path, msgspec.json.encode(self), durable=False)

    def begun(self, assignment: Assignment) -> Self:
        """Return the journal with the assignment's run, and the news that it brings.

        An assignment carries what all clients measured in the round before it. Its run takes the
        place of an earlier one, whose end may never be heard of.
        """
        rounds = tuple(
            msgspec.structs.replace(entry, federation=assignment.metrics)
            if (entry.run_id, entry.round) == (assignment.run_id, assignment.round - 1)
            else entry
            for entry in self.rounds
        )
        return msgspec.structs.replace(self, run_id=assignment.run_id, rounds=rounds)

    def with_round(self, entry: RoundResult) -> Self:
        """Return the journal with one more attempt settled.

        The one that a late update was entered into needs nothing more from this client either.
        """
        settled = [Attempt(entry.run_id, entry.round, entry.attempt).name]
        if (later := entry.entered) is not None:
            settled.append(Attempt(entry.run_id, later.round, later.attempt).name)
        return msgspec.structs.replace(
            self,
            settled=(*self.settled[-_SETTLED_KEPT:], *settled),
            rounds=(*self.rounds, entry),
        )
