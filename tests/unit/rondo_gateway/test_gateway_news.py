import asyncio

import httpx
import pytest

from rondo_core.keys import round_key, run_key, version_key
from rondo_core.run_store import Delete
from rondo_gateway.handlers import work
from rondo_gateway.web import watcher
from tests.unit.rondo_gateway.gateway_http import Http, turns_until
from tests.unit.rondo_gateway.gateway_rows import RUN, SHA, Client
from tests.unit.rondo_gateway.gateway_world import (
    LONG,
    World,
    poll,
    refused,
    update_url,
    wait_while,
)


@pytest.fixture
def client(world: World) -> Client:
    """Return a client of a run whose first round waits for clients."""
    client = world.enrolled()
    world.begun()
    world.round(state="PENDING")
    return client


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "CANCELLED"])
def test_whoever_named_a_run_hears_that_it_is_over(
    world: World, http: Http, client: Client, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(watcher, "QUIET_SECONDS", 0.001)
    world.store.commit(Delete(round_key(RUN, 1, 1)))
    call = poll(http, client, run=RUN)

    def end() -> None:
        world.clock.advance(work.RUN_LOOK_SECONDS)
        world.change(run_key(RUN), state=state, reason="promoted as version 3")

    response = http.run(wait_while(http, world, call, end))

    assert response.json()["run_state"] == state
    assert response.json()["reason"] == "promoted as version 3"


@pytest.mark.parametrize("state", ["RUNNING", "PAUSED"])
def test_a_run_that_goes_on_is_no_news(
    world: World, http: Http, client: Client, state: str
) -> None:
    world.begun(state=state)

    answer = http.get("/v1/work", params={"run": RUN}, headers=client.headers()).json()

    assert answer == {"assignment": None, "run_state": None, "reason": None}


def test_a_run_that_nobody_knows_yet_is_no_news(world: World, http: Http, client: Client) -> None:
    call = poll(http, client, run="run-9")

    def begin() -> None:
        world.clock.advance(work.RUN_LOOK_SECONDS)
        world.begun("run-9", state="FAILED", reason="no such strategy")

    response = http.run(wait_while(http, world, call, begin))

    assert response.json()["reason"] == "no such strategy"


def test_an_assignment_comes_before_the_end_of_another_run(
    world: World, http: Http, client: Client
) -> None:
    world.begun("run-0", state="FINISHED")
    world.round(client)

    answer = http.get("/v1/work", params={"run": "run-0"}, headers=client.headers()).json()

    assert answer["assignment"]["run_id"] == RUN


def test_a_verdict_is_told_as_soon_as_it_is_a_row(world: World, http: Http, client: Client) -> None:
    world.round(client)
    world.update(client, state="REPORTED")
    call = poll(http, client, update_url())

    def reject() -> None:
        world.update(client, state="REJECTED", code="not-finite", reason="NaN in dense/kernel")

    response = http.run(wait_while(http, world, call, reject))

    receipt = response.json()
    assert (receipt["state"], receipt["code"]) == ("REJECTED", "not-finite")
    assert receipt["reason"] == "NaN in dense/kernel"


def test_a_verdict_is_told_also_when_the_round_has_left_the_index(
    world: World, http: Http, client: Client
) -> None:
    world.round(client, state="COMMITTED", active=False)
    world.update(client, state="ACCEPTED")

    receipt = http.get(update_url(), headers=client.headers()).json()

    assert receipt["state"] == "ACCEPTED"


@pytest.mark.parametrize("state", ["DECLARED", "REPORTED"])
def test_without_a_verdict_the_poll_says_how_things_stand(
    world: World, http: Http, client: Client, state: str
) -> None:
    world.update(client, state=state)

    receipt = http.get(update_url(), headers=client.headers()).json()

    assert (receipt["state"], receipt["sha256"]) == (state, SHA)


def test_the_verdict_on_nothing_is_not_found(world: World, http: Http, client: Client) -> None:
    world.update(world.enrolled("south-00000002"))

    response = http.get(update_url(), headers=client.headers())

    refused(response, 404, "not-found")


def test_ten_who_wait_cost_as_much_as_one(world: World, http: Http, client: Client) -> None:
    clients = [client, *(world.enrolled(f"client-{number}") for number in range(9))]
    calls = [poll(http, one, run=RUN) for one in clients]

    async def all_wait() -> list[httpx.Response]:
        waiting = [asyncio.create_task(http.client.send(call)) for call in calls]
        await turns_until(lambda: world.door.watcher.waiting.total() == len(calls))
        world.store.reads.clear()
        await turns_until(lambda: len(world.store.reads) >= 20)
        assert set(world.store.reads) == {"active round"}
        world.round(*clients)
        return [await one for one in waiting]

    responses = http.run(all_wait())

    assert [one.json()["assignment"]["seed"] for one in responses] == list(range(7, 17))
    loads = [what for what in world.store.reads if "ROUND#" in what]
    assert loads == [f"RUN#{RUN}#ROUND#000001#01/*"]


def test_nobody_waiting_means_no_look_at_the_table(
    world: World, http: Http, client: Client
) -> None:
    http.get("/v1/work", headers=client.headers())
    before = len(world.store.reads)

    async def idle() -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    http.run(idle())

    assert len(world.store.reads) <= before + 1


def test_a_stopping_gateway_answers_all_who_wait(world: World, http: Http, client: Client) -> None:
    world.round(client, state="PENDING")
    world.update(client, state="REPORTED")

    work_answer = http.run(wait_while(http, world, poll(http, client), world.door.watcher.close))
    verdict_answer = http.get(update_url(), params=LONG, headers=client.headers())

    assert work_answer.json()["assignment"] is None
    assert verdict_answer.json()["state"] == "REPORTED"


def test_a_table_that_does_not_answer_is_unavailable_and_then_forgotten(
    world: World, http: Http, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(watcher, "QUIET_SECONDS", 0.001)
    http.get("/v1/work", headers=client.headers())
    world.clock.advance(1)
    world.store.down = True

    async def wait_a_moment() -> httpx.Response:
        await asyncio.sleep(watcher.FRESH_SECONDS)
        return await http.client.get("/v1/work", headers=client.headers())

    down = http.run(wait_a_moment())
    world.store.down = False
    world.round(client)
    up = http.get("/v1/work", params=LONG, headers=client.headers())

    assert "rondo-table" not in refused(down, 503, "unavailable")["message"]
    assert up.json()["assignment"]["round"] == 1


def test_facts_of_a_run_are_read_once_however_many_rounds_it_has(
    world: World, http: Http, client: Client
) -> None:
    for number in (1, 2):
        world.version(number - 1)
        world.round(client, number=number)
        http.get("/v1/work", params={"done": f"{RUN}/{number}/1"}, headers=client.headers())
        world.change(round_key(RUN, number, 1), state="COMMITTED")

    reads = world.store.reads
    assert reads.count("/".join(run_key(RUN))) == 1
    assert reads.count("/".join(version_key(RUN, 0))) == 1
