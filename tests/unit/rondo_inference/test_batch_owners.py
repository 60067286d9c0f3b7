"""A job is its owner's: for every other key it is as if it were not there."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Unavailable
from rondo_inference.batch.wire import InputFile, NewJob
from rondo_inference.contracts.batch_jobs import LARGEST_PAYLOAD
from rondo_inference.contracts.table import AnyRoute
from rondo_inference.domain.batch_job import BatchState, job_key, job_pk, jobs_pk
from tests.unit.rondo_inference.asked import Reply, Service, running
from tests.unit.rondo_inference.batch_world import BatchWorld

ROWS = b"rooms,town\n1,Aa\nmany,Aa\n2,Bonn\n"
JOBS = "/batch/prices/jobs"
PAGE = "/page/models/prices/jobs"
ABSENT = "job0"
"""As long as the names of the jobs that there are."""

STATES: Sequence[BatchState] = (
    "WAITING",
    "SUBMITTED",
    "RUNNING",
    "COMPLETED",
    "FAILED",
    "CANCELLED",
)


def digest(key: object) -> str:
    return hashlib.sha256(str(key).encode()).hexdigest()


OF_NO_JOB = {"batch-make", "batch-list", "page-jobs", "page-job-make", "sagemaker-async"}
KEYS: Sequence[dict[str, object]] = (
    {"key": "ours", "owner": "clinic-a", "models": ["prices"]},
    {"key": "ours-next", "owner": "clinic-a", "models": ["prices"]},
    {"key": "theirs", "owner": "clinic-b", "models": ["prices"]},
    {"key": "nameless", "models": ["prices"]},
    {"key": "all"},
    {"key": "nameless-next", "owner": f"sha256:{digest('nameless')[:16]}", "models": ["prices"]},
)
OTHERS = ("theirs", "nameless", "all")


@dataclass
class Guarded:
    """A service with keys, and the world of its jobs."""

    service: Service
    world: BatchWorld

    def ask(self, key: str, method: str, target: str, body: bytes = b"", **headers: str) -> Reply:
        return self.service.ask(method, target, body, x_api_key=key, **headers)

    def make(self, key: str) -> str:
        """Make and start a job, as SageMaker's callers do."""
        path = "/endpoints/prices/async-invocations"
        assert self.ask(key, "POST", path, ROWS, content_type="text/csv").status == 202
        return self.world.orders.list("prices").jobs[0].job_id

    def listed(self, key: str) -> list[str]:
        return [job["job_id"] for job in self.ask(key, "GET", JOBS).json["jobs"]]

    def owner(self, job_id: str) -> str | None:
        return self.world.job(job_id).owner


@contextmanager
def guarded(world: BatchWorld, folder: Path) -> Iterator[Guarded]:
    entries = [{"sha256": digest(one["key"]), **one} for one in KEYS]
    for entry in entries:
        del entry["key"]
    file = folder / "keys.json"
    file.write_text(json.dumps(entries))
    with running(orders=world.orders, api_keys_file=str(file)) as service:
        service.serve(world.export)
        yield Guarded(service, world)


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld()


@pytest.fixture
def doors(world: BatchWorld, tmp_path: Path) -> Iterator[Guarded]:
    with guarded(world, tmp_path) as found:
        yield found


def in_state(world: BatchWorld, state: BatchState) -> str:
    """Make a job of clinic-a, and bring it to a state."""
    orders, alias = world.orders.of("clinic-a"), world.export.alias
    if state == "WAITING":
        wanted = NewJob(content_type="text/csv", files=[InputFile(size=len(ROWS))])
        return orders.make(alias, wanted).job_id
    data = b"town\nAa\n" if state == "FAILED" else ROWS
    job_id = orders.make_of_bytes(alias, NewJob(content_type="text/csv"), data).job_id
    if state == "CANCELLED":
        orders.cancel("prices", job_id)
    elif state != "SUBMITTED":
        world.hints.plan(job_id)
        world.step()
        if state == "COMPLETED":
            world.work()
    world.hints.waiting.clear()
    assert world.job(job_id).state == state
    return job_id


def routes_of_jobs(service: Service) -> list[AnyRoute]:
    """Return every route that is there because there are jobs, whoever adds one."""
    with running() as without:
        others = {route.name for route in without.app.admissions.routes}
    return [one for one in service.app.admissions.routes if one.name not in others]


def target(route: AnyRoute, job_id: str) -> str:
    values = {"model": "prices", "job": job_id}
    return re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda found: values[found[1]], route.pattern.pattern)


def routes_of_a_job(service: Service) -> list[AnyRoute]:
    return [one for one in routes_of_jobs(service) if "job" in one.pattern.groupindex]


def kept(world: BatchWorld, job_id: str) -> object:
    """Return all that is kept of a job."""
    keys = [key for key in world.store.keys("batch/") if job_id in key]
    return world.rows.query(job_pk(job_id)), world.rows.query(jobs_pk("prices")), keys


# --- every route ----------------------------------------------------------------------------------


def test_a_route_that_names_no_job_in_its_path_is_known_here(doors: Guarded) -> None:
    found = {one.name for one in routes_of_jobs(doors.service)}

    assert found - {one.name for one in routes_of_a_job(doors.service)} == OF_NO_JOB


@pytest.mark.parametrize("state", STATES)
def test_every_route_answers_of_anothers_job_as_of_none_and_changes_nothing(
    doors: Guarded, world: BatchWorld, state: BatchState
) -> None:
    job_id = in_state(world, state)
    before = kept(world, job_id)

    for route in routes_of_a_job(doors.service):
        for key in OTHERS:
            none = doors.ask(key, route.method, target(route, ABSENT))
            refused = doors.ask(key, route.method, target(route, job_id))
            said = refused.body.replace(job_id.encode(), ABSENT.encode())
            assert (refused.status, said) == (404, none.body), route.name
            assert (none.status, refused.headers) == (404, none.headers), route.name

    assert kept(world, job_id) == before


@pytest.mark.parametrize("key", ["ours", "ours-next"])
def test_every_route_answers_the_owner_with_any_of_their_keys(
    doors: Guarded, world: BatchWorld, key: str
) -> None:
    routes = routes_of_a_job(doors.service)

    answered = {
        route.name
        for route in routes
        for state in STATES
        if doors.ask(key, route.method, target(route, in_state(world, state))).status != 404
    }

    assert answered == {route.name for route in routes}


def test_lists_have_the_own_jobs_only(doors: Guarded) -> None:
    ours, theirs = doors.make("ours"), doors.make("theirs")

    pages = {key: doors.ask(key, "GET", PAGE).body.decode() for key in ("ours", "theirs", "all")}

    assert doors.listed("ours") == doors.listed("ours-next") == [ours]
    assert doors.listed("theirs") == [theirs]
    assert doors.listed("nameless") == doors.listed("all") == []
    assert (ours in pages["ours"], theirs in pages["ours"]) == (True, False)
    assert (ours in pages["theirs"], theirs in pages["theirs"]) == (False, True)
    assert "No job was made yet." in pages["all"]


@given(owners=st.lists(st.sampled_from(["a", "b", None]), max_size=12), most=st.integers(1, 4))
def test_pages_of_a_list_are_full_of_what_its_reader_may_see(
    owners: list[str | None], most: int
) -> None:
    world = BatchWorld()
    wanted = NewJob(content_type="text/csv", files=[InputFile(size=1)])
    made = []
    for owner in owners:
        world.clock.advance(1)
        made.append((owner, world.orders.of(owner).make(world.export.alias, wanted).job_id))

    for asker in ("a", "b", "c", None):
        own = [job_id for owner, job_id in reversed(made) if asker in {owner, None}]
        pages, before = [], None
        while True:
            page = world.orders.of(asker).list("prices", before=before, most=most)
            pages.append([job.job_id for job in page.jobs])
            if (before := page.older) is None:
                break
        assert pages == ([own[at : at + most] for at in range(0, len(own), most)] or [[]])


# --- who owns a job -------------------------------------------------------------------------------


def test_every_way_to_make_a_job_notes_whose_it_is(doors: Guarded, world: BatchWorld) -> None:
    asked = {"content_type": "text/csv", "files": [{"size": 1}]}
    chosen = {"files": [{"name": "in.csv", "size": 1}]}
    form = (
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="in.csv"\r\n\r\n'
        + ROWS
        + b"\r\n--x--\r\n"
    )

    doors.ask("ours", "POST", JOBS, json.dumps(asked).encode())
    doors.make("ours")
    doors.ask("ours", "POST", PAGE, json.dumps(chosen).encode(), content_type="application/json")
    doors.ask("ours", "POST", PAGE, form, content_type="multipart/form-data; boundary=x")

    found = [doors.owner(job.job_id) for job in world.orders.list("prices").jobs]
    assert found == ["clinic-a"] * 4


def test_a_key_without_an_owner_is_named_by_its_digest_also_for_its_successor(
    doors: Guarded, world: BatchWorld
) -> None:
    job_id = doors.make("nameless")

    assert doors.owner(job_id) == f"sha256:{digest('nameless')[:16]}"
    rows = str(kept(world, job_id))
    assert "nameless" not in rows
    assert digest("nameless") not in rows
    assert doors.listed("nameless") == doors.listed("nameless-next") == [job_id]


def test_a_key_for_all_models_has_its_own_jobs_like_any_other(doors: Guarded) -> None:
    ours, alls = doors.make("ours"), doors.make("all")

    assert doors.listed("all") == [alls]
    assert doors.listed("ours") == [ours]


def test_a_job_that_was_made_without_keys_is_no_keys(doors: Guarded, world: BatchWorld) -> None:
    wanted = NewJob(content_type="text/csv")
    job_id = world.orders.make_of_bytes(world.export.alias, wanted, ROWS).job_id
    item = world.rows.get(job_key(job_id))

    found = [doors.ask(str(one["key"]), "GET", f"{JOBS}/{job_id}").status for one in KEYS]

    assert item is not None
    assert "owner" not in item, "it is as the rows of before"
    assert found == [404] * len(KEYS)


def test_a_server_without_keys_has_everybodys_jobs(world: BatchWorld, tmp_path: Path) -> None:
    with guarded(world, tmp_path) as doors:
        ours, theirs = doors.make("ours"), doors.make("theirs")
    with running(orders=world.orders) as service:
        service.serve(world.export)
        jobs = service.ask("GET", JOBS).json["jobs"]

        assert {job["job_id"] for job in jobs} == {ours, theirs}
        assert service.ask("POST", f"{JOBS}/{ours}/cancel").status == 200


# --- inputs ---------------------------------------------------------------------------------------


def predicted(doors: Guarded, key: str, location: str, kind: str = "text/csv") -> tuple[str, str]:
    """Make a job of what lies in the store already; return its state in the end, and why."""
    wanted = json.dumps({"content_type": kind, "input": location}).encode()
    made = doors.ask(key, "POST", JOBS, wanted)
    assert made.status == 201, made.json
    doors.world.hints.plan(made.json["job_id"])
    doors.world.work()
    job = doors.world.job(made.json["job_id"])
    return job.state, str(job.reason)


@pytest.mark.parametrize(("kind", "name"), [("text/csv", "in.csv"), ("image/png", "")])
def test_what_was_sent_for_anothers_job_is_no_input(
    doors: Guarded, world: BatchWorld, kind: str, name: str
) -> None:
    job_id = in_state(world, "COMPLETED")
    folder = "s3://models/batch/inputs/"
    world.store.put(f"batch/inputs/{job_id}/in.csv", ROWS)

    none = predicted(doors, "theirs", f"{folder}{ABSENT}/{name}", kind)
    found = predicted(doors, "theirs", f"{folder}{job_id}/{name}", kind)

    assert found == (none[0], none[1].replace(ABSENT, job_id))
    assert found == ("FAILED", f"the input batch/inputs/{job_id}/{name} does not exist")


@pytest.mark.parametrize(
    ("key", "state"), [("ours-next", "COMPLETED"), ("theirs", "FAILED"), ("all", "FAILED")]
)
def test_what_is_sent_for_a_job_that_was_deleted_is_its_owners_still(
    doors: Guarded, world: BatchWorld, key: str, state: BatchState
) -> None:
    asked = json.dumps({"content_type": "text/csv", "files": [{"size": len(ROWS)}]}).encode()
    made = doors.ask("ours", "POST", JOBS, asked).json
    assert doors.ask("ours", "DELETE", f"{JOBS}/{made['job_id']}").status == 204
    (link,) = made["uploads"]
    assert world.links.put(link["url"], link["headers"], ROWS) == 200

    none = predicted(doors, key, made["input"].replace(made["job_id"], ABSENT))
    found = predicted(doors, key, made["input"])

    reason = "None" if state == "COMPLETED" else none[1].replace(ABSENT, made["job_id"])
    assert found == (state, reason)


def test_nothing_is_in_the_store_of_a_job_whose_row_could_not_be_written(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(*_: object) -> None:
        raise Unavailable("the table")

    monkeypatch.setattr(world.rows, "commit", commit)

    with pytest.raises(Unavailable):
        in_state(world, "SUBMITTED")

    assert world.store.keys("batch/") == []


def test_a_job_whose_input_could_not_be_put_is_its_owners_to_delete(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: object) -> None:
        raise Unavailable("the store")

    monkeypatch.setattr(world.store, "put", put)
    with pytest.raises(Unavailable):
        in_state(world, "SUBMITTED")
    orders = world.orders.of("clinic-a")
    (left,) = orders.list("prices").jobs

    orders.delete("prices", left.job_id)

    assert left.state == "WAITING"
    assert orders.list("prices").jobs == []


def test_what_was_sent_for_an_own_job_or_for_none_is_an_input(
    doors: Guarded, world: BatchWorld
) -> None:
    job_id = doors.make("ours")
    world.store.put("batch/inputs/mine/in.csv", ROWS)
    own, nobodys = world.job(job_id).input, "batch/inputs/mine/in.csv"

    found = [predicted(doors, "ours-next", f"s3://models/{key}")[0] for key in (own, nobodys)]

    assert found == ["COMPLETED", "COMPLETED"]


def test_how_long_anothers_input_is_is_not_told(
    doors: Guarded, world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.job(doors.make("ours")).input
    info = world.store.head(key)
    assert info is not None
    large = replace(info, size=LARGEST_PAYLOAD + 1)
    monkeypatch.setattr(world.store, "head", lambda _: large)
    header = {"x_amzn_sagemaker_inputlocation": f"s3://models/{key}", "content_type": "text/csv"}
    path = "/endpoints/prices/async-invocations"

    found = [doors.ask(one, "POST", path, b"", **header).status for one in ("ours", "theirs")]

    assert found == [400, 202]
