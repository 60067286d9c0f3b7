"""The page for people who write no program, without a browser."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from rondo_core.input_schema import CategoryColumn, ImageInput, NumberColumn, TableInput
from rondo_core.model_layers import Dense, Flatten
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes, Number
from rondo_inference.domain.row_faults import RowFault, RowFaults, decode_good_rows
from rondo_inference.page.forms import Asked, fields
from rondo_inference.page.outcomes import as_csv, outcome
from rondo_inference.registry.slots import Slot
from tests.unit.rondo_inference.asked import Reply, Service, running
from tests.unit.rondo_inference.exported import (
    PRICES,
    SHAPES,
    Export,
    identity_onnx,
    prices_export,
    sample_folder,
    shapes_export,
    write_onnx,
)
from tests.unit.rondo_inference.fakes import WatchingEngine, in_flight, served_by

EVIL = "<script>alert('1')</script>"
ROW = {"kind": "row", "column.rooms": "3", "column.town": "Bonn"}
PRICES_PAGE = "/page/models/prices"
SHAPES_PAGE = "/page/models/shapes"


class Document(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(reply.body.decode())
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.elements if found == tag]

    def values(self) -> dict[str | None, str | None]:
        return {one.get("name"): one.get("value") for one in self.all("input")}


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as found:
        yield found


def send(service: Service, target: str, values: dict[str, str], *files: tuple[str, bytes]) -> Reply:
    """Send a form as a browser does: fields, then files by name."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in values.items()
    ] + [
        f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    body = b"".join([*parts, b"--x--\r\n"])
    return service.ask("POST", target, body, content_type="multipart/form-data; boundary=x")


def send_csv(service: Service, body: bytes, *, as_file: bool = False) -> Reply:
    wanted = {"as": "csv"} if as_file else {}
    return send(service, PRICES_PAGE, {"kind": "csv", **wanted}, ("rows.csv", body))


def png(size: tuple[int, int] = (2, 2), value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, value).save(file, "PNG")
    return file.getvalue()


# --- which model ----------------------------------------------------------------------------------


def test_the_first_page_lists_every_model_and_what_it_takes(service: Service) -> None:
    service.serve(prices_export(2), prices_export(3, label="candidate"), shapes_export())

    page = Document(service.ask("GET", "/"))

    assert "prices 2 columns → price ready · versions 2, 3 " in page.text
    assert "shapes grey pictures, 2 × 2 → light or dark ready · version 1 " in page.text
    assert [one["href"] for one in page.all("a")][3:] == [PRICES_PAGE, SHAPES_PAGE]


def test_the_first_page_says_how_a_model_stands_that_is_not_loaded(tmp_path: Path) -> None:
    sample_folder(tmp_path)
    write_onnx(tmp_path, "broken", b"not a model")

    with running(models=tmp_path, load_on_demand=True, pinned_models="broken") as service:
        service.ask("POST", "/v2/repository/models/prices/unload")
        text = Document(service.ask("GET", "/")).text

    assert "broken cannot be loaded" in text
    assert "prices 2 columns" not in text
    assert "prices unloaded" in text
    assert "shapes loaded when it is asked · version 3 " in text


def test_the_first_page_of_a_server_without_models_says_so(service: Service) -> None:
    service.watcher.scan()

    assert "No model is served yet." in Document(service.ask("GET", "/")).text


def test_a_model_that_waits_for_its_first_request_is_loaded_by_its_page(tmp_path: Path) -> None:
    with running(models=sample_folder(tmp_path), load_on_demand=True) as service:
        reply = service.ask("GET", PRICES_PAGE)

    assert (reply.status, reply.headers["x-rondo-version"]) == (200, "2")


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/page/models/cats", 404, "no model 'cats'; served are: prices"),
        (f"{PRICES_PAGE}?version=9", 404, "model 'prices' has no version 9; served versions: [2]"),
        (f"{PRICES_PAGE}?version=two", 404, "'two' is no version: a version is a number"),
        (f"{SHAPES_PAGE}/sample.csv", 404, "no model 'shapes'"),
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(
    service: Service, target: str, status: int, text: str
) -> None:
    service.serve(prices_export(2))

    reply = service.ask("GET", target)

    assert (reply.status, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert text in Document(reply).text


def test_a_version_is_chosen_by_its_number(service: Service) -> None:
    service.serve(prices_export(2), prices_export(3, label="candidate"))

    reply = service.ask("GET", f"{PRICES_PAGE}?version=3")

    page = Document(reply)
    options = page.all("option")[:3]
    assert [one["value"] for one in options] == ["", "3", "2"]
    assert [one for one in options if "selected" in one] == [options[1]]
    assert "3 (candidate) 2 (champion)" in page.text
    assert reply.headers["x-rondo-version"] == "3"
    assert "Served is prices, version 3 (run-a/30)" in page.text


# --- one row --------------------------------------------------------------------------------------


def test_the_form_has_a_field_for_each_column_and_starts_from_what_is_usual(
    service: Service,
) -> None:
    service.serve(prices_export(2))

    page = Document(service.ask("GET", PRICES_PAGE))

    assert page.values()["column.rooms"] == "0"
    assert [one["name"] for one in page.all("select")] == ["column.town"]
    assert [one["value"] for one in page.all("option")] == ["Aa", "Bonn"]
    assert {"rooms", "town"} <= set(page.text.split())


def test_a_row_is_predicted_and_the_form_keeps_it(service: Service) -> None:
    service.serve(prices_export(2))

    reply = send(service, PRICES_PAGE, ROW)

    page = Document(reply)
    assert reply.status == 200
    assert "Answer price 15 " in page.text
    assert "Answered by prices, version 2 (run-a/20)" in page.text
    assert (reply.headers["x-rondo-version"], reply.headers["x-rondo-run"]) == ("2", "run-a/20")
    assert page.values()["column.rooms"] == "3"
    assert [one["value"] for one in page.all("option") if "selected" in one] == ["Bonn"]


def test_every_wrong_value_of_a_row_is_marked_where_it_stands(service: Service) -> None:
    service.serve(prices_export(2))

    reply = send(service, PRICES_PAGE, ROW | {"column.rooms": "few", "column.town": "Rome"})

    page = Document(reply)
    marked = [attrs["name"] for _, attrs in page.elements if "aria-invalid" in attrs]
    assert reply.status == 400
    assert marked == ["column.rooms", "column.town"]
    assert "'few' is not a number" in page.text
    assert (
        "Answer 2 values do not fit: rooms: 'few' is not a number "
        "town: 'Rome' is not one of 'Aa', 'Bonn'"
    ) in page.text
    links = [str(one["href"]) for one in page.all("a")]
    assert [link for link in links if "#field" in link] == ["#field-0", "#field-1"]
    assert "row 0" not in page.text


def test_a_row_without_a_column_is_refused(service: Service) -> None:
    service.serve(prices_export(2))

    reply = send(service, PRICES_PAGE, {"kind": "row", "column.rooms": "3"})

    assert reply.status == 400
    assert "1 value does not fit: town: is missing" in Document(reply).text


def test_a_version_that_was_chosen_answers(service: Service) -> None:
    service.serve(prices_export(2), prices_export(3, label="candidate"))

    reply = send(service, f"{PRICES_PAGE}?version=3", ROW)

    assert "price 16 " in Document(reply).text
    assert reply.headers["x-rondo-version"] == "3"


def test_a_long_list_of_words_is_searched_and_a_wide_table_has_no_form() -> None:
    words = tuple(f"town {at}" for at in range(100))
    long = TableInput(columns=(CategoryColumn(name="town", values=words),))
    wide = TableInput(columns=tuple(NumberColumn(name=f"c{at}") for at in range(301)))

    (field,) = fields(PRICES, long, None)

    assert (field.value, field.is_list, field.words) == ("town 0", False, words)
    assert fields(PRICES, wide, None) == ()


@pytest.mark.parametrize(
    ("media", "body", "status", "text"),
    [
        ("application/json", b"{}", 415, "the page's forms are multipart/form-data"),
        ("multipart/form-data; boundary=x", b"--y", 400, "does not start with its boundary"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\nmagic\r\n--x--',
            400,
            "kind 'magic' is none of row, pictures, csv, json",
        ),
    ],
)
def test_what_is_no_form_of_the_page_is_refused(
    service: Service, media: str, body: bytes, status: int, text: str
) -> None:
    service.serve(prices_export(2))

    reply = service.ask("POST", PRICES_PAGE, body, content_type=media)

    assert reply.status == status
    assert text in Document(reply).text


@pytest.mark.parametrize(("site", "status"), [("same-origin", 415), ("cross-site", 400)])
def test_a_form_of_another_site_is_refused(service: Service, site: str, status: int) -> None:
    service.serve(prices_export(2))

    reply = service.ask("POST", PRICES_PAGE, b"", sec_fetch_site=site)

    assert reply.status == status


# --- a CSV ----------------------------------------------------------------------------------------


def test_a_csv_is_a_table_in_which_the_rows_that_do_not_fit_are_marked(service: Service) -> None:
    service.serve(prices_export(2))

    reply = send_csv(service, b"town,rooms\nBonn,3\nRome,1\nAa,many\nAa\nAa,1\n")

    page = Document(reply)
    assert reply.status == 200
    assert "2 predicted, 3 refused" in page.text
    assert (
        "1 line 2 15 2 line 3 refused column town: 'Rome' is not one of 'Aa', 'Bonn'" in page.text
    )
    assert "3 line 4 refused column rooms: 'many' is not a number" in page.text
    assert "4 line 5 refused 1 cells, but the header has 2 5 line 6 3 " in page.text
    assert len([one for one in page.all("tr") if one.get("class") == "refused"]) == 3


def test_rows_are_told_as_people_count_them_with_their_lines_in_the_file(service: Service) -> None:
    service.serve(prices_export(2))

    with_header = Document(send_csv(service, b"\ntown,rooms\nAa,1\n\nRome,1\n"))
    without = Document(send_csv(service, b"1,Aa\nmany,Aa\n"))
    broken = Document(send_csv(service, b'id,town,rooms\n1,Rome,1\n"2\n3",Aa,1\n4,Rome,1\n'))

    assert "1 line 3 3 2 line 5 refused column town" in with_header.text
    assert "1 line 1 3 2 line 2 refused column rooms" in without.text
    assert "1 line 2 refused column town" in broken.text
    assert "2 line 3 3 3 refused column town" in broken.text
    for page in (with_header, without, broken):
        assert "Rows are counted from 1, without a header; lines are those of" in page.text


def test_a_file_with_too_many_wrong_rows_names_the_first_as_people_count(service: Service) -> None:
    service.serve(prices_export(2))
    body = b"town,rooms\nAa,1\n" + b"Rome,1\n" * 1001

    reply = send_csv(service, body)

    assert reply.status == 400
    assert (
        "row 2 (line 3 of the file), column 'town': 'Rome' is not one of 'Aa', 'Bonn'"
        in Document(reply).text
    )


def test_a_csv_is_downloaded_with_a_line_for_every_row(service: Service) -> None:
    service.serve(prices_export(2))

    reply = send_csv(service, b"town,rooms\nBonn,3\nRome,1\nAa\n", as_file=True)

    assert list(csv.reader(io.StringIO(reply.body.decode()))) == [
        ["row", "price", "error"],
        ["1", "15.0", ""],
        ["2", "", "column 'town': 'Rome' is not one of 'Aa', 'Bonn'"],
        ["3", "", "1 cells, but the header has 2"],
    ]
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="prices-v2.csv"'
    assert reply.headers["x-rondo-version"] == "2"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"town\nAa\n", "the CSV's header lacks column 'rooms'; it has 'town'"),
        (b"", "the CSV is empty"),
        (b"town,rooms\n\xff,1\n", "the CSV is not UTF-8"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_refused(
    service: Service, body: bytes, text: str
) -> None:
    service.serve(prices_export(2))

    reply = send_csv(service, body)

    assert reply.status == 400
    assert text in Document(reply).text


def test_no_file_is_refused(service: Service) -> None:
    service.serve(prices_export(2))

    reply = send(service, PRICES_PAGE, {"kind": "csv"})

    assert reply.status == 400
    assert "no CSV file was chosen" in Document(reply).text


def test_a_file_whose_rows_are_all_wrong_asks_no_engine(service: Service) -> None:
    service.serve(prices_export(2))

    reply = send_csv(service, b"town,rooms\nRome,3\n")

    assert reply.status == 200
    assert "0 predicted, 1 refused" in Document(reply).text


def test_a_long_file_is_shown_in_part_with_faults_that_are_far_down(service: Service) -> None:
    service.serve(prices_export(2))
    body = b"town,rooms\n" + b"Aa,1\n" * 500 + b"Rome,1\n" + b"Aa,1\n" * 10

    page = Document(send_csv(service, body))

    assert "510 predicted, 1 refused. 101 of 511 rows are shown" in page.text
    assert "100 line 101 3 501 line 502 refused column town" in page.text


def test_a_file_to_start_from_is_what_an_untouched_form_sends(service: Service) -> None:
    service.serve(prices_export(2), shapes_export())

    reply = service.ask("GET", f"{PRICES_PAGE}/sample.csv?version=2")
    refused = service.ask("GET", f"{SHAPES_PAGE}/sample.csv")

    assert reply.body == b"rooms,town\n0,Aa\n"
    assert "0 predicted" not in Document(send_csv(service, reply.body)).text
    assert (refused.status, "takes no table" in Document(refused).text) == (400, True)


def test_a_model_that_cannot_be_loaded_is_told_with_its_status(tmp_path: Path) -> None:
    write_onnx(tmp_path, "broken", b"not a model")

    with running(models=tmp_path) as service:
        reply = service.ask("GET", "/page/models/broken")

    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert "version 1 of model 'broken' is not served" in Document(reply).text


# --- pictures -------------------------------------------------------------------------------------


def test_a_small_grey_picture_can_be_drawn_and_a_colour_picture_cannot(service: Service) -> None:
    service.serve(shapes_export())

    page = Document(service.ask("GET", SHAPES_PAGE))

    (canvas,) = page.all("canvas")
    assert (canvas["data-width"], canvas["data-height"], canvas["tabindex"]) == ("2", "2", "0")
    assert "bring other sizes to 2 × 2" in page.text


def test_one_picture_gives_bars_and_shows_what_the_model_saw(service: Service) -> None:
    service.serve(shapes_export())

    reply = send(service, SHAPES_PAGE, {"kind": "pictures"}, ("one.png", png(value=255)))

    page = Document(reply)
    seen = next(one for one in page.all("img") if one.get("class") == "seen")
    assert "Answer light light 98.2% dark 1.8% " in page.text
    assert [one["width"] for one in page.all("rect")][1::2] == ["98.2%", "1.8%"]
    assert (seen["src"] or "").startswith("data:image/png;base64,")


def test_many_pictures_are_a_table_by_file_name_with_the_bad_ones_marked(service: Service) -> None:
    service.serve(shapes_export())
    files = (("a.png", png()), ("b.png", png((3, 2))), ("c.txt", b"words"))

    page = Document(send(service, SHAPES_PAGE, {"kind": "pictures"}, *files))

    assert "1 predicted, 2 refused" in page.text
    assert "1 a.png light light 50.0% dark 50.0%" in page.text
    assert "2 b.png refused a picture of 2 x 3 (height x width), the model takes 2 x 2" in page.text
    assert "3 c.txt refused is neither PNG nor JPEG" in page.text


def test_pictures_of_another_size_are_resized_when_the_form_says_so(service: Service) -> None:
    service.serve(shapes_export())
    values = {"kind": "pictures", "resize": "on"}

    page = Document(send(service, SHAPES_PAGE, values, ("b.png", png((4, 4), 255))))

    assert "light 98.2%" in page.text
    assert "checked" in next(one for one in page.all("input") if one.get("name") == "resize")


def test_a_downloaded_csv_has_no_formulas() -> None:
    output = msgspec.structs.replace(SHAPES.output, labels=("=1+1", "-1"))
    spec = msgspec.structs.replace(SHAPES, output=output)
    faults = (RowFault(2, None, "-1 is below minimum 0"), RowFault(3, "=A1", "is empty"))
    asked = Asked(np.zeros((2, 2, 2, 1), np.float32), faults, ("@a", "-b", "c", "+d"))

    found = as_csv(spec, asked, np.array([[0.75, -0.25], [-0.5, 0.5]], np.float32))

    assert found.decode().splitlines() == [
        "row,file,label,probability_=1+1,probability_-1,error",
        "1,'@a,'=1+1,0.75,-0.25,",
        "2,'-b,-1,-0.5,0.5,",
        "3,c,,,,'-1 is below minimum 0",
        "4,'+d,,,,column '=A1': is empty",
    ]


def test_pictures_are_downloaded_with_their_names(service: Service) -> None:
    service.serve(shapes_export())
    values = {"kind": "pictures", "as": "csv"}

    reply = send(service, SHAPES_PAGE, values, ("a.png", png()), ("b.png", b"no"))

    assert reply.body.decode().splitlines() == [
        "row,file,label,probability_light,probability_dark,error",
        "1,a.png,light,0.5,0.5,",
        "2,b.png,,,,is neither PNG nor JPEG",
    ]


def test_pictures_with_too_many_pixels_together_are_refused_and_the_others_predicted() -> None:
    huge, small = png((8_000, 5_000)), png()
    files = [("a.png", huge), ("b.png", huge), ("c.png", small)]
    with running(max_body_bytes=500_000) as service:
        service.serve(shapes_export())
        page = Document(send(service, SHAPES_PAGE, {"kind": "pictures", "resize": "on"}, *files))

    assert "2 predicted, 1 refused" in page.text
    assert "b.png refused a picture of 8000 x 5000 is over 67108864 pixels" in page.text


def test_no_picture_or_only_bad_ones(service: Service) -> None:
    service.serve(shapes_export())

    none = send(service, SHAPES_PAGE, {"kind": "pictures"})
    bad = send(service, SHAPES_PAGE, {"kind": "pictures"}, ("a.png", b"no"))

    assert (none.status, "no picture was chosen or drawn" in Document(none).text) == (400, True)
    assert "0 predicted, 1 refused" in Document(bad).text


def test_pictures_for_a_table_and_a_row_for_a_picture_are_refused(service: Service) -> None:
    service.serve(prices_export(2), shapes_export())

    table = send(service, PRICES_PAGE, {"kind": "pictures"}, ("a.png", png()))
    picture = send(service, SHAPES_PAGE, ROW)

    assert (table.status, "the model takes no pictures" in Document(table).text) == (400, True)
    assert (picture.status, "column 'image': is missing" in Document(picture).text) == (400, True)


def test_channels_that_are_no_picture_are_asked_by_csv_and_shown_without_one() -> None:
    spec = ModelSpec(
        model="layers",
        input=ImageInput(height=1, width=1, channels=5),
        layers=(Flatten(name="flat"), Dense(name="head", units=1)),
        output=Number(name="depth"),
        loss="mean_squared_error",
    )
    asked = Asked(np.zeros((1, 1, 1, 5), np.float32))

    found = outcome(spec, asked, np.array([[0.25]], np.float32))

    assert (found.what, found.lines[0].prediction, found.lines[0].picture) == ("depth", "0.25", "")


# --- tensors --------------------------------------------------------------------------------------


def test_a_version_of_which_only_the_tensors_are_known_is_asked_by_json(tmp_path: Path) -> None:
    with running(models=sample_folder(tmp_path)) as service:
        first = service.ask("GET", "/page/models/identity")
        body = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", first.body.decode(), re.DOTALL)
        assert body is not None
        sample = body[1].replace("&#34;", '"')
        reply = send(service, "/page/models/identity", {"kind": "json", "body": sample})
        refused = send(service, "/page/models/identity", {"kind": "json", "body": "{"})

    assert '"IN_BYTES": [[""]]' in sample
    assert reply.status == 200
    assert '"OUT_FP32":[[0.0]]' in Document(reply).text
    assert refused.status == 400


# --- whatever it is called, it is text ------------------------------------------------------------


def with_spec(export: Export, spec: ModelSpec) -> Export:
    """Return an export whose version describes itself in other words."""
    alias = msgspec.structs.replace(export.alias, spec=spec.sha256)
    return Export(alias, export.index, spec, export.files).sealed(spec=spec.sha256)


def test_columns_words_and_the_predicted_name_are_text(service: Service) -> None:
    columns = (
        NumberColumn(name=f'"; {EVIL}'),
        CategoryColumn(name=EVIL, values=(EVIL, '" autofocus onfocus="alert(1)')),
    )
    spec = msgspec.structs.replace(
        PRICES, input=TableInput(columns=columns), output=Number(name=EVIL)
    )
    service.serve(with_spec(prices_export(2), spec))

    shown = Document(service.ask("GET", PRICES_PAGE))
    names = [one["name"] or "" for one in [*shown.all("input")[1:2], *shown.all("select")]]
    row = {"kind": "row", names[0]: "3", names[1]: EVIL}
    answered = Document(send(service, PRICES_PAGE, row))
    refused = Document(send(service, PRICES_PAGE, row | {names[0]: EVIL}))

    assert f'"; {EVIL} {EVIL} {EVIL}' in shown.text
    assert f"Answer {EVIL} 5 " in answered.text
    assert f'"{EVIL}" is not a number' in refused.text
    assert all(only_our_own(page) for page in (shown, answered, refused))


def test_labels_are_text(service: Service) -> None:
    spec = msgspec.structs.replace(SHAPES, output=Classes(labels=(EVIL, "dark")))
    service.serve(with_spec(shapes_export(), spec))

    page = Document(send(service, SHAPES_PAGE, {"kind": "pictures"}, ("one.png", png(value=255))))

    assert f"Answer {EVIL} {EVIL} 98.2% dark 1.8%" in page.text
    assert only_our_own(page)


def test_cells_and_file_names_are_text(service: Service) -> None:
    service.serve(prices_export(2), shapes_export())

    cells = Document(send_csv(service, f'town,rooms\n"{EVIL}",1\nAa,"{EVIL}"\n'.encode()))
    header = Document(send_csv(service, f"{EVIL}\n1\n".encode()))
    files = ((EVIL, png()), ("b.png", b""))
    names = Document(send(service, SHAPES_PAGE, {"kind": "pictures"}, *files))

    assert f'column town: "{EVIL}" is not one of' in cells.text
    assert f'column rooms: "{EVIL}" is not a number' in cells.text
    assert f'it has "{EVIL}"' in header.text
    assert EVIL in names.text
    assert all(only_our_own(page) for page in (cells, header, names))


@pytest.mark.parametrize("name", ["<script>alert(1)", '"><img src=x onerror=alert(1)>'])
def test_a_models_name_is_text(tmp_path: Path, name: str) -> None:
    write_onnx(tmp_path, name, identity_onnx("FP32"))

    with running(models=tmp_path) as service:
        listed = Document(service.ask("GET", "/"))
        (link,) = [one["href"] for one in listed.all("a") if "/models/" in (one["href"] or "")]
        shown = Document(service.ask("GET", link or ""))

    for page in (listed, shown):
        assert name in page.text
        assert only_our_own(page)


def only_our_own(page: Document) -> bool:
    """Whether there is no script but the page's, no handler, and no style in an element."""
    scripts = [(one["src"] or "").partition("?")[0] for one in page.all("script")]
    attributes = {name for _, attrs in page.elements for name in attrs}
    return scripts == ["/page/assets/page.js", "/page/assets/jobs.js"] and not any(
        name.startswith("on") or name == "style" for name in attributes
    )


# --- headers, assets, keys ------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/", PRICES_PAGE, "/page/models/cats"])
def test_every_page_forbids_what_it_does_not_need(service: Service, target: str) -> None:
    service.serve(prices_export(2))

    headers = service.ask("GET", target).headers

    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_assets_are_kept_for_ever_since_their_address_changes_with_them(service: Service) -> None:
    page = Document(service.ask("GET", "/"))

    addresses = [one["src"] or "" for one in page.all("script")]
    addresses += [one["href"] or "" for one in page.all("link")]
    replies = [service.ask("GET", address) for address in addresses]

    assert [reply.headers["content-type"].partition(";")[0] for reply in replies] == [
        "text/javascript",
        "text/javascript",
        "image/svg+xml",
        "text/css",
    ]
    assert {reply.headers["cache-control"] for reply in replies} == {
        "public, max-age=31536000, immutable"
    }
    assert service.ask("GET", "/page/assets/__init__.py").status == 404


# --- rows that fit, and the others ----------------------------------------------------------------


def test_rows_that_do_not_fit_are_set_aside_in_their_order() -> None:
    inputs, faults = decode_good_rows(
        PRICES,
        [["1", "Aa"], ["x", "Aa"], RowFault(2, None, "ragged"), ["2", "Rome"], ["3", "Bonn"]],
    )

    assert inputs.tolist() == [[1, 0], [3, 1]]
    assert [(fault.row, fault.column) for fault in faults] == [
        (1, "rooms"),
        (2, None),
        (3, "town"),
    ]


def test_too_many_rows_that_do_not_fit_are_a_file_that_is_wrong() -> None:
    with pytest.raises(RowFaults, match="row 0, column 'rooms': 'x' is not a number") as caught:
        decode_good_rows(PRICES, [["x", "Aa"]] * 1001)

    assert len(caught.value.faults) == 100


def test_a_csv_without_a_good_row_has_a_header() -> None:
    asked = Asked(np.empty((0, 2), np.float32), (RowFault(0, "town", "is empty"),))

    found = as_csv(PRICES, asked, np.empty((0, 1), np.float32))

    assert found == b"row,price,error\n1,,column 'town': is empty\n"


def test_a_prediction_of_the_page_is_in_flight_until_it_is_answered(service: Service) -> None:
    export, engine = prices_export(7), WatchingEngine(service.metrics)
    service.catalogue.store(Slot(export.alias, served_by(export, engine)))

    assert send(service, PRICES_PAGE, ROW).status == 200
    assert (engine.seen, in_flight(service.metrics)) == ([1], 0)
