"""One round in which a client for every way to be wrong speaks before two owners do their work."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

import rondo
from rondo_core.client_wire import Receipt
from rondo_core.operator_wire import RunView
from rondo_core.weights import digest, layout_of_file
from rondo_local.stack import Stack
from tests.e2e.bad_calls import DECLARATIONS, TOKENS, UPLOADS
from tests.e2e.bad_clients import StrangeClient, Told, break_off, declaration, enrol, put, told
from tests.e2e.bad_files import FILES, good
from tests.e2e.people import (
    PATIENCE_SECONDS,
    SPEC,
    SoftmaxRegression,
    await_run,
    digits,
    people,
    start_run,
)

__all__ = ["CROWD", "Crowd", "gather", "invited"]

CROWD = "crowd-1"
UPDATE = f"/v1/runs/{CROWD}/rounds/1/attempts/1/update"
REPORT = f"{UPDATE}/report"
OTHER = {"sha256": "0" * 64}

Answers = dict[tuple[str, str], Told]
"""What was told, by table and case."""


@dataclass(frozen=True)
class Crowd:
    """What became of the round.

    Attributes:
        answers: what was told to whoever was wrong at once.
        receipts: client's name -> how its update stood, each time it heard of it.
        ids: client's name -> its id.
        run: as it ended.
    """

    answers: Answers
    receipts: Mapping[str, Sequence[Receipt]]
    ids: Mapping[str, str]
    run: RunView


def gather(stack: Stack, folder: Path) -> Crowd:
    """Start the run, let everybody speak, then let the owners train, and await the end."""
    released = threading.Event()
    trainers = {
        name: SoftmaxRegression(digits(part, 5), before=lambda _: released.wait(PATIENCE_SECONDS))
        for part, name in enumerate(("north", "south"), start=1)
    }
    owners = people(stack, folder, trainers, model="crowd")
    with httpx.Client(base_url=stack.gateway_url, timeout=60) as http:
        clients = invited(stack, http, "crowd", [*FILES, "clumsy", "forgetful", "repeater"])
        target = len(clients) + len(owners)
        start_run(stack, CROWD, model="crowd", rounds=1, target=target, quorum=2)
        answers, receipts = _speak(stack, http, clients)
        released.set()
        ids = {name: client.client_id for name, client in clients.items()}
    for owner in owners:
        owner.next_result()
    return Crowd(
        answers, receipts, ids, await_run(stack, CROWD, lambda run: run.state != "RUNNING")
    )


def invited(
    stack: Stack, http: httpx.Client, model: str, names: Sequence[str]
) -> dict[str, StrangeClient]:
    """Enrol clients for a model."""
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        invites = operator.invites(model, len(names))
    return {name: enrol(http, code, name) for name, code in zip(names, invites, strict=True)}


def _speak(
    stack: Stack, http: httpx.Client, clients: Mapping[str, StrangeClient]
) -> tuple[Answers, dict[str, list[Receipt]]]:
    base = httpx.get(clients["repeater"].assignment().base.url, timeout=60).raise_for_status()
    layout = layout_of_file(base.content)
    data = good(layout)
    answers = _refusals(clients["repeater"], clients["clumsy"], data)
    answers |= _strangers(stack, http, data)
    receipts = {}
    for case, bad in FILES.items():
        receipts[case] = [_hand_in(clients[case], bad.make(layout))]
    clients["forgetful"].declare(UPDATE, data)
    receipts["forgetful"] = [clients["forgetful"].report(UPDATE, data)]
    receipts["clumsy"] = [_clumsy(clients["clumsy"], data, answers)]
    receipts["repeater"] = _repeater(clients["repeater"], data, answers)
    for name, heard in receipts.items():
        heard.append(clients[name].verdict(UPDATE))
    return answers, receipts


def _refusals(named: StrangeClient, thief: StrangeClient, data: bytes) -> Answers:
    """Let one client say everything that is refused before there is a declaration."""
    answers: Answers = {}
    for case, token in TOKENS.items():
        answer = named.call("PUT", UPDATE, declaration(data), token=token.make(named, thief))
        answers["token", case] = told(answer)
    for case, bad in DECLARATIONS.items():
        body = bad.body if isinstance(bad.body, bytes) else declaration(data, **bad.body)
        answers["declaration", case] = told(named.call("PUT", UPDATE, body))
    undeclared = named.call("POST", REPORT, {"sha256": digest(data)})
    elsewhere = named.call("PUT", UPDATE.replace("rounds/1", "rounds/2"), declaration(data))
    answers["call", "report-of-nothing"] = told(undeclared)
    answers["call", "another-round"] = told(elsewhere)
    answers["call", "as-operator"] = told(named.call("POST", "/v1/runs", {"model": "crowd"}))
    return answers


def _strangers(stack: Stack, http: httpx.Client, data: bytes) -> Answers:
    """Let two enrolled clients speak who have no part in the round."""
    scans = digits(0, 5)
    with rondo.Operator(stack.gateway_url, stack.operator_token) as operator:
        operator.register_model({**SPEC, "model": "elsewhere"}, scans.x, scans.y)
    latecomer = invited(stack, http, "crowd", ["latecomer"])["latecomer"]
    foreigner = invited(stack, http, "elsewhere", ["foreigner"])["foreigner"]
    return {
        ("call", "not-chosen"): told(latecomer.call("PUT", UPDATE, declaration(data))),
        ("call", "of-another-model"): told(foreigner.call("PUT", UPDATE, declaration(data))),
    }


def _hand_in(client: StrangeClient, data: bytes) -> Receipt:
    """Do everything as it should be done, whatever the file is."""
    answer = put(client.declare(UPDATE, data), data)
    assert answer.status == httpx.codes.OK, answer
    return client.report(UPDATE, data)


def _clumsy(client: StrangeClient, data: bytes, answers: Answers) -> Receipt:
    """Fail with every upload but the last."""
    upload = client.declare(UPDATE, data)
    for case, bad in UPLOADS.items():
        answers["upload", case] = put(upload, bad.make(data))
    break_off(upload, data)
    answers["upload", "good"] = put(upload, data)
    answers["upload", "again"] = put(upload, data)
    return client.report(UPDATE, data)


def _repeater(client: StrangeClient, data: bytes, answers: Answers) -> list[Receipt]:
    """Report again and again, and not always the same."""
    upload = client.declare(UPDATE, data)
    answers["call", "empty-report"] = told(client.call("POST", REPORT, b""))
    answers["call", "report-of-another"] = told(client.call("POST", REPORT, OTHER))
    put(upload, data)
    first, second = client.report(UPDATE, data), client.report(UPDATE, data)
    verdict = client.verdict(UPDATE)
    again = declaration(data, **OTHER)
    answers["call", "second-update"] = told(client.call("PUT", UPDATE, again))
    answers["call", "second-report"] = told(client.call("POST", REPORT, OTHER))
    return [first, second, verdict, client.report(UPDATE, data)]
