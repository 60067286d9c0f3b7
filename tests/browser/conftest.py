"""Debian's Chromium, and a server alone on build/models as ``rondo-inference serve`` starts it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from rondo_local.readiness import free_port
from tests.architecture.packages import ROOT
from tests.emulators import Aws
from tests.integration.batch_stack import BatchStack, batch_stack
from tests.unit.rondo_inference.exported import prices_export, shapes_export

MODELS = ROOT / "build" / "models"
NEEDED = ("breast-cancer", "digits", "identity")
SECONDS = 60.0
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.exit("no chromium on PATH: apt-get install --no-install-recommends chromium", 1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture(scope="session")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the models to who has a key; ``digits`` is one for that model alone."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    digest = hashlib.sha256(b"digits").hexdigest()
    keys.write_text(json.dumps([{"sha256": digest, "models": ["digits"]}]))
    with serving(API_KEYS_FILE=str(keys)) as address:
        yield address


@contextmanager
def serving(**settings: str) -> Iterator[str]:
    missing = [name for name in NEEDED if not (MODELS / name).is_dir()]
    if missing:
        pytest.exit(f"build/models lacks {', '.join(missing)}: make sample-models", 1)
    port = free_port()
    program = str(Path(sys.executable).parent / "rondo-inference")
    process = subprocess.Popen(
        [program, "serve", "--models", str(MODELS), "--port", str(port)],
        env={"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1", "LOG_LEVEL": "WARNING"}
        | settings,
    )
    deadline = time.monotonic() + SECONDS
    while not is_ready(f"http://127.0.0.1:{port}/readyz"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(timeout=SECONDS) == 0


@pytest.fixture(scope="session")
def stack(
    ministack: Aws, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BatchStack]:
    """Serve a store with batch jobs; more than 200 kB are too many to be answered at once."""
    with batch_stack(ministack, redis_url, tmp_path_factory.mktemp("jobs")) as running:
        running.promote(prices_export(1))
        running.promote(shapes_export(1))
        running.start(MAX_BODY_BYTES="200000")
        running.start("batch-intake")
        running.start("batch-worker", CHUNK_BYTES="4096")
        yield running


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as reply:  # noqa: S310  (ours)
            return bool(reply.status == 200)
    except OSError:
        return False


class Visitor:
    """Opens pages of the server; remembers what the browser complained about."""

    def __init__(self, browser: Browser, server: str, stack: ExitStack) -> None:
        self._browser = browser
        self._server = server
        self._stack = stack
        self.complaints: list[str] = []

    def open(self, path: str, **options: object) -> Page:
        chosen = {"viewport": {"width": 1200, "height": 900}} | options
        context: BrowserContext = self._browser.new_context(
            base_url=self._server,
            **chosen,  # type: ignore[arg-type]  # Playwright's own options
        )
        self._stack.callback(context.close)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.goto(path)
        return page

    def _listen(self, line: ConsoleMessage) -> None:
        if line.type == "error":
            self.complaints.append(line.text)


@contextmanager
def visiting(browser: Browser, server: str) -> Iterator[Visitor]:
    """Visit a server; in the end the browser has complained about nothing."""
    with ExitStack() as stack:
        found = Visitor(browser, server, stack)
        yield found
    assert found.complaints == []


@pytest.fixture
def visitor(chromium: Browser, server: str) -> Iterator[Visitor]:
    with visiting(chromium, server) as found:
        yield found


@pytest.fixture
def guarded_visitor(chromium: Browser, guarded_server: str) -> Iterator[Visitor]:
    with visiting(chromium, guarded_server) as found:
        yield found


@pytest.fixture
def sender(chromium: Browser, stack: BatchStack) -> Iterator[Visitor]:
    """Visit the server that has a store, when no job is left of another test."""
    for model in ("prices", "shapes"):
        for job in stack.call("GET", f"/batch/{model}/jobs")[2]["jobs"]:
            at = f"/batch/{model}/jobs/{job['job_id']}"
            stack.call("POST", f"{at}/cancel")
            assert stack.call("DELETE", at)[0] == 204
    with visiting(chromium, f"http://127.0.0.1:{stack.port}") as found:
        yield found
