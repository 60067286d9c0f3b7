"""Messages that nobody can read end as dead letters that say why, and the run goes on."""

import json
import threading
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from rondo_core.operator_wire import RunView
from rondo_core.weights import digest, layout_of_file
from rondo_local.stack import Stack
from tests.e2e.bad_clients import declaration, put, told
from tests.e2e.bad_crowd import invited
from tests.e2e.bad_files import good
from tests.e2e.bad_messages import open_messages, without
from tests.e2e.people import (
    PATIENCE_SECONDS,
    SoftmaxRegression,
    await_run,
    check_every_round,
    digits,
    people,
    run_requested,
    start_run,
)

pytestmark = pytest.mark.timeout(600)

DEADLINE_SECONDS = 6.0
"""Of the round in which one client is late; the other needs a fraction of it."""


class Stray(NamedTuple):
    """A message, the service that finds it in its queue, and why it is a dead letter."""

    body: str
    service: str
    reason: str


REQUEST = run_requested("stray-1", model="noise")
PROGRESS = {"run_id": "nobodys", "rounds": 1, "round": 1, "attempt": 1}
ON_THE_TOPIC = (
    Stray(without(REQUEST, "specversion"), "dispatcher", "required field `specversion`"),
    Stray(without(REQUEST, "type"), "dispatcher", "required field `type`"),
    Stray(
        json.dumps({**REQUEST, "type": "RunRequired"}),
        "dispatcher",
        "unknown event type 'RunRequired'; known: ",
    ),
    Stray(
        json.dumps({**REQUEST, "data": {"model": "noise", "rounds": -1}}),
        "dispatcher",
        "Expected `int` >= 1, found -1 - at `$.data.rounds`",
    ),
    Stray(
        json.dumps({**REQUEST, "subject": "../stray"}),
        "dispatcher",
        "found '../stray' - at `$.subject`",
    ),
    Stray(
        json.dumps({**REQUEST, "type": "UpdateSubmitted", "data": {"round": 1}}),
        "aggregator",
        "required field `attempt` - at `$.data`",
    ),
    Stray(
        json.dumps(
            {
                **REQUEST,
                "type": "RoundRequested",
                "subject": "nobodys",
                "data": {"state": PROGRESS, "task_token": "token"},
            }
        ),
        "dispatcher",
        "nobodys",
    ),
)
IN_A_QUEUE = (
    Stray("RunRequested", "dispatcher", "not a CloudEvents 1.0 message: JSON is malformed"),
    Stray(json.dumps(REQUEST), "evaluator", "RunRequested is not for this queue"),
    Stray('{"a":' * 20_000, "aggregator", "nested too deeply"),
)


def test_strange_messages_in_the_middle_of_a_round_are_dead_letters_that_say_why(
    stack: Stack, tmp_path: Path
) -> None:
    released = threading.Event()
    trainer = SoftmaxRegression(digits(1, 5), before=lambda _: released.wait(PATIENCE_SECONDS))
    (owner,) = people(stack, tmp_path, {"north": trainer}, model="noise")
    start_run(stack, "noise-1", model="noise", rounds=1, target=1)
    await_run(stack, "noise-1", partial(_round_is, "OPEN"))

    with open_messages(stack) as messages:
        for stray in ON_THE_TOPIC:
            messages.publish(stray.body)
        for stray in IN_A_QUEUE:
            messages.send(stray.service, stray.body)
        strays = (*ON_THE_TOPIC, *IN_A_QUEUE)
        reasons = {
            service: messages.reasons(
                service, [stray.body for stray in strays if stray.service == service]
            )
            for service in {stray.service for stray in strays}
        }
    released.set()

    for stray in strays:
        assert stray.reason in reasons[stray.service][stray.body]
    assert owner.next_result().state == "FINISHED"
    assert check_every_round(stack, "noise-1") == 1


def test_update_that_comes_after_the_seal_is_late_and_the_round_went_on_without_it(
    stack: Stack, tmp_path: Path
) -> None:
    (owner,) = people(stack, tmp_path, {"north": SoftmaxRegression(digits(1, 5))}, model="punctual")
    update = "/v1/runs/late-1/rounds/1/attempts/1/update"
    with httpx.Client(base_url=stack.gateway_url, timeout=60) as http:
        late = invited(stack, http, "punctual", ["late"])["late"]
        start_run(
            stack, "late-1", model="punctual", rounds=1, target=2, deadline_seconds=DEADLINE_SECONDS
        )
        base = httpx.get(late.assignment().base.url, timeout=60).raise_for_status()
        data = good(layout_of_file(base.content))
        link = late.declare(update, data)
        await_run(stack, "late-1", partial(_round_is, "COMMITTED"))

        uploaded = put(link, data)
        report = told(late.call("POST", f"{update}/report", {"sha256": digest(data)}))
        again = told(late.call("PUT", update, declaration(data, sha256="0" * 64)))

    assert uploaded.status == httpx.codes.OK
    assert (report.status, report.code) == (409, "late")
    assert (again.status, again.code) == (409, "late")
    assert report.message == "round 1 attempt 1 of late-1 is COMMITTED and takes no more updates"
    assert owner.next_result().state == "FINISHED"
    assert check_every_round(stack, "late-1") == 1


def _round_is(state: str, view: RunView) -> bool:
    return bool(view.attempts) and view.attempts[0].state == state
