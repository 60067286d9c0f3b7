"""Hand in an update that is on disk, and hear how it was judged."""

from dataclasses import dataclass
from pathlib import Path

from rondo.client_calls import ClientCalls
from rondo.errors import Contradicted, LinkRefused, Missing
from rondo.history import Verdict
from rondo.store_link import StoreLink
from rondo.updates import Pending
from rondo_core.client_wire import Entered, Receipt
from rondo_core.clock import Clock

__all__ = ["LINKS", "Outcome", "submit"]

LINKS = 3
"""Fresh links asked for one after the other, before a store that refuses them all is an error."""
JUDGE_SECONDS = 120.0
"""After this long without a verdict the next round matters more; the update still counts."""
LATE = "late"
REPORTED_BEFORE = "already-reported"
_VERDICTS: dict[str, Verdict] = {"ACCEPTED": "accepted", "REJECTED": "rejected"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an update, and why where it was not accepted.

    ``entered`` is the later attempt that it went into, where the run takes late updates.
    """

    verdict: Verdict
    reason: str | None = None
    entered: Entered | None = None


def submit(
    pending: Pending, file: Path, *, calls: ClientCalls, store: StoreLink, clock: Clock
) -> Outcome:
    """Declare, upload, report, and wait for the verdict; any step may have been done before.

    Raises:
        GatewayError: the gateway refuses for another reason than that the round went on.
        LinkRefused: the store refuses even fresh links.
        Unavailable: patience ended.
    """
    try:
        receipt = _handed_in(pending, file, calls, store)
        end = clock.monotonic() + JUDGE_SECONDS
        while receipt.state not in _VERDICTS and clock.monotonic() < end:
            receipt = calls.receipt(pending.attempt)
    except Missing as exc:  # the attempt is gone, and with it whatever it waited for
        return Outcome("late", str(exc))
    except Contradicted as exc:
        if exc.code != LATE:
            raise
        return Outcome("late", str(exc))
    if receipt.code == LATE:
        return Outcome("late", receipt.reason)
    return Outcome(_VERDICTS.get(receipt.state, "unknown"), receipt.reason, receipt.entered)


def _handed_in(pending: Pending, file: Path, calls: ClientCalls, store: StoreLink) -> Receipt:
    for links_left in reversed(range(LINKS)):
        try:
            declared = calls.declare(pending.attempt, pending.declaration)
        except Contradicted as exc:
            if exc.code != REPORTED_BEFORE:
                raise
            return calls.receipt(pending.attempt)  # other bytes of ours are judged
        if declared.receipt.state != "DECLARED":
            return declared.receipt
        try:
            store.upload(file, declared.upload)
        except LinkRefused:
            if links_left:
                continue
            raise
        return calls.report(pending.attempt, pending.declaration.sha256)
    raise AssertionError
