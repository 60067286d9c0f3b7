"""Take the pictures of docs/images/ with Chromium: run `make demo sample-models` first.

``python -m docs.make_screenshots [demo] [page] [jobs]`` takes all, or those named; it needs a
Chromium on PATH (Debian: ``apt-get install chromium``).
"""

import csv
import io
import math
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from sklearn.datasets import load_breast_cancer

from rondo_local.emulators import start_redis
from rondo_local.processes import Supervisor
from rondo_local.readiness import free_port
from tests.emulators import start_emulator
from tests.integration.batch_stack import BatchStack, batch_stack, prices_csv
from tests.unit.rondo_inference.exported import prices_export

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
REPORT = ROOT / "build" / "demo" / "report.html"
MODELS = ROOT / "build" / "models"
SECONDS = 60.0
MOMENT = 2000
"""Milliseconds until a bar has something to show."""

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
THREE = tuple(
    (0.45 + 0.2 * math.cos(math.radians(turn)), middle + 0.19 * math.sin(math.radians(turn)))
    for middle, first, last in ((0.31, -150, 80), (0.69, -80, 150))
    for turn in range(first, last, 10)
)
"""A 3 as a hand draws it, in shares of the canvas."""


def demo(browser: Browser) -> None:
    """Take the picture of the demo's report."""
    with opened(browser, {"width": 900, "height": 860}) as page:
        page.goto(REPORT.as_uri())
        taken(page, "demo.png")


def page(browser: Browser) -> None:
    """Take the pictures of the inference server's page."""
    with served() as address:
        with opened(browser, {"width": 1100, "height": 800}) as wide:
            wide.goto(f"{address}/page/models/digits")
            draw(wide, THREE)
            wide.locator(".prediction").wait_for()
            taken(wide, "page-digits.png")
        with opened(browser, {"width": 1100, "height": 1000}, "dark") as wide:
            wide.goto(f"{address}/page/models/breast-cancer")
            wide.locator("#csv").set_input_files(
                {"name": "patients.csv", "mimeType": "text/csv", "buffer": patients()}
            )
            wide.locator("#answer table").wait_for()
            taken(wide, "page-table.png")
        with opened(browser, {"width": 360, "height": 1040}) as narrow:
            narrow.goto(f"{address}/page/models/digits")
            draw(narrow, THREE)
            narrow.locator(".prediction").wait_for()
            taken(narrow, "page-narrow.png")


def jobs(browser: Browser) -> None:
    """Take the picture of batch jobs: one is under way, and others are over."""
    with stacked() as stack, opened(browser, {"width": 1100, "height": 900}) as wide:
        for name, data in (
            ("towns.csv", b"town\nAa\n"),
            ("spring.csv", prices_csv(12_000, bad={7: "many,Aa"})),
        ):
            stack.over(stack.make(data, files=[{"name": name, "size": len(data)}]))
        wide.goto(f"http://127.0.0.1:{stack.port}/page/models/prices")
        wide.locator("#job-file").set_input_files(
            {"name": "all-of-2026.csv", "mimeType": "text/csv", "buffer": prices_csv(300_000)}
        )
        wide.get_by_role("button", name="Make a job").click()
        wide.locator(".job-list progress[value]").wait_for()
        wide.wait_for_timeout(MOMENT)
        wide.locator("nav[aria-label='Pages of jobs']").evaluate("end => end.scrollIntoView()")
        taken(wide, "page-jobs.png")


def draw(page: Page, points: tuple[tuple[float, float], ...]) -> None:
    """Draw on the canvas with the mouse."""
    canvas = page.locator("canvas")
    width, height = canvas.evaluate("canvas => [canvas.clientWidth, canvas.clientHeight]")
    for at, (x, y) in enumerate(points):
        canvas.hover(position={"x": x * width, "y": y * height})
        if at == 0:
            page.mouse.down()
    page.mouse.up()


def patients() -> bytes:
    """Return a CSV of six rows, one of which has a value that is no number."""
    bunch = load_breast_cancer()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(bunch.feature_names)
    rows = [[f"{value:g}" for value in row] for row in bunch.data[17:23]]
    rows[3][2] = "n/a"
    writer.writerows(rows)
    return text.getvalue().encode()


@contextmanager
def stacked() -> Iterator[BatchStack]:
    """Serve the model of the batch jobs' tests from a store, with a worker."""
    with TemporaryDirectory() as name, Supervisor(Path(name)) as supervisor:
        folder = Path(name)
        aws = start_emulator("ministack", supervisor, folder)
        os.environ.update(aws.environment)  # this process too makes its tables and buckets there
        redis = start_redis(supervisor, build_folder=ROOT / "build", state_folder=folder)
        with batch_stack(aws, redis.url, folder) as stack:
            stack.promote(prices_export(1))
            stack.start()
            stack.start("batch-intake")
            stack.start("batch-worker", CHUNK_BYTES="16384")
            yield stack


@contextmanager
def opened(browser: Browser, size: ViewportSize, scheme: str = "light") -> Iterator[Page]:
    """Open a page without a past."""
    context = browser.new_context(
        viewport=size, color_scheme="dark" if scheme == "dark" else "light", device_scale_factor=1
    )
    yield context.new_page()
    context.close()


def taken(page: Page, name: str) -> None:
    """Write what the window shows."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / name)
    print((IMAGES / name).relative_to(ROOT))


@contextmanager
def served() -> Iterator[str]:
    """Serve build/models; yield the address."""
    port = free_port()
    program = Path(sys.executable).parent / "rondo-inference"
    argv = [str(program), "serve", "--models", str(MODELS), "--port", str(port)]
    process = subprocess.Popen(argv, env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"})  # noqa: S603
    try:
        wait(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait(address: str) -> None:
    """Return when an address answers."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            urllib.request.urlopen(address, timeout=SECONDS).close()  # noqa: S310  (our own)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


PICTURES: dict[str, tuple[Callable[[Browser], None], Path, str]] = {
    "demo": (demo, REPORT, "make demo"),
    "page": (page, MODELS, "make sample-models"),
    "jobs": (jobs, ROOT / "build" / "emulators", "make emulators"),
}


def main(names: list[str]) -> int:
    """Take the pictures; return the exit code."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("there is neither chromium nor google-chrome on PATH", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        for take, source, target in (PICTURES[name] for name in names or PICTURES):
            if not source.exists():
                print(f"{source.relative_to(ROOT)} is missing: run `{target}`", file=sys.stderr)
                return 1
            take(browser)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
