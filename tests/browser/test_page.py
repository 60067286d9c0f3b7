"""The page of the inference server, used as people use it."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect
from sklearn.datasets import load_breast_cancer, load_digits

from tests.browser.conftest import Visitor

TABLE = "/page/models/breast-cancer"
DIGITS = "/page/models/digits"
IDENTITY = "/page/models/identity"
DOCS = "/docs"
PAGES = ("/", DOCS, TABLE, DIGITS, IDENTITY)
SCRIPT = "<img src=x onerror=alert(1)>"
ONE = ((0.5, 0.1), (0.5, 0.5), (0.5, 0.9))


def patients(*rows: int, spoilt: str = "") -> bytes:
    """Return rows of the data that the model was trained with; one more has a cell ``spoilt``."""
    bunch = load_breast_cancer()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(bunch.feature_names)
    writer.writerows(bunch.data[list(rows)])
    if spoilt:
        writer.writerow([spoilt, *bunch.data[0][1:]])
    return text.getvalue().encode()


def picture(label: int, side: int = 28) -> FilePayload:
    """Return the first digit of a label, as a file."""
    bunch = load_digits()
    small = bunch.images[int(np.argmax(bunch.target == label))] * (255 / 16)
    file = io.BytesIO()
    large = Image.fromarray(small.astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
    large.save(file, "PNG")
    return FilePayload(name=f"{label}.png", mimeType="image/png", buffer=file.getvalue())


def as_csv(data: bytes) -> FilePayload:
    return FilePayload(name="rows.csv", mimeType="text/csv", buffer=data)


def answer(page: Page) -> str:
    """Return what stands in the answer, once it does not change any more."""
    found = page.locator("#answer:not([aria-busy])")
    found.wait_for()
    return " ".join(found.inner_text().split())


def drop(page: Page, target: str, file: Path) -> None:
    """Drop a file as the desktop does: the browser itself takes it, no script plays it."""
    where = page.locator(target)
    where.scroll_into_view_if_needed()
    box = where.bounding_box()
    assert box is not None
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **at})


def draw(page: Page, points: tuple[tuple[float, float], ...]) -> None:
    canvas = page.locator("canvas")
    side = canvas.evaluate("canvas => canvas.clientWidth")
    for at, (x, y) in enumerate(points):
        canvas.hover(position={"x": x * side, "y": y * side})
        if at == 0:
            page.mouse.down()
    page.mouse.up()


# --- a row ----------------------------------------------------------------------------------------


def test_a_model_is_picked_and_a_row_is_filled_in_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.open("/")

    until_focused(page, "a:has-text('breast-cancer')")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{TABLE}")
    until_focused(page, "#field-0")
    page.keyboard.press("Control+A")
    page.keyboard.type("28.5")
    page.keyboard.press("Enter")

    expect(page.locator(".prediction")).to_have_text("malignant")
    expect(page.locator(".by")).to_contain_text("breast-cancer, version 1")
    expect(page.locator(".bars li")).to_have_count(2)
    expect(page.locator("#field-0")).to_have_value("28.5")
    expect(page.locator("#field-0")).to_be_focused()


def until_focused(page: Page, selector: str) -> None:
    wanted = page.locator(selector)
    for _ in range(20):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"{selector} is not reached by the tabulator")


def test_a_wrong_value_gets_the_focus_and_its_rule(visitor: Visitor) -> None:
    page = visitor.open(TABLE)

    page.locator("#field-4").fill("smooth")
    with page.expect_response(lambda reply: reply.request.method == "POST") as reply:
        page.locator("#row button").click()

    expect(page.locator("#field-4-fault")).to_have_text("'smooth' is not a number")
    expect(page.locator("#field-4")).to_be_focused()
    assert "1 value does not fit: mean smoothness: 'smooth' is not a number" in answer(page)
    assert reply.value.status == 400
    visitor.complaints.clear()  # the browser's own line about a status of 400


def test_every_wrong_value_is_told_and_leads_to_its_field(visitor: Visitor) -> None:
    page = visitor.open(TABLE)
    for at in range(30):
        page.locator(f"#field-{at}").fill("abc")

    page.locator("#row button").click()

    expect(page.locator("#answer li")).to_have_count(30)
    page.get_by_role("link", name="mean symmetry").click()
    expect(page.locator("#field-8")).to_be_focused()
    visitor.complaints.clear()  # the browser's own line about a status of 400


def test_the_button_of_a_row_is_pressed_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open(TABLE)

    page.locator("#row button").press("Enter")

    expect(page.locator(".prediction")).to_be_visible()
    expect(page.locator("#row button")).to_be_focused()


def test_an_answer_leaves_the_focus_where_the_visitor_went_meanwhile(visitor: Visitor) -> None:
    page = visitor.open(TABLE)

    page.evaluate(
        "document.querySelector('#row button').click(); document.querySelector('#csv').focus()"
    )

    expect(page.locator(".prediction")).to_be_visible()
    expect(page.locator("#csv")).to_be_focused()


# --- a CSV ----------------------------------------------------------------------------------------


def test_a_csv_that_is_dropped_becomes_a_table_with_its_faults_marked(
    visitor: Visitor, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(patients(0, 19, spoilt=SCRIPT))
    page = visitor.open(TABLE)

    drop(page, "#csv", file)

    rows = page.locator("#answer tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0).locator("td > strong")).to_have_text("malignant")
    expect(rows.nth(1).locator("td > strong")).to_have_text("benign")
    expect(rows.nth(2)).to_have_class("refused")
    expect(rows.locator("th")).to_have_text(["1line\u00a02", "2line\u00a03", "3line\u00a04"])
    expect(rows.nth(2)).to_contain_text(f"column mean radius: '{SCRIPT}' is not a number")
    assert "2 predicted, 1 refused" in answer(page)


def test_the_answer_to_a_csv_is_downloaded(visitor: Visitor) -> None:
    page = visitor.open(TABLE)
    page.locator("#csv").set_input_files(as_csv(patients(0, 19, spoilt="n/a")))
    expect(page.locator("#answer table")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()

    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert download.value.suggested_filename == "breast-cancer-v1.csv"
    assert [row["label"] for row in rows] == ["malignant", "benign", ""]
    assert [row["row"] for row in rows] == ["1", "2", "3"]
    assert rows[2]["error"] == "column 'mean radius': 'n/a' is not a number"
    assert page.locator("#answer table").is_visible()


def test_the_file_to_start_from_is_predicted(visitor: Visitor) -> None:
    page = visitor.open(TABLE)

    with page.expect_download() as download:
        page.get_by_role("link", name="A file to start from").click()
    page.locator("#csv").set_input_files(download.value.path())

    expect(page.locator(".prediction")).to_be_visible()


def test_a_server_that_is_gone_is_told(visitor: Visitor) -> None:
    page = visitor.open(TABLE)
    page.context.set_offline(offline=True)

    page.locator("#row button").click()

    expect(page.locator("#answer [role=alert]")).to_contain_text("The server did not answer")
    visitor.complaints.clear()  # the browser's own line about it


def test_a_refusal_that_is_no_page_is_told(visitor: Visitor) -> None:
    page = visitor.open(TABLE)
    page.route(
        f"**{TABLE}", lambda route: route.fulfill(status=413, json={"error": "the body is longer"})
    )

    page.locator("#row button").click()

    expect(page.locator("#answer [role=alert]")).to_have_text("the body is longer")
    visitor.complaints.clear()


# --- pictures -------------------------------------------------------------------------------------


def test_a_digit_is_drawn_with_the_mouse_and_wiped(visitor: Visitor) -> None:
    page = visitor.open(DIGITS)

    draw(page, ONE)

    expect(page.locator(".prediction")).to_have_text("1")
    expect(page.locator(".bars li")).to_have_count(10)
    expect(page.locator(".by")).to_contain_text("digits, version 1")
    page.get_by_role("button", name="Wipe").click()
    assert ink(page) == 0


def test_a_digit_is_drawn_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open(DIGITS)
    page.locator("canvas").focus()

    for key in ["ArrowUp"] * 11 + ["Space"] + ["ArrowDown"] * 22 + ["Space"]:
        page.keyboard.press(key)

    expect(page.locator(".prediction")).to_have_text("1")
    expect(page.locator("#draw-hint")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert ink(page) == 0


def ink(page: Page) -> int:
    """Return how many bright pixels the canvas has."""
    found = page.locator("canvas").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".filter((value, at) => at % 4 === 0 && value > 128).length"
    )
    return int(found)


@pytest.mark.parametrize("left", [0.1, 0.6])
@pytest.mark.parametrize("top", [0.1, 0.5])
@pytest.mark.parametrize(
    ("label", "points"),
    [("1", ((0.5, 0.0), (0.5, 0.5), (0.5, 1.0))), ("7", ((0.0, 0.0), (1.0, 0.0), (0.4, 1.0)))],
)
def test_a_small_digit_is_read_wherever_it_is_drawn(
    visitor: Visitor,
    label: str,
    points: tuple[tuple[float, float], ...],
    top: float,
    left: float,
) -> None:
    page = visitor.open(DIGITS)

    draw(page, tuple((left + 0.3 * x, top + 0.4 * y) for x, y in points))

    expect(page.locator(".prediction")).to_have_text(label)


def test_an_empty_canvas_is_not_predicted(visitor: Visitor) -> None:
    page = visitor.open(DIGITS)
    predict = page.locator(".draw button").first

    predict.click()
    expect(page.locator("#answer [role=alert]")).to_contain_text("Draw something first")
    draw(page, ONE)
    expect(page.locator(".prediction")).to_have_text("1")
    page.get_by_role("button", name="Wipe").click()
    predict.click()

    expect(page.locator("#answer [role=alert]")).to_contain_text("Draw something first")


def test_dark_ink_on_a_light_ground(visitor: Visitor) -> None:
    page = visitor.open(DIGITS)
    page.get_by_label("dark ink on a light ground").check()
    before = ink(page)

    draw(page, ONE)

    expect(page.locator(".seen")).to_be_visible()
    assert 0 < ink(page) < before


@pytest.mark.parametrize("label", [0, 4, 7])
def test_a_picture_is_uploaded(visitor: Visitor, label: int) -> None:
    page = visitor.open(DIGITS)

    page.locator("#pictures").set_input_files(picture(label))

    expect(page.locator(".prediction")).to_have_text(str(label))


def test_pictures_of_another_size_are_refused_or_resized(visitor: Visitor) -> None:
    page = visitor.open(DIGITS)
    page.locator("#pictures").set_input_files([picture(0), picture(7, side=56)])
    expect(page.locator("tr.refused")).to_contain_text("a picture of 56 x 56")

    page.get_by_label("bring other sizes to 28 × 28").check()
    page.locator("form:has(#pictures) button").first.click()

    expect(page.locator("tbody tr td > strong")).to_have_text(["0", "7"])


# --- every form -----------------------------------------------------------------------------------


def fill_row(page: Page) -> str:
    page.locator("#field-0").fill("28.5")
    return "#row button"


def fill_csv(page: Page) -> str:
    page.locator("#csv").set_input_files(as_csv(patients(0)))
    page.locator(".prediction").wait_for()  # a file that is chosen is sent at once
    return "form:has(#csv) button >> nth=0"


def fill_pictures(page: Page) -> str:
    page.locator("#pictures").set_input_files(picture(0))
    page.locator(".prediction").wait_for()
    return "form:has(#pictures) button >> nth=0"


def fill_canvas(page: Page) -> str:
    draw(page, ONE)
    page.locator(".prediction").wait_for()
    return ".draw button >> nth=0"


def fill_body(page: Page) -> str:
    page.locator("#body").fill(page.locator("#body").input_value().replace("[[0.0]]", "[[2.5]]"))
    return "form:has(#body) button"


@pytest.mark.parametrize(
    ("path", "fill", "told"),
    [
        (TABLE, fill_row, "malignant"),
        (TABLE, fill_csv, "malignant"),
        (DIGITS, fill_pictures, "0"),
        (DIGITS, fill_canvas, "1"),
        (IDENTITY, fill_body, '"OUTPUT_FP64":[[2.5]]'),
    ],
)
def test_the_button_of_a_form_is_clicked_and_keeps_the_focus(
    visitor: Visitor, path: str, fill: Callable[[Page], str], told: str
) -> None:
    page = visitor.open(path)
    button = page.locator(fill(page))
    page.evaluate("document.getElementById('answer').replaceChildren()")

    button.click()

    expect(page.locator("#answer :is(.prediction, pre)")).to_contain_text(told)
    expect(page.locator("#answer [role=alert]")).to_have_count(0)
    expect(button).to_be_focused()


# --- everywhere -----------------------------------------------------------------------------------


def filled(visitor: Visitor, path: str, **options: object) -> Page:
    """Open a page and let it answer, so that all its parts are there."""
    page = visitor.open(path, **options)
    if path == TABLE:
        page.locator("#csv").set_input_files(as_csv(patients(0, 19, spoilt="x" * 80)))
        page.locator("#answer table").wait_for()
    elif path == DIGITS:
        draw(page, ONE)
        page.locator(".prediction").wait_for()
    elif path == IDENTITY:
        page.get_by_role("button", name="Predict").click()
        page.locator("#answer pre").wait_for()
    answer(page) if path not in {"/", DOCS} else None
    return page


def test_the_documents_lead_back_and_have_the_mark(visitor: Visitor) -> None:
    page = visitor.open("/")
    page.get_by_role("link", name="API").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("What this server answers")
    expect(page.get_by_text("/v1/models/digits:predict")).to_be_visible()
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


@pytest.mark.parametrize("path", PAGES)
def test_360_pixels_need_no_sideways_scrolling(visitor: Visitor, path: str) -> None:
    page = filled(visitor, path, viewport={"width": 360, "height": 720})

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_narrow_page_shows_the_answer_below_the_first_form(visitor: Visitor) -> None:
    page = filled(visitor, DIGITS, viewport={"width": 360, "height": 720})

    tops = [page.locator(one).bounding_box() for one in (".draw", ".told", "section:has(#csv)")]

    assert [box["y"] for box in tops if box] == sorted(box["y"] for box in tops if box)


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_page_follows_the_colour_scheme(visitor: Visitor, scheme: str, is_dark: bool) -> None:  # noqa: FBT001
    page = visitor.open(DIGITS, color_scheme=scheme)

    colours = page.evaluate(
        "['background-color', 'color'].map(name => getComputedStyle(document.body)"
        ".getPropertyValue(name).match(/\\d+/g).slice(0, 3).map(Number))"
    )

    ground, ink_colour = (sum(colour) for colour in colours)
    assert (ground < ink_colour) == is_dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [*PAGES, "/page/models/nothing"])
def test_axe_finds_nothing_serious(visitor: Visitor, path: str, scheme: str) -> None:
    page = filled(visitor, path, color_scheme=scheme)
    visitor.complaints.clear()  # the browser's own line about a status of 404

    found = Axe().run(page).response["violations"]

    serious = [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
    assert serious == []


def test_a_key_for_one_model_opens_every_link_that_is_shown(
    guarded_visitor: Visitor,
) -> None:
    page = guarded_visitor.open("/", http_credentials={"username": "any", "password": "digits"})

    expect(page.locator(".cards strong")).to_have_text(["digits"])
    for link in ("digits", "Rondo", "API", "openapi.json"):
        with page.expect_navigation() as reply:
            page.get_by_role("link", name=link).first.click()
        assert reply.value.status == 200


def test_a_key_for_another_model_is_refused_in_plain_words(guarded_visitor: Visitor) -> None:
    page = guarded_visitor.open(TABLE, http_credentials={"username": "", "password": "digits"})

    expect(page.get_by_role("alert")).to_have_text("the key is not for model 'breast-cancer'")
    page.get_by_role("link", name="The models of your key").click()
    expect(page.locator(".cards strong")).to_have_text(["digits"])
    guarded_visitor.complaints.clear()  # the browser's own line about a status of 403


def test_a_wrong_key_is_refused_in_plain_words(guarded_visitor: Visitor) -> None:
    page = guarded_visitor.open(TABLE, http_credentials={"username": "", "password": "wrong"})

    expect(page.get_by_role("alert")).to_contain_text("the key is the password")
    guarded_visitor.complaints.clear()  # the browser's own line about a status of 401


def test_without_script_every_form_but_the_canvas_works(visitor: Visitor) -> None:
    page = visitor.open(TABLE, java_script_enabled=False)
    page.locator("#field-0").fill("28.5")

    page.locator("#row button").click()
    expect(page.locator(".prediction")).to_have_text("malignant")
    page.locator("#csv").set_input_files(as_csv(patients(0, 19)))
    page.locator("form:has(#csv) button").first.click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.goto(DIGITS)
    expect(page.locator("canvas")).to_be_hidden()
    page.locator("#pictures").set_input_files(picture(4))
    page.locator("form:has(#pictures) button").first.click()

    expect(page.locator(".prediction")).to_have_text("4")
