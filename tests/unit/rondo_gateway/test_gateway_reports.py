import pytest

from rondo_core.events import UpdateSubmitted
from rondo_core.keys import update_key
from rondo_core.rows import RoundState, UpdateRow
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import OTHER_SHA, RUN, SHA, Client
from tests.unit.rondo_gateway.gateway_world import World, declare, refused, update_url

ROW = update_key(RUN, 1, 1, "north-00000001")
OUTCOME = f"/v1/runs/{RUN}/rounds/1/attempts/1/outcome"
OBJECT = f"updates/{RUN}/000001/01/north-00000001/{SHA}"


@pytest.fixture
def client(world: World) -> Client:
    """Return a client that was chosen for round 1, which is open."""
    client = world.enrolled()
    world.begun()
    world.round(client)
    return client


def test_a_report_becomes_a_row_and_an_event(world: World, http: Http, client: Client) -> None:
    declare(http, client)
    world.clock.advance(3)

    response = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    row = world.row(ROW, UpdateRow)
    assert response.status_code == 202
    assert response.json()["state"] == row.state == "REPORTED"
    assert (row.reported_at - row.declared_at).total_seconds() == 3
    assert row.metrics == {"accuracy": 0.5}
    assert world.bus.published == [
        UpdateSubmitted(
            event_id="UpdateSubmitted/run-1/1/1/north-00000001",
            run_id=RUN,
            occurred_at=world.clock.now(),
            round=1,
            attempt=1,
            client_id=client.client_id,
            sha256=SHA,
        )
    ]


def test_the_same_report_again_gets_the_same_receipt_and_tells_again(
    world: World, http: Http, client: Client
) -> None:
    declare(http, client)
    first = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())
    before = world.row(ROW, UpdateRow)
    world.clock.advance(1)

    again = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    assert again.json() == first.json()
    assert world.row(ROW, UpdateRow) == before
    assert len({event.event_id for event in world.bus.published}) == 1


def test_a_report_whose_event_got_lost_is_repeated_with_success(
    world: World, http: Http, client: Client
) -> None:
    declare(http, client)
    world.topic_down = True
    lost = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())
    world.topic_down = False

    again = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    refused(lost, 503, "unavailable")
    assert again.status_code == 202
    assert len(world.bus.published) == 1


@pytest.mark.parametrize("state", ["ACCEPTED", "REJECTED"])
def test_a_report_after_the_verdict_gets_the_verdict_and_tells_nobody(
    world: World, http: Http, client: Client, state: str
) -> None:
    world.update(client, state=state)

    response = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    assert response.json()["state"] == state
    assert world.bus.published == []


def test_a_report_of_another_digest_than_declared_is_refused(
    world: World, http: Http, client: Client
) -> None:
    declare(http, client)

    response = http.post(
        update_url("/report"), json={"sha256": OTHER_SHA}, headers=client.headers()
    )

    refused(response, 409, "other-digest")
    assert world.row(ROW, UpdateRow).state == "DECLARED"


def test_a_report_of_another_digest_than_reported_is_refused(
    world: World, http: Http, client: Client
) -> None:
    world.update(client, state="REPORTED")

    response = http.post(
        update_url("/report"), json={"sha256": OTHER_SHA}, headers=client.headers()
    )

    refused(response, 409, "already-reported")


def test_a_report_without_a_declaration_is_refused(
    world: World, http: Http, client: Client
) -> None:
    response = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    refused(response, 409, "not-declared")
    assert world.bus.published == []


@pytest.mark.parametrize("declared", [False, True])
def test_a_late_report_is_refused(
    world: World, http: Http, client: Client, *, declared: bool
) -> None:
    if declared:
        declare(http, client)
    world.sealed()

    response = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    refused(response, 409, "late")
    assert world.bus.published == []


def test_a_report_between_two_declarations_is_to_be_sent_again(
    world: World, http: Http, client: Client
) -> None:
    world.store.before_commit = lambda: world.update(client, state="DECLARED", sha256=OTHER_SHA)
    world.store.after_conflict = lambda: world.update(client, state="DECLARED", sha256=SHA)

    response = http.post(update_url("/report"), json={"sha256": SHA}, headers=client.headers())

    refused(response, 503, "unavailable")
    assert world.bus.published == []


@pytest.mark.parametrize(
    ("round_state", "update_state"),
    [("OPEN", None), ("OPEN", "ACCEPTED"), ("ABORTED", "ACCEPTED"), ("COMMITTED", "REJECTED")],
)
def test_the_outcome_is_that_of_the_attempt_and_of_ones_own_update(
    world: World, http: Http, client: Client, round_state: RoundState, update_state: str | None
) -> None:
    other = world.enrolled("south-00000002")
    world.round(client, other, state=round_state)
    world.update(other, state="REPORTED")
    if update_state is not None:
        world.update(client, state=update_state)

    answer = http.get(OUTCOME, headers=client.headers())

    assert answer.json() == {"round_state": round_state, "update_state": update_state}


def test_who_was_not_chosen_is_told_no_outcome(world: World, http: Http, client: Client) -> None:
    stranger = world.enrolled("east-00000009")

    refused(http.get(OUTCOME, headers=stranger.headers()), 403, "not-chosen")
    later = http.get(OUTCOME.replace("rounds/1", "rounds/2"), headers=client.headers())
    refused(later, 404, "not-found")
