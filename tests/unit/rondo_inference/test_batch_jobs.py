"""Jobs from their making to their end, on fakes: what workers do, lose, repeat and refuse."""

import io
import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image

from rondo_core.errors import Conflict, Invalid, NotFound, Unavailable
from rondo_core.events import BatchRequested, Event
from rondo_core.outbox import outbox_put
from rondo_core.run_store import Put
from rondo_inference.batch.sweep import ask_for_plans
from rondo_inference.batch.tasks import run_task
from rondo_inference.batch.wire import InputFile, NewJob
from rondo_inference.domain.batch_changes import requested_event
from rondo_inference.domain.batch_job import (
    chunk_key,
    chunks_folder,
    job_key,
    job_pk,
)
from tests.unit.rondo_inference.batch_world import LIMITS, BatchWorld
from tests.unit.rondo_inference.exported import prices_export, shapes_export

ROWS = b"rooms,town\n1,Aa\n2,Bonn\n3,Aa\n4,Bonn\n5,Aa\n6,Bonn\n7,Aa\n"
ANSWERS = b"price,error\n2.0,\n13.0,\n4.0,\n15.0,\n6.0,\n17.0,\n8.0,\n"


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld()


def picture(shade: int, side: int = 2) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side), shade).save(file, "PNG")
    return file.getvalue()


def test_a_job_is_planned_scored_lane_by_lane_and_joined(world: BatchWorld) -> None:
    job_id = world.make(ROWS)

    done = world.work()

    assert done == [
        "plan planned",
        "score scored",
        "score scored",
        "score scored",
        "join completed",
    ]
    assert world.output(job_id) == ANSWERS
    view = world.view(job_id)
    assert (view.state, view.records, view.failed_records) == ("COMPLETED", 7, 0)
    assert (view.progress, view.chunks, view.chunks_done) == (1.0, 3, 3)
    assert view.failures is None
    assert list(world.folders.list(chunks_folder(job_id))) == [], "the pieces are tidied up"


def test_progress_grows_with_the_finished_chunks(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    seen = []

    while world.hints.waiting:
        view = world.view(job_id)
        seen.append((view.progress, view.records_done))
        world.step()

    assert seen == [(0.0, None), (0.0, 0), (0.33, 3), (0.66, 6), (0.99, 7)]
    assert world.view(job_id).records_done == 7


def test_rows_of_a_chunk_whose_object_was_never_put_do_not_count(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    put = world.store.put

    def away(key: str, data: bytes) -> object:
        raise Unavailable(f"{key} of {len(data)} bytes")

    world.store.put = away  # type: ignore[method-assign,assignment]
    failed = world.step()
    world.store.put = put  # type: ignore[method-assign]

    assert (failed, world.view(job_id).records_done) == ("score raised", 0)


def test_a_chunk_of_a_job_that_was_deleted_meanwhile_leaves_nothing(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    original = world.worker.models.engine

    def slow(alias: object) -> object:
        world.orders.cancel("prices", job_id)
        world.orders.delete("prices", job_id)
        return original(alias)  # type: ignore[arg-type]  # it is one

    world.worker.models.engine = slow  # type: ignore[method-assign,assignment]

    assert world.step() == "score not-running"
    assert not [key for key in world.store.keys("batch/") if job_id in key]
    assert [row["SK"] for row in world.rows.query(f"BATCH#{job_id}")] == ["LINKS"]


def test_lanes_bound_the_tasks_that_wait(world: BatchWorld) -> None:
    world.make(b"".join([b"rooms,town\n", *[b"1,Aa\n"] * 100]))
    world.step()
    waiting = []

    while world.hints.waiting:
        waiting.append(len(world.hints.waiting))
        world.step()

    assert max(waiting) == 2


def test_bt_1_one_record_out_for_each_record_in_in_order(world: BatchWorld) -> None:
    lines = [b'{"rooms": %d, "town": "Aa"}' % at for at in range(9)]
    lines[4] = b'{"rooms": "many", "town": "Aa"}'
    job_id = world.make(
        b"\n".join(lines), content_type="application/jsonlines", accept="application/jsonlines"
    )
    world.work()

    found = [json.loads(line) for line in world.output(job_id).splitlines()]

    assert [one.get("price") for one in found] == [1, 2, 3, 4, None, 6, 7, 8, 9]
    assert found[4] == {"column": "rooms", "error": "'many' is not a number"}
    assert [json.loads(line) for line in world.failures(job_id).splitlines()] == [
        {"row": 4, "column": "rooms", "rule": "'many' is not a number"}
    ]
    assert world.view(job_id).failed_records == 1


IGNORED = "is no column of the model, and ignored"


def warnings(world: BatchWorld, job_id: str) -> object:
    return json.loads(msgspec.json.encode(world.view(job_id).warnings))


def test_columns_that_the_model_does_not_have_are_told_as_soon_as_the_job_is_planned(
    world: BatchWorld,
) -> None:
    job_id = world.make(
        b"id,rooms,note,town\n7,1,x,Aa\n8,2,y,Bonn\n9,1,,Aa\n7,1,x,Aa\n8,2,y,Bonn\n"
    )
    world.step()
    planned = warnings(world, job_id)
    while world.hints.waiting:  # every task comes twice, to one worker and to another
        task = world.hints.waiting[0]
        world.step()
        world.hints.waiting.append(task)
        world.worker = world.new_worker()
        if world.view(job_id).state == "COMPLETED":
            break

    view = world.view(job_id)

    assert view.chunks == 3
    assert planned == [{"column": "id", "rule": IGNORED}, {"column": "note", "rule": IGNORED}]
    assert warnings(world, job_id) == planned
    assert [event.ignored_columns for event in world.ended()] == [2]


def test_a_job_that_goes_on_after_a_cancel_tells_the_same(world: BatchWorld) -> None:
    job_id = world.make(b"rooms,town,id\n1,Aa,7\n")
    world.step()
    told = world.view(job_id).warnings
    world.orders.cancel("prices", job_id)
    world.hints.waiting.clear()

    world.orders.start("prices", job_id)
    world.hints.plan(job_id)
    world.work()

    assert world.view(job_id).state == "COMPLETED"
    assert [one.column for one in told] == ["id"]
    assert world.view(job_id).warnings == told


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"rooms,town\n1,Aa\n", "text/csv"),
        (b"1,Aa\n", "text/csv"),
        (b'{"rooms": 1, "town": "Aa", "id": 7}\n', "application/jsonlines"),
    ],
)
def test_where_no_column_is_ignored_nothing_is_told(
    world: BatchWorld, data: bytes, kind: str
) -> None:
    job_id = world.make(data, content_type=kind)
    world.work()

    assert b"warnings" not in msgspec.json.encode(world.view(job_id))
    assert world.view(job_id).state == "COMPLETED"
    assert world.ended()[0].ignored_columns == 0


def test_of_a_hostile_number_of_columns_few_are_named_and_all_are_counted() -> None:
    world = BatchWorld(limits=replace(LIMITS, record_bytes=10**6, chunk_bytes=10**6))
    others = ",".join(f"c{at}" for at in range(100_000))

    job_id = world.make(f"{others},rooms,town\n{',' * 100_000}1,Aa\n".encode())
    world.work()

    view = world.view(job_id)
    *few, last = view.warnings
    assert view.state == "COMPLETED"
    assert len(msgspec.json.encode(view.warnings)) < 5000
    assert len(few) + last.more == world.ended()[0].ignored_columns == 100_000
    assert (few[0].column, last.column) == ("c0", None)


def test_of_a_column_with_a_hostile_name_only_the_number_is_told() -> None:
    world = BatchWorld(limits=replace(LIMITS, record_bytes=10**6, chunk_bytes=10**6))

    job_id = world.make(b"rooms,town," + b"x" * 100_000 + b"\n1,Aa,\n")
    world.work()

    assert warnings(world, job_id) == [{"more": 1}]
    assert world.ended()[0].ignored_columns == 1


def test_an_array_is_scored_by_ranges_of_rows(world: BatchWorld) -> None:
    file = io.BytesIO()
    np.save(file, np.array([[at, at % 2] for at in range(7)], np.int64))
    job_id = world.make(file.getvalue(), content_type="application/x-npy", accept="text/csv")

    assert world.work().count("score scored") == 7
    assert world.output(job_id).splitlines()[1:3] == [b"1.0,", b"12.0,"]


def test_a_folder_of_pictures_is_a_record_per_file_by_name(world: BatchWorld) -> None:
    export = shapes_export()
    export.store(world.store)
    files = {"b.png": picture(0), "a.png": picture(255), "c.txt": b"no picture"}
    wanted = NewJob(
        content_type="image/png",
        accept="text/csv",
        files=[InputFile(name=name, size=len(data)) for name, data in files.items()],
    )
    view = world.orders.make(export.alias, wanted)
    for link in view.uploads:
        assert world.links.put(link.url, link.headers, files[link.name]) == 200
    world.orders.start("shapes", view.job_id)
    world.hints.plan(view.job_id)
    world.work()

    lines = world.output(view.job_id).decode().splitlines()

    assert lines[0] == "file,label,probability_light,probability_dark,error"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["a.png", "light"],
        ["b.png", "light"],
        ["c.txt", ""],
    ]
    told = json.loads(world.failures(view.job_id))
    assert (told["row"], told["file"]) == (2, "c.txt")


@pytest.mark.parametrize(
    ("data", "content_type", "reason"),
    [
        (b"", "text/csv", "the input is empty"),
        (b"PK\x03\x04\x14\x00\xff\n", "text/csv", "this is a spreadsheet's own file"),
        (b"PK\x03\x04" + b"\xff" * 2000, "text/csv", "this is a spreadsheet's own file"),
        (b"\n\r\n \n", "text/csv", "blank lines only"),
        (b"rooms,town\n", "text/csv", "a header but no row"),
        (b"rooms,town\n\n\n", "text/csv", "the input has no record"),
        (b"rooms\n1\n", "text/csv", "lacks column 'town'"),
        (b"rooms,town\n" + b"1" * 2000 + b",Aa\n", "text/csv", "longer than 1000 bytes"),
        (b'rooms,town\n1,Aa\n2,"Bonn"x\n', "text/csv", "bytes 11 to 26: not a CSV"),
        (b"rooms,town\n1,Aa\n2,\xff\n", "text/csv", "bytes 11 to 20: not UTF-8"),
        (b"text", "application/x-npy", "not a .npy file"),
    ],
)
def test_an_input_that_cannot_be_read_fails_the_job_with_the_reason(
    world: BatchWorld, data: bytes, content_type: str, reason: str
) -> None:
    job_id = world.make(data, content_type=content_type)

    world.work()

    view = world.view(job_id)
    assert view.state == "FAILED"
    assert reason in str(view.reason)
    assert reason in json.loads(world.failures(job_id))["error"]
    (ended,) = world.ended()
    assert (ended.state, ended.result.invocation_status) == ("FAILED", "Failed")
    assert reason in str(ended.result.failure_reason)
    assert list(world.rows.active("batch")) == []


def test_an_input_that_was_never_sent_fails_the_job(world: BatchWorld) -> None:
    wanted = NewJob(content_type="text/csv", files=[InputFile(size=10)])
    view = world.orders.make(world.export.alias, wanted)
    world.orders.start("prices", view.job_id)
    world.hints.plan(view.job_id)

    world.work()

    assert "does not exist" in str(world.view(view.job_id).reason)


def test_a_folder_without_files_fails_the_job(world: BatchWorld) -> None:
    wanted = NewJob(content_type="image/png", input="s3://models/batch/inputs/none/")
    view = world.orders.make(world.export.alias, wanted)
    world.hints.plan(view.job_id)

    world.work()

    assert "does not exist" in str(world.view(view.job_id).reason)


def test_an_input_of_another_size_than_was_announced_fails_the_job(world: BatchWorld) -> None:
    wanted = NewJob(content_type="text/csv", files=[InputFile(size=10)])
    view = world.orders.make(world.export.alias, wanted)
    world.store.put(world.job(view.job_id).input, b"123")
    world.orders.start("prices", view.job_id)
    world.hints.plan(view.job_id)

    world.work()

    assert world.view(view.job_id).reason == "the input has 3 bytes, 10 were announced"


def test_an_input_that_is_replaced_meanwhile_fails_the_job(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    world.store.forget(world.job(job_id).input)
    world.store.put(world.job(job_id).input, ROWS[::-1])

    world.work()

    assert "was replaced or removed" in str(world.view(job_id).reason)


def test_a_version_that_cannot_be_loaded_fails_the_job(world: BatchWorld) -> None:
    broken = prices_export(2).with_file("model.onnx", b"no model")
    broken.store(world.store)
    job_id = world.make(ROWS, export=broken)

    world.work()

    assert world.view(job_id).state == "FAILED"
    assert "model.onnx" in str(world.view(job_id).reason)


def test_a_job_keeps_the_version_that_it_was_made_with(world: BatchWorld) -> None:
    second = prices_export(2)
    second.store(world.store)
    first_job, second_job = world.make(ROWS), world.make(ROWS, export=second)

    world.work()

    assert world.output(first_job) == ANSWERS
    assert world.output(second_job).splitlines()[1] == b"3.0,"
    assert (world.view(first_job).version, world.view(second_job).version) == (1, 2)


def test_few_versions_are_kept_loaded(world: BatchWorld) -> None:
    exports = [prices_export(number) for number in (1, 2, 3)]
    for export in exports:
        export.store(world.store)
    models = world.worker.models
    first = models.engine(exports[0].alias)

    assert models.engine(exports[0].alias) is first
    for export in exports[1:]:
        models.engine(export.alias)
    assert models.engine(exports[0].alias) is not first


def test_tasks_may_come_twice_and_in_any_order(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    for index in (2, 1, 0, 1, 2):
        world.hints.score(job_id, index)
    world.hints.join(job_id)
    world.hints.plan(job_id)

    done = world.work()

    assert world.output(job_id) == ANSWERS
    assert done.count("score scored") == 3
    assert done.count("join completed") == 1
    assert len(world.ended()) == 1


def test_a_finished_chunk_is_not_begun_again(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    world.step()
    world.hints.score(job_id, 0)

    done = world.work()

    assert "score finished" in done
    items = world.rows.query(f"BATCH#{job_id}", "CHUNK#")
    assert [item["tries"] for item in items] == [1, 1, 1]


def test_a_chunk_that_another_worker_finished_first_stands(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    original = world.worker.models.engine

    def slow(alias: object) -> object:
        if world.store.head(chunk_key(job_id, 0)) is None:
            world.store.put(chunk_key(job_id, 0), b"\x0d\x00\x00\x00" + b'{"records":4}' + b"x\n")
        return original(alias)  # type: ignore[arg-type]  # it is one

    world.worker.models.engine = slow  # type: ignore[method-assign,assignment]
    assert world.step() == "score beaten"


def test_lost_tasks_are_asked_for_again_after_the_lease(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.hints.waiting.clear()

    world.sweep()
    assert not world.hints.waiting
    world.sweep(5.1)
    assert list(world.hints.waiting) == [("plan", job_id)]
    world.step()
    world.step()
    world.hints.waiting.clear()  # the second lane and the rest of the first
    world.sweep()
    world.sweep(5.1)
    assert list(world.hints.waiting) == [("score", job_id, 1), ("score", job_id, 2)]
    world.work()

    assert world.output(job_id) == ANSWERS


def test_a_lost_join_is_asked_for_again(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    while world.hints.waiting[0][0] != "join":
        world.step()
    world.hints.waiting.clear()

    world.sweep()
    world.sweep(5.1)

    assert list(world.hints.waiting) == [("join", job_id)]


def test_a_job_that_moves_is_left_alone(world: BatchWorld) -> None:
    world.make(ROWS)
    world.step()
    world.sweep()
    world.sweep(4.0)
    world.step()

    before = len(world.hints.waiting)
    world.sweep(4.0)

    assert len(world.hints.waiting) == before


def test_a_lane_that_meets_a_finished_chunk_ends_and_the_join_is_not_forgotten(
    world: BatchWorld,
) -> None:
    job_id = world.make(ROWS)
    world.step()
    world.hints.waiting.clear()
    world.hints.score(job_id, 2)
    world.hints.score(job_id, 1)
    world.hints.score(job_id, 0)

    assert world.work()[-1] == "join completed"


def test_a_join_that_comes_too_early_waits(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    world.hints.waiting.appendleft(("join", job_id))

    assert world.step() == "join missing"


def test_a_join_beside_one_that_tidied_up_is_no_failure(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    while world.hints.waiting[0][0] != "join":
        world.step()
    calls: list[str] = []
    original = world.store.get

    def get(key: str, **options: object) -> bytes:
        if key.startswith(chunks_folder(job_id)) and not calls:
            calls.append(key)
            world.new_worker().join(job_id)
        return original(key, **options)  # type: ignore[arg-type]  # as it came

    world.store.get = get  # type: ignore[method-assign]

    assert world.step() == "join not-running"
    assert world.output(job_id) == ANSWERS
    assert len(world.ended()) == 1


def test_a_chunk_that_is_gone_too_soon_is_an_error(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    while world.hints.waiting[0][0] != "join":
        world.step()
    original = world.store.get

    def get(key: str, **options: object) -> bytes:
        if key.startswith(chunks_folder(job_id)):
            raise NotFound(key)
        return original(key, **options)  # type: ignore[arg-type]  # as it came

    world.store.get = get  # type: ignore[method-assign]

    assert world.step() == "join raised"


def test_a_chunk_that_ends_its_workers_fails_the_job(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    original = world.worker.models.engine

    def dies(alias: object) -> object:
        del alias
        raise Unavailable("as if it had been killed")

    world.worker.models.engine = dies  # type: ignore[method-assign,assignment]
    for _ in range(5):
        world.hints.waiting.appendleft(("score", job_id, 0))
        world.step()
    world.worker.models.engine = original  # type: ignore[method-assign]
    world.hints.waiting.appendleft(("score", job_id, 0))

    assert world.step() == "score not-running"
    assert world.view(job_id).reason == "chunk 0 was begun 5 times and never finished"


def test_a_plan_that_another_worker_made_first_counts(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    first_head = world.store.head

    def head(key: str) -> object:
        found = first_head(key)
        if key.endswith("plan.json") and found is None:
            world.store.head = first_head  # type: ignore[method-assign]
            world.store.put(key, b'{"key":"%s","version":"x","chunks":[[0,1]]}' % b"k")
        return found

    world.store.head = head  # type: ignore[method-assign,assignment]
    world.step()

    assert world.view(job_id).chunks == 1


def test_cancel_stops_a_job_and_start_goes_on_with_what_is_left(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.step()
    world.step()

    view = world.orders.cancel("prices", job_id)
    assert (view.state, view.progress) == ("CANCELLED", 0.33)
    assert set(world.work()) == {"score not-running"}
    assert world.orders.cancel("prices", job_id).state == "CANCELLED"
    again = world.orders.start("prices", job_id)
    assert again.state == "SUBMITTED"
    world.hints.plan(job_id)
    done = world.work()

    assert done == ["plan planned", "score scored", "score scored", "join completed"]
    assert world.output(job_id) == ANSWERS
    assert [event.state for event in world.ended()] == ["CANCELLED", "COMPLETED"]
    requests = [one for one in world.bus.published if isinstance(one, BatchRequested)]
    assert len({one.event_id for one in requests}) == 2


def test_cancel_of_a_job_that_is_over_is_refused(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.work()

    with pytest.raises(Conflict, match="is COMPLETED"):
        world.orders.cancel("prices", job_id)
    with pytest.raises(Conflict, match="is COMPLETED: make a new one"):
        world.orders.start("prices", job_id)


def test_a_job_that_was_cancelled_when_only_the_join_was_left_goes_on_with_the_join(
    world: BatchWorld,
) -> None:
    job_id = world.make(ROWS)
    while world.hints.waiting[0][0] != "join":
        world.step()
    world.orders.cancel("prices", job_id)
    world.hints.waiting.clear()
    world.orders.start("prices", job_id)
    world.hints.plan(job_id)

    assert world.work() == ["plan planned", "join completed"]


def test_start_twice_is_once(world: BatchWorld) -> None:
    job_id = world.make(ROWS)

    assert world.orders.start("prices", job_id).state == "SUBMITTED"
    assert world.job(job_id).starts == 1


def test_delete_takes_everything_of_a_job_and_nothing_else(world: BatchWorld) -> None:
    kept, gone = world.make(ROWS), world.make(ROWS)
    with pytest.raises(Conflict, match="cancel it first"):
        world.orders.delete("prices", gone)
    world.work()

    world.orders.delete("prices", gone)

    assert [one.job_id for one in world.orders.list("prices").jobs] == [kept]
    with pytest.raises(NotFound, match="has no batch job"):
        world.orders.show("prices", gone)
    assert not [key for key in world.store.keys("batch/") if gone in key]
    assert [row["SK"] for row in world.rows.query(f"BATCH#{gone}")] == ["LINKS"]
    assert world.output(kept) == ANSWERS
    with pytest.raises(NotFound):
        world.orders.delete("prices", gone)


def test_jobs_are_listed_by_model_the_newest_first(world: BatchWorld) -> None:
    first = world.make(ROWS)
    world.clock.advance(1)
    second = world.make(ROWS)

    assert [one.job_id for one in world.orders.list("prices").jobs] == [second, first]
    assert world.orders.list("other").jobs == []
    with pytest.raises(NotFound):
        world.orders.show("other", first)


def test_older_jobs_follow_the_newest_also_when_one_is_made_or_deleted_between(
    world: BatchWorld,
) -> None:
    made = []
    for _ in range(5):
        made.append(world.make(ROWS))
        world.clock.advance(1)

    newest = world.orders.list("prices", most=2)
    world.make(ROWS)
    world.work()
    world.orders.delete("prices", made[3])
    middle = world.orders.list("prices", before=newest.older, most=2)
    oldest = world.orders.list("prices", before=middle.older, most=2)

    pages = [[job.job_id for job in page.jobs] for page in (newest, middle, oldest)]
    assert pages == [[made[4], made[3]], [made[2], made[1]], [made[0]]]
    assert oldest.older is None


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"content_type": "text/html"}, "is not read by batch jobs"),
        ({"content_type": "text/csv"}, 'either "files" that will be sent'),
        ({"content_type": "text/csv", "input": "s3://other/batch/inputs/a"}, "is not s3://models/"),
        ({"content_type": "text/csv", "input": "/etc/passwd"}, "is not s3://models/"),
        ({"content_type": "text/csv", "input": "s3://models/versions/a"}, "is not below"),
        ({"content_type": "text/csv", "input": "s3://models/batch/inputs/a/"}, "are a folder"),
        ({"content_type": "image/png", "input": "s3://models/batch/inputs/a"}, "are a folder"),
        (
            {"content_type": "text/csv", "files": [InputFile(size=1), InputFile(size=1)]},
            "several may only be pictures",
        ),
        (
            {"content_type": "image/png", "files": [InputFile(size=1), InputFile(size=1)]},
            "have the same name",
        ),
    ],
)
def test_a_job_that_could_never_run_is_refused(
    world: BatchWorld, wanted: dict[str, object], complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        world.orders.make(world.export.alias, NewJob(**wanted))  # type: ignore[arg-type]
    assert world.orders.list("prices").jobs == []


def test_an_input_has_a_name_as_long_as_the_key_of_an_object_may_be(world: BatchWorld) -> None:
    def make(name: str) -> str:
        wanted = NewJob(content_type="text/csv", input=f"s3://models/batch/inputs/{name}")
        return world.orders.make(world.export.alias, wanted).state

    with pytest.raises(Invalid, match="is longer than the key of an object may be"):
        make("ü" * 506)
    assert make("x" * 1011) == "SUBMITTED"


def test_an_event_that_was_not_published_is_published_by_the_sweep(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    event = requested_event(world.job(job_id), world.clock.now())
    world.rows.commit(outbox_put(event, service="batch"))

    world.sweep()

    assert world.bus.published[-1] == event


def test_a_topic_that_does_not_answer_keeps_no_job_waiting(world: BatchWorld) -> None:
    def no_answer(*_: Event) -> None:
        raise Unavailable("no bus")

    job_id = world.make(ROWS)
    event = requested_event(world.job(job_id), world.clock.now())
    world.rows.commit(outbox_put(event, service="batch"))
    world.hints.waiting.clear()
    sweep = replace(world.sweeper, ports=replace(world.ports, publish=no_answer))

    for _ in range(2):
        with pytest.raises(Unavailable):
            sweep()
        world.clock.advance(5.1)

    assert list(world.hints.waiting) == [("plan", job_id)]


def test_a_row_of_another_release_does_not_stop_the_sweep(world: BatchWorld) -> None:
    world.rows.commit(Put(job_key("strange"), {"active": "batch"}))
    job_id = world.make(ROWS)
    world.hints.waiting.clear()

    world.sweep()
    world.sweep(5.1)

    assert list(world.hints.waiting) == [("plan", job_id)]


def test_messages_become_hints_each_job_once(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    world.hints.waiting.clear()
    event = requested_event(world.job(job_id), world.clock.now())

    ask_for_plans([event, event], hints=world.hints)

    assert list(world.hints.waiting) == [("plan", job_id)]


def test_what_is_sent_for_a_deleted_job_does_not_stay(world: BatchWorld) -> None:
    wanted = NewJob(content_type="text/csv", files=[InputFile(size=3)])
    view = world.orders.make(world.export.alias, wanted)
    (link,) = view.uploads
    world.orders.delete("prices", view.job_id)
    assert world.links.put(link.url, link.headers, b"1,2") == 200

    world.sweep()
    before = world.store.keys("batch/")
    world.sweep(60 + 3600)

    assert before == [f"batch/inputs/{view.job_id}/input"]
    assert world.store.keys("batch/") == []
    assert list(world.rows.active("batch")) == []


def test_nothing_is_left_of_a_job_that_is_deleted_when_its_links_are_no_longer_good(
    world: BatchWorld,
) -> None:
    job_id = world.make(b"1,Aa\n")
    world.work()
    world.clock.advance(60 + 3600)

    world.orders.delete("prices", job_id)

    assert list(world.rows.active("batch")) == []
    assert world.rows.query(job_pk(job_id)) == []


def test_tasks_of_a_job_that_was_deleted_do_nothing(world: BatchWorld) -> None:
    for name in ("plan", "join"):
        world.hints.waiting.append((name, "gone"))
    world.hints.score("gone", 0)

    assert world.work() == ["plan not-submitted", "join not-running", "score not-running"]


def test_a_task_that_raises_is_counted_and_does_not_end_the_process(world: BatchWorld) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    run_task("score", "job", broken, world.metrics)

    labels = {"kind": "score", "outcome": "error"}
    found = world.metrics.registry.get_sample_value("rondo_loop_failures_total", labels)
    assert found == 1


def cancels(world: BatchWorld, job_id: str, at: str) -> None:
    """Let a job be cancelled at the moment when a worker first asks for an object."""
    original = world.store.head

    def head(key: str) -> object:
        if at in key:
            world.store.head = original  # type: ignore[method-assign]
            world.orders.cancel("prices", job_id)
        return original(key)

    world.store.head = head  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(
    ("steps", "at", "outcome"),
    [(0, "plan.json", "plan not-submitted"), (1, "chunks/000000", "score not-running")],
)
def test_a_job_that_is_cancelled_under_a_workers_hands_stays_cancelled(
    world: BatchWorld, steps: int, at: str, outcome: str
) -> None:
    job_id = world.make(ROWS)
    for _ in range(steps):
        world.step()
    cancels(world, job_id, at)

    assert world.step() == outcome
    assert world.job(job_id).state == "CANCELLED"


def test_a_job_that_is_cancelled_during_the_join_stays_cancelled(world: BatchWorld) -> None:
    job_id = world.make(ROWS)
    while world.hints.waiting[0][0] != "join":
        world.step()
    write = world.folders.write

    def cancel_then_write(key: str, blocks: object) -> int:
        world.orders.cancel("prices", job_id)
        return write(key, blocks)  # type: ignore[arg-type]  # as they came

    world.folders.write = cancel_then_write  # type: ignore[method-assign]

    assert world.step() == "join not-running"
    assert world.job(job_id).state == "CANCELLED"
    assert [event.state for event in world.ended()] == ["CANCELLED"]


def test_the_first_reason_of_a_failure_stands(world: BatchWorld) -> None:
    job_id = world.make(b"")
    world.store.put(world.job(job_id).failures, b'{"error":"of a try that was killed"}\n')

    world.work()

    assert world.view(job_id).state == "FAILED"
    assert b"of a try that was killed" in world.failures(job_id)


def test_a_reason_of_any_length_fails_the_job_with_an_event_that_a_topic_takes() -> None:
    world = BatchWorld(limits=replace(LIMITS, record_bytes=10**6))
    name = "\x01" * 100_000  # four times as long where it is shown
    job_id = world.make(f"rooms,town,{name},{name}\n1,Aa,,\n".encode())
    world.work()

    (event,) = world.ended()
    shown = f"the CSV's header has column {name!r} twice"
    assert world.job(job_id).reason == shown[:1000] + "…"
    assert len(msgspec.json.encode(event)) < 256 * 1024
    assert json.loads(world.failures(job_id)) == {"error": shown}


def test_a_folder_of_too_many_files_fails_the_job(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rondo_inference.batch.planning.MOST_FILES", 1)
    for name in ("a.png", "b.png"):
        world.store.put(f"batch/inputs/mine/{name}", b"x")
    wanted = NewJob(content_type="image/png", input="s3://models/batch/inputs/mine/")
    view = world.orders.make(world.export.alias, wanted)
    world.hints.plan(view.job_id)

    world.work()

    assert "has more than 1 files" in str(world.view(view.job_id).reason)


def test_a_job_that_waits_for_its_input_is_never_overdue(world: BatchWorld) -> None:
    wanted = NewJob(content_type="text/csv", files=[InputFile(size=10)])
    view = world.orders.make(world.export.alias, wanted)
    world.clock.advance(10_000_000)

    assert world.job(view.job_id).overdue(world.clock.now()) is None


def test_no_read_is_longer_than_a_block_or_a_chunk_with_its_last_record(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rondo_inference.batch.planning._BLOCK_BYTES", 64)
    job_id, original = world.make(b"rooms,town\n" + b"1,Aa\n" * 2000), world.store.get
    longest: dict[str, int] = {}

    def get(key: str, **options: object) -> bytes:
        found = original(key, **options)  # type: ignore[arg-type]  # as it came
        where = next((name for name in ("inputs", "chunks") if f"/{name}/" in key), "other")
        longest[where] = max(longest.get(where, 0), len(found))
        return found

    world.store.get = get  # type: ignore[method-assign]
    world.step()
    assert longest["inputs"] == world.limits.record_bytes + 1, "where the header is looked for"
    longest.clear()
    world.work()

    assert world.view(job_id).records == 2000
    assert longest["inputs"] == 15
    assert longest["chunks"] < 100


def test_a_job_that_the_index_lists_and_that_is_over_is_left_alone(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.make(ROWS)
    stale = world.rows.active("batch")
    world.work()
    monkeypatch.setattr(world.rows, "active", lambda _: stale)

    world.sweep()
    world.sweep(5.1)

    assert not world.hints.waiting
    assert world.output(job_id) == ANSWERS
