"""What is wrong with an input is told, on every door: columns, types, files, rows."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_inference.contracts import writers
from rondo_inference.domain.answers import csv_answer
from rondo_inference.domain.batch_records import read_lines
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import PRICES, prices_export, shapes_export
from tests.unit.rondo_inference.test_inference_page import Document, send_csv
from tests.unit.rondo_inference.test_inference_sagemaker import FILE, form, picture

PREDICT = "/v1/models/prices:predict"
CLASSIFY = "/v1/models/shapes:classify"
REGRESS = "/v1/models/prices:regress"
INFER = "/v2/models/prices/infer"
OTHER = [{"row": 0, "column": "id", "rule": "is no column of the model"}]
ROW = {"rooms": 3, "town": "Bonn"}
COLUMNS: Mapping[str, Any] = {"name": "columns", "shape": [1, 2], "datatype": "FP32"}


@pytest.fixture
def samples() -> Iterator[Service]:
    with running() as service:
        service.serve(prices_export(2), shapes_export())
        yield service


def inferring(**parts: object) -> bytes:
    return json.dumps({"inputs": [{**COLUMNS, "data": [3, 1], **parts}]}).encode()


# --- columns that the model does not have ---------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body", "kind"),
    [
        (PREDICT, json.dumps({"instances": [{**ROW, "id": 7}]}).encode(), "application/json"),
        (REGRESS, json.dumps({"examples": [{**ROW, "id": 7}]}).encode(), "application/json"),
        (PREDICT, json.dumps({**ROW, "id": 7}).encode(), "application/jsonlines"),
        (PREDICT, *form(('name="rooms"', b"3"), ('name="id"', b"7"), ('name="town"', b"Bonn"))),
    ],
    ids=["predict", "regress", "lines", "fields"],
)
def test_an_object_with_a_name_that_is_no_column_is_refused(
    samples: Service, target: str, body: bytes, kind: str
) -> None:
    reply = samples.ask("POST", target, body, content_type=kind)

    assert (reply.status, reply.json["rows"]) == (400, OTHER)


def test_what_examples_have_in_common_may_have_other_names(samples: Service) -> None:
    body = {"context": {"id": 7, "town": "Bonn"}, "examples": [{"rooms": 3}]}

    assert samples.ask("POST", REGRESS, body).json == {"results": [15.0]}


def test_a_line_of_a_batch_job_with_a_name_that_is_no_column_is_refused() -> None:
    found = read_lines(json.dumps({**ROW, "id": 7}).encode(), PRICES)

    assert [(one.column, one.rule) for one in found.faults] == [("id", "is no column of the model")]


@pytest.mark.parametrize("in_form", [False, True], ids=["body", "form"])
def test_a_csv_with_a_column_that_the_model_does_not_have_is_answered_and_told(
    samples: Service, *, in_form: bool
) -> None:
    body, kind = b"id,rooms,note,town\n7,3,x,Bonn\n", "text/csv"
    if in_form:
        body, kind = form((FILE.format("a.csv", kind), body))

    reply = samples.ask("POST", PREDICT, body, content_type=kind)
    silent = samples.ask("POST", PREDICT, b"rooms,town\n3,Bonn\n", content_type="text/csv")

    rule = "is no column of the model, and ignored"
    assert reply.status == 200
    assert json.loads(reply.headers["x-rondo-warnings"]) == [
        {"column": "id", "rule": rule},
        {"column": "note", "rule": rule},
    ]
    assert "x-rondo-warnings" not in silent.headers


def test_the_page_tells_which_columns_of_a_csv_are_not_asked(samples: Service) -> None:
    page = Document(send_csv(samples, b"id,rooms,town\n7,3,Bonn\n8,1,Aa\n"))
    silent = Document(send_csv(samples, b"rooms,town\n3,Bonn\n"))

    assert "the model has no such column: id." in page.text
    assert "no such column" not in silent.text


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (INFER, inferring()),
        (CLASSIFY, json.dumps({"examples": [{"image": [0, 0, 0, 0]}]}).encode()),
        (REGRESS, json.dumps({"examples": [ROW]}).encode()),
    ],
    ids=["infer", "classify", "regress"],
)
@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("text/csv, application/*;q=0.5", 200),
        ("application/xml", 406),
        ("application/x-npy", 406),
    ],
)
def test_accept_is_looked_at_where_only_json_is_written(
    samples: Service, target: str, body: bytes, accept: str, status: int
) -> None:
    assert samples.ask("POST", target, body, accept=accept).status == status


def test_a_caller_who_accepts_binary_tensors_gets_them(samples: Service) -> None:
    body = json.dumps(
        {
            "inputs": [{**COLUMNS, "data": [3, 1]}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()

    reply = samples.ask("POST", INFER, body, accept="application/octet-stream")

    assert (reply.status, reply.headers["content-type"]) == (200, "application/octet-stream")


def test_tfs_classify_and_regress_take_files(samples: Service) -> None:
    shown = samples.ask("POST", CLASSIFY, picture(), content_type="image/png")
    rows = samples.ask("POST", REGRESS, b"rooms,town\n3,Bonn\n", content_type="text/csv")

    assert [pair[0] for pair in shown.json["results"][0]] == ["light", "dark"]
    assert rows.json == {"results": [15.0]}


@pytest.mark.parametrize("target", [PREDICT, INFER, "/invocations?model=prices", REGRESS])
@pytest.mark.parametrize("kind", ["image/gif", "application/pdf", "application/vnd.ms-excel"])
def test_what_is_never_json_is_not_taken_for_it(samples: Service, target: str, kind: str) -> None:
    reply = samples.ask("POST", target, b"GIF89a", content_type=kind)

    assert reply.status == 415
    assert reply.json["error"].startswith(f"{kind} is not read here; send one of application/json")


def test_image_jpg_is_image_jpeg(samples: Service) -> None:
    reply = samples.ask("POST", "/v1/models/shapes:predict", picture(), content_type="image/jpg")

    assert reply.status == 200


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([("a.png", "image/png"), ("b.csv", "text/csv")], "'b.csv' is none"),
        ([("b.csv", "text/csv"), ("a.png", "image/png")], "'b.csv' is none"),
        ([("a.png", "image/png"), (None, "")], "a file and the field 'note'"),
    ],
)
def test_no_part_of_a_form_is_passed_over(
    samples: Service, parts: list[tuple[str | None, str]], told: str
) -> None:
    body, kind = form(
        *((FILE.format(name, media) if name else 'name="note"', picture()) for name, media in parts)
    )

    reply = samples.ask("POST", "/v1/models/shapes:predict", body, content_type=kind)

    assert reply.status == 400
    assert told in reply.json["error"]


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body", "kind", "rows"),
    [
        (
            PREDICT,
            b"rooms,town\n3,Bonn,7\n1,Aa\nx,Aa\n",
            "text/csv",
            [
                (0, None, "3 cells, but the header has 2"),
                (2, "rooms", "'x' is not a number"),
            ],
        ),
        (
            PREDICT,
            b'[3, "Bonn"]\n{\n[1]\n',
            "application/jsonlines",
            [
                (1, None, "not a line of JSON: the body is not JSON: Input data was truncated"),
                (2, None, "1 values, but the model has 2 columns"),
            ],
        ),
        (
            INFER,
            inferring(shape=[3, 2], data=[1e39, 0, 1, 0, 2, 7]),
            "application/json",
            [
                (0, "rooms", "inf is not a finite number"),
                (2, "town", "7.0 is not in 0..1"),
            ],
        ),
        (
            "/v1/models/shapes:predict",
            *form(
                (FILE.format("a.png", "image/png"), b"no picture"),
                (FILE.format("b.png", "image/png"), picture()),
                (FILE.format("c.png", "image/png"), b"no picture"),
            ),
            [(0, None, "is neither PNG nor JPEG"), (2, None, "is neither PNG nor JPEG")],
        ),
    ],
    ids=["CSV", "lines", "tensor", "pictures"],
)
def test_every_row_that_does_not_fit_is_listed(
    samples: Service, target: str, body: bytes, kind: str, rows: list[tuple[int, str | None, str]]
) -> None:
    reply = samples.ask("POST", target, body, content_type=kind)

    assert reply.status == 400
    assert [(one["row"], one["column"], one["rule"]) for one in reply.json["rows"]] == rows


# --- hints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"rooms;town\n3;Bonn\n", "text/csv", "parted by semicolons, save it with commas"),
        (b"PK\x03\x04\x14\x00", "text/csv", "a spreadsheet's own file, not a CSV: save it as CSV"),
        (b",Bonn\n3,Aa\n", "text/csv", "row 0, column 'rooms': is empty"),
        (b'{"instances": []}', "application/json", '"instances" is empty'),
        (inferring(), "application/json", "send it to /v2/models/NAME/infer"),
    ],
)
def test_a_usual_mistake_is_told_by_its_name(
    samples: Service, body: bytes, kind: str, told: str
) -> None:
    reply = samples.ask("POST", "/invocations?model=prices", body, content_type=kind)

    assert reply.status == 400
    assert told in reply.json["error"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"instances": [[3, "Bonn"]]}', "application/json"),
        (b'[3, "Bonn"]', "application/jsonlines"),
        (b"rooms,town\n3,Bonn\n", "text/csv"),
    ],
)
def test_a_byte_order_mark_is_passed_over(samples: Service, body: bytes, kind: str) -> None:
    reply = samples.ask("POST", PREDICT, b"\xef\xbb\xbf" + body, content_type=kind)

    assert reply.status == 200


def test_oip_2_an_empty_id_comes_back(samples: Service) -> None:
    named = json.loads(inferring()) | {"id": ""}

    reply = samples.ask("POST", INFER, named)
    silent = samples.ask("POST", INFER, inferring())

    assert reply.json["id"] == ""
    assert "id" not in silent.json


def test_tfs_5_base64_is_an_object_with_that_key_alone(samples: Service) -> None:
    body = {"instances": [{"b64": "AAAA", "x": 1}]}

    reply = samples.ask("POST", "/v1/models/shapes:predict", body)

    assert reply.status == 400
    assert 'every instance must be {"b64": …} and nothing else' in reply.json["error"]


def test_a_long_csv_is_written_some_rows_at_a_time(
    samples: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def noted(spec: ModelSpec, outputs: Float32Array) -> bytes:
        written.append(len(outputs))
        return csv_answer(spec, outputs)

    monkeypatch.setattr(writers, "csv_answer", noted)
    rows = "".join(f"{at % 9},Aa\n" for at in range(2000))

    with monkeypatch.context() as patched:
        patched.setattr(writers, "_CSV_ROWS", 999)
        reply = samples.ask("POST", PREDICT, rows.encode(), content_type="text/csv")

    assert reply.body.decode() == "price\n" + "".join(f"{at % 9 + 2}.0\n" for at in range(2000))
    assert written == [0, 999, 999, 2]
