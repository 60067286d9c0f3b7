"""Numbers beyond the bounds of their columns, at every door: refused, or answered and told."""

import io
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondo_core.input_bounds import Beyond, told_by_row
from rondo_core.input_schema import ImageInput, TableInput
from rondo_core.layout import Float32Array
from rondo_inference.contracts import oip_pb2 as pb
from rondo_inference.contracts.warnings import warnings_text
from rondo_inference.domain.batch_output import output_head, output_lines
from rondo_inference.domain.batch_records import read_csv, read_lines, read_rows
from rondo_inference.page.forms import Asked
from rondo_inference.page.outcomes import MOST_LINES, ROWS_AT_ONCE, as_csv, outcome
from tests.unit.rondo_inference.asked import Reply, Service, running
from tests.unit.rondo_inference.batch_world import BatchWorld
from tests.unit.rondo_inference.exported import HOMES, homes_export, write_version
from tests.unit.rondo_inference.test_inference_grpc import Caller

PREDICT = "/v1/models/homes:predict"
PAGE = "/page/models/homes"
TOLD = [{"column": "area", "rule": "below minimum 10.0", "rows": 1, "first_row": 1}]
FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Service]:
    write_version(homes_export(), tmp_path)
    with running(models=tmp_path) as found:
        yield found


def tensor(rows: list[list[float]]) -> dict[str, object]:
    data = {"name": "columns", "datatype": "FP32", "shape": [len(rows), 2], "data": rows}
    return {"inputs": [data]}


def npy(rows: list[list[float]]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(rows))
    return file.getvalue()


def told(reply: Reply) -> Any:
    return json.loads(reply.headers["x-rondo-warnings"])


DOORS: dict[str, tuple[str, Any, dict[str, str]]] = {
    "tfs-numbers": (PREDICT, {"instances": [[3, 20], [4, 9]]}, {}),
    "tfs-named": (PREDICT, {"instances": [{"rooms": 3, "area": 20}, {"rooms": 4, "area": 9}]}, {}),
    "tfs-columns": (PREDICT, {"inputs": {"rooms": [3, 4], "area": [20, 9]}}, {}),
    "oip-tensor": ("/v2/models/homes/infer", tensor([[3, 20], [4, 9]]), {}),
    "sagemaker-csv": ("/invocations", b"area,rooms\n20,3\n9,4\n", {"content_type": "text/csv"}),
    "sagemaker-lines": (
        "/invocations",
        b'{"rooms": 3, "area": 20}\n{"rooms": 4, "area": 9}\n',
        {"content_type": "application/jsonlines"},
    ),
    "sagemaker-npy": (
        "/invocations",
        npy([[3, 20], [4, 9]]),
        {"content_type": "application/x-npy"},
    ),
    "lambda": (
        "/2015-03-31/functions/homes/invocations",
        {"instances": [[3, 20], [4, 9]]},
        {},
    ),
}
"""Two rows each: the second has an area below its minimum, which is told."""


def beyond_rooms(body: Any) -> Any:
    """Return a door's body with 44 for the 4 rooms of the second row, which is refused."""
    if isinstance(body, bytes):
        if body.startswith(b"\x93NUMPY"):
            return npy([[3, 20], [44, 9]])
        return body.replace(b"9,4\n", b"9,44\n").replace(b'"rooms": 4', b'"rooms": 44')
    return json.loads(json.dumps(body).replace("4,", "44,").replace("[3, 4]", "[3, 44]"))


@pytest.mark.parametrize("door", DOORS)
def test_a_number_that_is_only_told_is_answered_and_told_in_a_header(
    homes: Service, door: str
) -> None:
    path, body, headers = DOORS[door]

    reply = homes.ask("POST", path, body, **headers)

    numbers = np.load(io.BytesIO(reply.body)).tolist() if door.endswith("npy") else reply.body
    assert reply.status == 200
    assert "204" in str(numbers)
    assert "95" in str(numbers)
    assert told(reply) == TOLD


@pytest.mark.parametrize("door", DOORS)
def test_a_number_that_is_refused_is_named_with_row_column_value_and_bound(
    homes: Service, door: str
) -> None:
    path, body, headers = DOORS[door]

    reply = homes.ask("POST", path, beyond_rooms(body), **headers)

    rule = "row 1, column 'rooms': 44.0 is above maximum 9.5"
    assert rule in json.loads(reply.body).get("error", reply.json.get("errorMessage"))
    assert reply.status == (200 if door == "lambda" else 400)
    assert "x-rondo-warnings" not in reply.headers


def test_an_answer_within_all_bounds_tells_nothing(homes: Service) -> None:
    reply = homes.ask("POST", PREDICT, {"instances": [[9.5, 10]]})

    assert (reply.status, "x-rondo-warnings" in reply.headers) == (200, False)


def test_every_row_beyond_a_bound_is_told_and_not_only_the_first(homes: Service) -> None:
    rows = [{"rooms": 0, "area": 10}, {"rooms": 1, "area": 10}, {"rooms": 99, "area": 10}]

    reply = homes.ask("POST", PREDICT, {"instances": rows})

    assert [fault["row"] for fault in reply.json["rows"]] == [0, 2]


def test_sagemaker_counts_them_where_it_strips_our_headers(homes: Service) -> None:
    path, body, headers = DOORS["sagemaker-csv"]

    reply = homes.ask("POST", path, body, **headers)

    attributes = reply.headers["x-amzn-sagemaker-custom-attributes"]
    assert attributes.endswith("; rondo-warnings=1")


@pytest.mark.parametrize("door", ["oip", "grpc"])
def test_what_was_told_is_counted(homes: Service, door: str) -> None:
    if door == "oip":
        homes.ask("POST", "/v2/models/homes/infer", tensor([[3, 9], [4, 8], [4, 11]]))
    else:
        grpc_answer(homes, [3, 9, 4, 8, 4, 11])

    metrics = homes.ask("GET", "/metrics").body.decode()
    assert 'rondo_inference_out_of_range_total{model="homes",version="1"} 2.0' in metrics


def grpc_answer(service: Service, values: list[float]) -> Any:
    one = pb.ModelInferRequest.InferInputTensor(
        name="columns",
        datatype="FP32",
        shape=[len(values) // 2, 2],
        contents=pb.InferTensorContents(fp32_contents=values),
    )
    request = pb.ModelInferRequest(model_name="homes", inputs=[one])
    return Caller(service)("ModelInfer", request)


def test_over_grpc_it_is_a_parameter_of_the_answer(homes: Service) -> None:
    reply = grpc_answer(homes, [3, 20, 4, 9])

    assert list(reply.outputs[0].contents.fp32_contents) == [204, 95]
    assert json.loads(reply.parameters["rondo_warnings"].string_param) == TOLD
    assert not grpc_answer(homes, [3, 20]).parameters


def test_by_the_open_inference_protocol_it_is_the_same_parameter_over_http(homes: Service) -> None:
    path, body, _ = DOORS["oip-tensor"]

    reply = homes.ask("POST", path, body)
    over_grpc = grpc_answer(homes, [3, 20, 4, 9]).parameters["rondo_warnings"].string_param

    assert reply.json["parameters"] == {"rondo_warnings": over_grpc}
    assert reply.headers["x-rondo-warnings"] == over_grpc


def test_it_is_in_the_json_before_binary_tensors_too(homes: Service) -> None:
    wanted = [{"name": "price", "parameters": {"binary_data": True}}]

    reply = homes.ask(
        "POST", "/v2/models/homes/infer", tensor([[3, 20], [4, 9]]) | {"outputs": wanted}
    )

    size = int(reply.headers["inference-header-content-length"])
    message = json.loads(reply.body[:size])
    assert json.loads(message["parameters"]["rondo_warnings"]) == TOLD
    assert np.frombuffer(reply.body[size:], "<f4").tolist() == [204, 95]


def test_where_there_is_nothing_to_tell_an_answer_has_no_parameters(homes: Service) -> None:
    body = tensor([[3, 20]]) | {"id": "7"}

    reply = homes.ask("POST", "/v2/models/homes/infer", body)

    assert reply.body == (
        b'{"model_name":"homes","model_version":"1","id":"7","outputs":'
        b'[{"name":"price","shape":[1,1],"datatype":"FP32","data":[204.0]}]}'
    )


def test_a_header_stays_short_and_in_ascii_whatever_the_columns_are_called() -> None:
    beyond = [Beyond("ü" * 128, "above maximum 1", k, 0) for k in range(30)]

    text = warnings_text(beyond)

    *some, last = json.loads(text)
    assert text.isascii()
    assert len(text) < 8000
    assert last == {"more": 30 - len(some)}
    assert some[0]["column"] == "ü" * 128


def test_the_schema_of_a_model_has_the_bounds_that_are_refused(homes: Service) -> None:
    document = homes.ask("GET", "/openapi.json").body.decode()

    assert '{"type":"number","minimum":1.0,"maximum":9.5}' in document
    assert '"minimum":10.0' not in document


# --- batch ----------------------------------------------------------------------------------------


def test_a_batch_record_is_refused_or_has_a_warning() -> None:
    body = b"3,20\n4,9\n44,9\n"
    records = read_csv(body, "", HOMES)
    outputs = np.array([[204], [95]], np.float32)

    head = output_head(HOMES, "text/csv", named=False)
    lines = output_lines(HOMES, "text/csv", records, outputs)
    objects = output_lines(HOMES, "application/jsonlines", records, outputs)

    assert (head + lines).decode().splitlines() == [
        "price,error,warning",
        "204.0,,",
        "95.0,,column 'area': 9.0 is below minimum 10.0",
        ",column 'rooms': 44.0 is above maximum 9.5,",
    ]
    assert [json.loads(line) for line in objects.splitlines()] == [
        {"price": 204},
        {"price": 95, "warning": "column 'area': 9.0 is below minimum 10.0"},
        {"column": "rooms", "error": "44.0 is above maximum 9.5"},
    ]


def test_a_worker_counts_the_numbers_of_a_job_beyond_bounds_once() -> None:
    world, found = BatchWorld(), homes_export()
    found.store(world.store)
    rows = b"rooms,area\n1,5\n2,6\n3,50\n"
    world.make(rows, export=found)

    world.work()
    world.worker.score("job1", 0)

    registry = world.metrics.registry
    labels = {"kind": found.alias.model, "outcome": "ok"}
    assert registry.get_sample_value("rondo_batch_out_of_range_total", labels) == 2


def test_warnings_of_a_batch_stay_with_their_records_behind_refused_ones() -> None:
    records = read_lines(b"[0, 9]\n[3, 20]\n[3, 9]\n", HOMES)

    lines = output_lines(HOMES, "application/jsonlines", records, np.zeros((2, 1), np.float32))

    assert ["warning" in json.loads(line) for line in lines.splitlines()] == [False, False, True]
    array = np.array([[0, 9], [3, 20], [3, 9]], np.float32)
    assert read_rows(array.tobytes(), "<f4", (2,), HOMES).faults == records.faults


# --- the page -------------------------------------------------------------------------------------


def form(values: dict[str, str], *files: bytes) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in values.items()
    ]
    parts += [
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        + data
        + b"\r\n"
        for data in files
    ]
    return b"".join([*parts, b"--x--\r\n"])


def test_the_form_knows_the_bounds_and_lets_a_browser_stop_only_what_is_refused(
    homes: Service,
) -> None:
    text = homes.ask("GET", PAGE).body.decode()

    rooms, area = (line for line in text.splitlines() if 'name="column.' in line)
    assert 'type="number" step="any" min="1.0" max="9.5"' in rooms
    assert "min=" not in area
    assert "1.0 to 9.5" in text
    assert "from 10.0" in text


def test_a_row_that_is_told_of_is_answered_with_the_cell_marked(homes: Service) -> None:
    body = form({"kind": "row", "column.rooms": "3", "column.area": "9"})

    reply = homes.ask("POST", PAGE, body, content_type=FORM)

    text = reply.body.decode()
    assert reply.status == 200
    assert '<p class="warning" id="field-1-warning">below minimum 10.0</p>' in text
    assert "column &#39;area&#39;: 9.0 is below minimum 10.0" in text


def test_a_row_that_is_refused_marks_its_cell(homes: Service) -> None:
    body = form({"kind": "row", "column.rooms": "44", "column.area": "20"})

    reply = homes.ask("POST", PAGE, body, content_type=FORM)

    assert reply.status == 400
    assert '<p class="fault" id="field-0-fault">44.0 is above maximum 9.5</p>' in (
        reply.body.decode()
    )


def test_rows_of_a_csv_are_marked_on_the_page_and_in_its_file(homes: Service) -> None:
    rows = b"rooms,area\n44,9\n3,20\n3,9\n"

    shown = homes.ask("POST", PAGE, form({"kind": "csv"}, rows), content_type=FORM)
    saved = homes.ask("POST", PAGE, form({"kind": "csv", "as": "csv"}, rows), content_type=FORM)

    assert shown.body.decode().count('<tr class="warned">') == 1
    assert shown.body.decode().count('<tr class="refused">') == 1
    assert saved.body.decode().splitlines() == [
        "row,price,error,warning",
        "1,,column 'rooms': 44.0 is above maximum 9.5,",
        "2,204.0,,",
        "3,94.0,,column 'area': 9.0 is below minimum 10.0",
    ]


def test_only_rows_that_are_shown_cost_the_text_that_is_told_of_them() -> None:
    rows = 50_000
    asked = Asked(np.full((rows, 2), 9, np.float32))
    outputs = np.zeros((rows, 1), np.float32)

    tracemalloc.start()
    lines = outcome(HOMES, asked, outputs).lines
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [line.warning for line in lines] == (
        ["column 'area': 9.0 is below minimum 10.0"] * MOST_LINES
    )
    assert most < 20 * rows


def test_a_file_words_the_warnings_of_a_few_rows_at_a_time_and_tells_them_where_they_belong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worded: list[int] = []

    def counted(schema: TableInput | ImageInput, rows: Float32Array) -> Mapping[int, str]:
        worded.append(len(rows))
        return told_by_row(schema, rows)

    monkeypatch.setattr("rondo_inference.page.outcomes.told_by_row", counted)
    inputs = np.full((ROWS_AT_ONCE + 2, 2), 9, np.float32)
    inputs[:ROWS_AT_ONCE, 1] = 20

    lines = as_csv(HOMES, Asked(inputs), np.zeros((len(inputs), 1), np.float32)).decode()

    assert worded == [ROWS_AT_ONCE, 2]
    rows = lines.splitlines()[1:]
    assert [row.partition(",,")[2] for row in rows] == (
        [""] * ROWS_AT_ONCE + ["column 'area': 9.0 is below minimum 10.0"] * 2
    )
