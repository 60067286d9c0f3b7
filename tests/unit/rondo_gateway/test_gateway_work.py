from collections.abc import Callable

import pytest

from rondo_core.keys import round_key, version_key
from rondo_core.run_store import Delete
from rondo_gateway.handlers import archive
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import RUN, SIZE, Client
from tests.unit.rondo_gateway.gateway_world import World, poll, refused, wait_while


@pytest.fixture
def client(world: World) -> Client:
    """Return a client of a run whose first round waits for clients."""
    client = world.enrolled()
    world.begun()
    world.round(state="PENDING")
    return client


def test_a_client_is_told_what_to_do_as_soon_as_the_round_opens(
    world: World, http: Http, client: Client
) -> None:
    world.version(0, sha256="d" * 64, metrics={"loss": 2.5})
    call = poll(http, client)

    response = http.run(wait_while(http, world, call, lambda: world.round(client)))

    assignment = response.json()["assignment"]
    url = assignment["base"].pop("url")
    assert assignment == {
        "run_id": RUN,
        "round": 1,
        "attempt": 1,
        "rounds": 3,
        "model": "digits",
        "spec": "a" * 64,
        "layout": "b" * 64,
        "base": {"version": 0, "sha256": "d" * 64, "size": SIZE},
        "seed": 7,
        "training": {"epochs": 2},
        "deadline_at": "2026-01-02T03:05:45Z",
        "metrics": {"loss": 2.5},
        "needs_steps": False,
        "encoding": "float32",
        "controlled": False,
        "control": None,
    }
    assert f"versions/{'d' * 64}" in url


@pytest.mark.parametrize(("strategy", "needed"), [("fednova", True), ("fedavg", False)])
def test_clients_are_told_whether_the_run_needs_their_steps(
    world: World, http: Http, client: Client, strategy: str, *, needed: bool
) -> None:
    world.version(0)
    world.round(client, strategy=strategy)

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert answer["assignment"]["needs_steps"] is needed


def test_clients_of_a_scaffold_are_given_the_control_variate_once_there_is_one(
    world: World, http: Http
) -> None:
    client = world.enrolled()
    world.begun()
    world.objects.put(f"slots/{'e' * 64}", b"variate")
    answers = []

    for number, control in ((1, None), (2, "e" * 64)):
        world.version(number - 1, control=control)
        world.round(client, number=number, strategy="scaffold", parameters={"population": 9})
        query = {"done": f"{RUN}/1/1"} if number > 1 else {}
        answer = http.get("/v1/work", headers=client.headers(), params=query).json()
        answers.append(answer["assignment"])

    assert [answer["controlled"] for answer in answers] == [True, True]
    assert answers[0]["control"] is None
    url = answers[1]["control"].pop("url")
    assert answers[1]["control"] == {"version": 1, "sha256": "e" * 64, "size": SIZE}
    assert world.links.get(url) == (200, b"variate")


def test_the_link_to_the_base_version_reads_it(world: World, http: Http, client: Client) -> None:
    world.objects.put(f"versions/{'d' * 64}", b"weights")
    world.version(0, sha256="d" * 64)
    world.round(client)

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert world.links.get(answer["assignment"]["base"]["url"]) == (200, b"weights")


def test_each_chosen_client_gets_its_own_seed_and_the_others_nothing(
    world: World, http: Http, client: Client
) -> None:
    second, third = world.enrolled("south-00000002"), world.enrolled("west-00000003")
    world.round(client, second)

    answers = [
        http.get("/v1/work", headers=one.headers()).json()["assignment"]
        for one in (client, second, third)
    ]

    assert [answer and answer["seed"] for answer in answers] == [7, 8, None]


def test_an_assignment_that_was_written_for_a_client_that_was_not_chosen_does_not_count(
    world: World, http: Http, client: Client
) -> None:
    second = world.enrolled("south-00000002")
    world.round(client, second)
    world.change(round_key(RUN, 1, 1), clients=[second.client_id])

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert answer["assignment"] is None


def test_without_news_a_poll_ends_empty(world: World, http: Http, client: Client) -> None:
    response = http.get("/v1/work", params={"wait": "0.01"}, headers=client.headers())

    assert response.json() == {"assignment": None, "run_state": None, "reason": None}
    assert world.door.watcher.closed is False


def test_what_is_done_is_not_given_again_but_the_next_attempt_is(
    world: World, http: Http, client: Client
) -> None:
    world.round(client)
    call = poll(http, client, done=f"{RUN}/1/1")

    def try_again() -> None:
        world.sealed("ABORTED")
        world.round(client, attempt=2)

    response = http.run(wait_while(http, world, call, try_again))

    assert response.json()["assignment"]["attempt"] == 2


def test_what_was_reported_before_the_gateway_started_is_not_given_again(
    world: World, http: Http, client: Client
) -> None:
    world.round(client)
    world.update(client, state="REPORTED")

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert answer["assignment"] is None


def test_what_was_only_declared_is_given_again(world: World, http: Http, client: Client) -> None:
    world.round(client)
    world.update(client, state="DECLARED")

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert answer["assignment"]["round"] == 1


@pytest.mark.parametrize("done", ["run-1", "run-1/1", "run-1/one/1", "run-1/1/1/1", "//"])
def test_a_malformed_done_is_refused(http: Http, client: Client, done: str) -> None:
    response = http.get("/v1/work", params={"done": done}, headers=client.headers())

    refused(response, 422, "invalid-attempt")


@pytest.mark.parametrize("wait", ["-1", "soon", "nan"])
def test_a_malformed_wait_is_refused(http: Http, client: Client, wait: str) -> None:
    response = http.get("/v1/work", params={"wait": wait}, headers=client.headers())

    refused(response, 422, "invalid-parameter")


def test_an_assignment_is_not_given_after_its_deadline(
    world: World, http: Http, client: Client
) -> None:
    world.round(client)
    world.clock.advance(100)

    answer = http.get("/v1/work", headers=client.headers(world.clock.now())).json()

    assert answer["assignment"] is None


def test_of_two_open_rounds_the_one_that_ends_first_is_given_first(
    world: World, http: Http, client: Client
) -> None:
    world.begun("run-2")
    world.round(client, run_id="run-2")
    world.clock.advance(1)
    world.round(client)

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert answer["assignment"]["run_id"] == "run-2"


def test_a_round_of_another_model_is_not_given_to_a_client_of_the_same_id(
    world: World, http: Http, client: Client
) -> None:
    world.begun("run-2", model="hearts")
    world.round(client, run_id="run-2", model="hearts")

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert answer["assignment"] is None


def test_an_index_that_is_behind_gives_no_assignment_of_a_sealed_round(
    world: World, http: Http, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.round(client)
    stale = world.store.active("round")
    world.sealed()
    monkeypatch.setattr(world.store, "active", lambda _: stale)

    answer = http.get("/v1/work", headers=client.headers()).json()

    assert answer["assignment"] is None


def break_base_version(world: World) -> None:
    world.store.commit(Delete(version_key("run-0", 0)))


def break_index(world: World) -> None:
    world.change(round_key("run-0", 1, 1), round="one")


@pytest.mark.parametrize("break_it", [break_base_version, break_index])
def test_one_run_that_cannot_be_read_does_not_stop_the_others(
    world: World,
    http: Http,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    break_it: Callable[[World], None],
) -> None:
    world.begun("run-0")
    world.round(client, run_id="run-0")
    break_it(world)
    world.round(client)

    answers = [http.get("/v1/work", headers=client.headers()).json() for _ in range(3)]

    assert {answer["assignment"]["run_id"] for answer in answers} == {RUN}
    assert [one.message for one in caplog.records].count("row skipped") == 1


def test_the_archive_forgets_the_oldest_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CAPACITY", 1)
    for number in (0, 1):
        world.version(number)
    kept = archive.Archive(world.store, world.objects)

    versions = [kept.version(RUN, number).version for number in (0, 0, 1, 1, 0)]

    assert versions == [0, 0, 1, 1, 0]
    assert [what[-1] for what in world.store.reads] == ["0", "1", "0"]
