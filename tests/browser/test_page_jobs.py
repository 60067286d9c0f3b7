"""Large files on the page of the inference server, used as people use it."""

import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.conftest import Visitor
from tests.browser.test_page import TABLE, picture, until_focused
from tests.integration.batch_stack import BatchStack, answers_csv, prices_csv, until

PRICES = "/page/models/prices"
LONG = 300_000
"""Rows that have more bytes than the server takes at once, and that keep a worker for seconds."""
FEW = 10


def as_csv(data: bytes, name: str = "rows.csv") -> FilePayload:
    return FilePayload(name=name, mimeType="text/csv", buffer=data)


def choose(page: Page, *files: FilePayload) -> None:
    page.locator("#job-file").set_input_files(list(files))
    page.get_by_role("button", name="Make a job").click()


def done(page: Page, name: str = "rows.csv", says: str = "done") -> None:
    line = page.locator(".job-list li").filter(has_text=name)
    expect(line.locator(".state")).to_have_text(says, timeout=60_000)


def jobs_of(stack: BatchStack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.call("GET", "/batch/prices/jobs")[2]["jobs"]
    return found


def downloaded(page: Page, label: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=label).click()
    return Path(download.value.path()).read_bytes()


# --- from the file to the output ------------------------------------------------------------------


def test_a_file_that_is_too_large_to_be_answered_at_once_becomes_a_job(
    sender: Visitor, stack: BatchStack, tmp_path: Path
) -> None:
    file = tmp_path / "large.csv"
    file.write_bytes(prices_csv(LONG, bad={7: "many,Aa"}))
    page = sender.open(PRICES)

    page.locator("#csv").set_input_files(file)

    until(lambda: {"RUNNING"} == {job["state"] for job in jobs_of(stack)}, pause_seconds=0.01)
    with stack.processes[-1].held():  # the worker: else it may be done before anyone looks
        bar = page.locator(".job-list progress")
        expect(bar).to_have_attribute("max", "100", timeout=60_000)
    done(page, "large.csv")
    expect(page.locator(".job-list")).to_contain_text("300,000 rows, 1 refused")
    expect(page.locator(".job-list")).to_contain_text(
        "refused rows counts from 1, without a header"
    )
    expect(page.locator(".job-list progress")).to_have_count(0)
    lines = answers_csv(LONG).splitlines()
    lines[8] = b",column 'rooms': 'many' is not a number"
    assert downloaded(page, "Download CSV of large.csv").splitlines() == lines
    assert downloaded(page, "Refused rows of large.csv").splitlines() == [
        b"row,file,column,rule",
        b"8,,rooms,'many' is not a number",
    ]


def test_a_small_file_is_still_answered_at_once(sender: Visitor) -> None:
    page = sender.open(PRICES)

    page.locator("#csv").set_input_files([as_csv(prices_csv(FEW))])

    expect(page.locator("#answer tbody tr")).to_have_count(FEW)
    expect(page.locator("#jobs")).to_contain_text("No job was made yet.")


def test_pictures_become_one_job(sender: Visitor) -> None:
    page = sender.open("/page/models/shapes")

    choose(page, picture(0, side=2), picture(1, side=2), picture(2, side=3))

    done(page, "pictures")
    expect(page.locator(".job-list")).to_contain_text("3 rows, 1 refused")
    names = [line.split(b",")[0] for line in downloaded(page, "Download CSV").splitlines()]
    assert names == [b"file", b"0.png", b"1.png", b"2.png"]


def test_a_file_that_is_being_sent_is_stopped_and_nothing_is_kept(sender: Visitor) -> None:
    page = sender.open(PRICES)
    page.route("**/batch/inputs/**", lambda _: None)  # the store never answers
    choose(page, as_csv(prices_csv(FEW)))

    page.get_by_role("button", name="Stop").click()

    expect(page.locator("#new-job [role=status]")).to_have_text("Stopped; nothing is kept.")
    expect(page.locator("#jobs")).to_contain_text("No job was made yet.")


def test_what_cannot_be_deleted_after_a_stop_is_told_and_stays_in_the_list(
    sender: Visitor,
) -> None:
    page = sender.open(PRICES)
    page.route("**/batch/inputs/**", lambda _: None)  # the store never answers
    page.route("**/delete", lambda route: route.fulfill(status=503, body=""))
    choose(page, as_csv(prices_csv(FEW)))

    page.get_by_role("button", name="Stop").click()

    told = page.locator("#new-job [role=status]")
    expect(told).to_have_text(
        "Stopped; its job stays in the list, since it was not deleted: the server answered 503."
    )
    expect(page.locator(".job-list li")).to_have_count(1)
    sender.complaints.clear()  # the browser's own line about it


def test_a_store_that_does_not_answer_is_told(sender: Visitor) -> None:
    page = sender.open(PRICES)
    page.route("**/batch/inputs/**", lambda route: route.abort())

    choose(page, as_csv(prices_csv(FEW)))

    told = page.locator("#new-job [role=status]")
    expect(told).to_have_text("Not sent: the store did not answer; nothing is kept.")
    expect(page.locator("#jobs")).to_contain_text("No job was made yet.")
    sender.complaints.clear()  # the browser's own line about it


def test_a_server_of_a_folder_says_what_it_takes(visitor: Visitor, tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    file.write_bytes(b"0" * (26 * 1024 * 1024))
    page = visitor.open(TABLE)

    page.locator("#csv").set_input_files(file)

    expect(page.locator("#answer [role=alert]")).to_have_text(
        "26 MB are too many: this server takes 25 MB at once, and has no store for jobs."
    )


# --- what is done with a job ----------------------------------------------------------------------


def test_a_job_is_cancelled_goes_on_and_is_deleted_by_keyboard_alone(sender: Visitor) -> None:
    page = sender.open(PRICES)
    choose(page, as_csv(prices_csv(LONG)))
    page.get_by_role("button", name="Cancel rows.csv").wait_for(timeout=60_000)

    until_focused(page, "[id^=cancel]")
    page.keyboard.press("Enter")
    done(page, says="cancelled")
    page.get_by_role("button", name="Go on with rows.csv").press("Enter")
    page.get_by_role("button", name="Cancel rows.csv").press("Enter")
    done(page, says="cancelled")
    page.locator("summary").press("Enter")
    page.get_by_role("button", name="Delete with input and output").press("Enter")

    expect(page.locator("#jobs")).to_contain_text("No job was made yet.")


def test_without_script_jobs_are_made_watched_fetched_and_deleted(sender: Visitor) -> None:
    page = sender.open(PRICES, java_script_enabled=False)

    choose(page, as_csv(prices_csv(5_000)))
    page.wait_for_url(f"**{PRICES}/jobs")
    done(page)  # the page comes again by itself
    output = downloaded(page, "Download CSV")
    page.locator("summary").click()
    page.get_by_role("button", name="Delete with input and output").click()

    assert output == answers_csv(5_000)
    expect(page.locator("#jobs")).to_contain_text("No job was made yet.")


def test_past_jobs_are_found_again_and_paged(sender: Visitor, stack: BatchStack) -> None:
    for _ in range(11):
        stack.make(prices_csv(FEW), start=False)
    page = sender.open(PRICES)
    expect(page.locator(".job-list li")).to_have_count(10)

    page.get_by_role("link", name="Older jobs").click()

    expect(page.locator(".job-list li")).to_have_count(1)
    page.get_by_role("link", name="Newest jobs").click()
    expect(page.locator(".job-list li")).to_have_count(10)


# --- how it looks ---------------------------------------------------------------------------------


def filled(sender: Visitor, stack: BatchStack, path: str, **options: object) -> Page:
    """Open a page with jobs of all kinds of ends."""
    whole = stack.make(prices_csv(FEW, bad={3: "x" * 80 + ",Aa"}))
    broken = stack.make(b"town\nAa\n")
    stack.make(prices_csv(FEW), start=False)
    stack.over(whole)
    stack.over(broken)
    page = sender.open(path, **options)
    expect(page.locator(".job-list li")).to_have_count(3)
    page.locator("summary").first.click()
    return page


@pytest.mark.parametrize("path", [PRICES, f"{PRICES}/jobs"])
def test_360_pixels_need_no_sideways_scrolling(
    sender: Visitor, stack: BatchStack, path: str
) -> None:
    page = filled(sender, stack, path, viewport={"width": 360, "height": 720})

    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [PRICES, f"{PRICES}/jobs"])
def test_axe_finds_nothing_serious(
    sender: Visitor, stack: BatchStack, path: str, scheme: str
) -> None:
    page = filled(sender, stack, path, color_scheme=scheme)

    found = Axe().run(page).response["violations"]

    serious = [one["id"] for one in found if one["impact"] in {"serious", "critical"}]
    assert serious == [], json.dumps(found, indent=1)
