"""What a client concludes from what the gateway tells it."""

import pytest

from rondo_core.client_wire import Outcome
from rondo_core.rows import RoundState, UpdateState


@pytest.mark.parametrize(
    ("round_state", "update_state", "counted"),
    [
        ("COMMITTED", "ACCEPTED", True),
        ("ABORTED", "ACCEPTED", False),
        ("COMMITTED", "REJECTED", False),
        ("OPEN", "REJECTED", False),
        ("COMMITTED", "DECLARED", False),
        ("COMMITTED", None, False),
        ("OPEN", None, False),
        ("OPEN", "ACCEPTED", None),
        ("SEALED", "ACCEPTED", None),
        ("PENDING", "REPORTED", None),
        ("OPEN", "DECLARED", None),
        ("COMMITTED", "REPORTED", None),
        ("ABORTED", "REPORTED", None),
    ],
)
def test_whether_an_update_counted_is_not_known_while_it_may_change(
    *, round_state: RoundState, update_state: UpdateState | None, counted: bool | None
) -> None:
    outcome = Outcome(round_state=round_state, update_state=update_state)

    assert outcome.counted is counted
