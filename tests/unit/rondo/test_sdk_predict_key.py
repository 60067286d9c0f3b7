"""`rondo predict` with an API key: who gets it, who does not, and what a refusal says."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import pytest
from click.testing import Result

from rondo.commands.seams import Seams
from rondo_core.testing import ManualClock
from tests.unit.rondo.fake_batch import OUTPUT, ROWS, FakeBatch
from tests.unit.rondo.fake_operator_api import Command, error_of

KEY = "a-key-of-clinic-a"
URL = "http://inference.test:8081"
BATCH = ("--batch", "in.csv", "out.csv", "prices")
LINE = ("prices", "in.csv")
JOBS = "/batch/prices/jobs"

Answers = Callable[[httpx.Request], httpx.Response | None]


@dataclass
class Guarded(httpx.BaseTransport):
    """Inference that wants a key, and a store that wants none; both keep what they were asked.

    Attributes:
        answers: what comes instead; None: what a server with keys answers.
    """

    batch: FakeBatch = field(default_factory=FakeBatch)
    answers: Answers = lambda _: None
    asked: list[httpx.Request] = field(default_factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.host == "store.test":
            return self.batch.handle_request(request)
        if answer := self.answers(request):
            return answer
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            text = "send a key: Authorization: Bearer KEY, or X-API-Key: KEY"
            return httpx.Response(401, json={"error": text})
        if request.url.path == "/invocations":
            return httpx.Response(200, content=b"price\n2.5\n", headers={"X-Rondo-Version": "3"})
        return self.batch.handle_request(request)


@pytest.fixture
def server() -> Guarded:
    return Guarded()


class Predict(Protocol):
    def __call__(
        self, *arguments: str, key: str | None = KEY, expect: int = 0, url: str = URL
    ) -> Result: ...


@pytest.fixture
def predict(command: Command, server: Guarded, clock: ManualClock, tmp_path: Path) -> Predict:
    (tmp_path / "in.csv").write_bytes(ROWS)

    def run(*arguments: str, key: str | None = KEY, expect: int = 0, url: str = URL) -> Result:
        environ = {} if key is None else {"RONDO_API_KEY": key}
        seams = Seams(transport=server, clock=clock, environ=environ)
        return command("predict", *arguments, "--url", url, expect=expect, given=seams)

    return run


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "key"
    path.touch(0o600)
    path.write_bytes(content)
    path.chmod(mode)
    return "key"


def refusing(path: str, status: int, text: str, **headers: str) -> Answers:
    """Answer so whatever is asked below a path, also with the right key."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answers(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.startswith(path):
            return None
        return httpx.Response(status, json={"error": text}, headers=named)

    return answers


@pytest.mark.parametrize("arguments", [BATCH, BATCH[:3], LINE], ids=["batch", "only model", "rows"])
def test_the_server_gets_the_key_of_the_variable(
    predict: Predict, server: Guarded, arguments: tuple[str, ...]
) -> None:
    predict(*arguments, key=f" {KEY}\n")

    asked = [request for request in server.asked if request.url.host == "inference.test"]
    assert {request.headers.get("Authorization") for request in asked} == {f"Bearer {KEY}"}


def test_the_server_gets_the_key_of_the_file_whatever_the_variable_says(
    predict: Predict, tmp_path: Path
) -> None:
    predict(*BATCH, "--key-file", key_file(tmp_path, f"{KEY}\n".encode()), key="another")

    assert (tmp_path / "out.csv").read_bytes() == OUTPUT


def test_the_store_gets_no_key(predict: Predict, server: Guarded) -> None:
    server.batch.failed = 1

    predict(*BATCH)

    to_store = [request for request in server.asked if request.url.host == "store.test"]
    assert [request.method for request in to_store] == ["PUT", "GET", "GET"]
    for request in to_store:
        assert not {"authorization", "x-api-key", "cookie"} & set(request.headers)
        assert KEY not in f"{request.url}{request.headers.raw}"


def test_without_a_key_none_is_sent(predict: Predict, server: Guarded) -> None:
    for key in (None, "", " "):
        predict(*BATCH, key=key, expect=1)

    assert not any("authorization" in request.headers for request in server.asked)


@pytest.mark.parametrize("location", ["http://other.test/x?signature=abc", "/elsewhere"])
def test_no_redirect_is_followed(predict: Predict, server: Guarded, location: str) -> None:
    server.answers = refusing("/", 307, "moved", Location=location)

    result = predict(*BATCH, expect=1)

    assert [str(request.url) for request in server.asked] == [f"{URL}{JOBS}"]
    assert f"{JOBS} answered 307: moved; redirects are not followed" in result.stderr
    assert f"if {location.partition('?')[0]} is the server, say so with --url" in result.stderr
    assert "signature" not in result.stderr


def test_a_server_that_asks_for_a_key_is_told_with_how_to_give_one(predict: Predict) -> None:
    said = error_of(predict(*LINE, key=None, expect=1))

    assert f"POST {URL}/invocations answered 401: send a key: " in said
    assert said.endswith(
        "no API key was sent: set RONDO_API_KEY, or name a file that holds one with --key-file"
    )


def test_a_key_that_the_server_does_not_know_is_told_and_not_shown(predict: Predict) -> None:
    said = error_of(predict(*LINE, key="another-key", expect=1))

    assert f"POST {URL}/invocations answered 401: " in said
    assert "the server does not know the key of --key-file, or else of RONDO_API_KEY" in said
    assert "another-key" not in said


@pytest.mark.parametrize(
    ("arguments", "path", "status", "text", "advice"),
    [
        (BATCH, JOBS, 403, "the key is not for model 'prices'", "ask whoever runs the server for"),
        (BATCH, JOBS, 404, "there is no model 'prices'", "check --url and the model's name"),
        (BATCH, f"{JOBS}/job1", 404, "no job", "another owner's key made it: the same command"),
        (BATCH, JOBS, 429, "too many requests", "try again in 60 s"),
        (LINE, "/invocations", 429, "too many requests", "try again in 60 s"),
        (LINE, "/invocations", 400, "row 0, column 'rooms': is empty", ""),
    ],
)
def test_what_is_refused_is_told_with_the_address_and_what_to_do(
    predict: Predict,
    server: Guarded,
    arguments: tuple[str, ...],
    path: str,
    status: int,
    text: str,
    advice: str,
) -> None:
    server.answers = refusing(path, status, text, Retry_After="60")

    result = predict(*arguments, expect=1)

    said = result.stderr.splitlines()[-1]
    assert said.startswith(f"Error: POST {URL}{path}")
    assert f" answered {status}: {text}" in said
    assert advice in said
    assert KEY not in result.output


def test_a_key_for_some_models_cannot_find_the_only_one(predict: Predict, server: Guarded) -> None:
    server.answers = refusing("/catalogue", 403, "this is about all models")

    result = predict(*BATCH[:3], expect=1)

    assert f"Error: name the model: GET {URL}/catalogue answered 403: " in result.stderr


def limited(clock: ManualClock, path: str, seconds: int) -> Answers:
    """Take one request below a path in so many seconds."""
    free_at = 0.0

    def answers(request: httpx.Request) -> httpx.Response | None:
        nonlocal free_at
        if not request.url.path.startswith(path):
            return None
        left = free_at - clock.monotonic()
        if left <= 0:
            free_at = clock.monotonic() + seconds
            return None
        return httpx.Response(
            429, json={"error": "too many"}, headers={"Retry-After": f"{left:.0f}"}
        )

    return answers


@pytest.mark.parametrize("seconds", [2, 60, 3600])
def test_a_limit_of_requests_does_not_end_a_job_that_is_under_way(
    predict: Predict, server: Guarded, clock: ManualClock, tmp_path: Path, seconds: int
) -> None:
    server.answers = limited(clock, f"{JOBS}/", seconds)

    predict(*BATCH)

    assert (tmp_path / "out.csv").read_bytes() == OUTPUT
    assert server.batch.starts == ["job1"]
    assert clock.monotonic() >= 2 * seconds
    assert len(server.asked) < 40


def test_a_limit_without_a_time_is_waited_out_too(
    predict: Predict, server: Guarded, clock: ManualClock, tmp_path: Path
) -> None:
    begun = clock.monotonic()

    def answers(request: httpx.Request) -> httpx.Response | None:
        early = clock.monotonic() < begun + 100
        return httpx.Response(429) if early and request.method == "GET" else None

    server.answers = answers

    predict(*BATCH)

    assert (tmp_path / "out.csv").read_bytes() == OUTPUT


def test_who_waits_is_told_why(command: Command, server: Guarded, tmp_path: Path) -> None:
    class Impatient(ManualClock):
        def sleep(self, seconds: float) -> None:
            if seconds >= 60:
                raise KeyboardInterrupt
            super().sleep(seconds)

    (tmp_path / "in.csv").write_bytes(ROWS)
    clock = Impatient()
    server.answers = limited(clock, f"{JOBS}/", 61)
    seams = Seams(transport=server, clock=clock, environ={"RONDO_API_KEY": KEY})

    result = command("predict", *BATCH, expect=1, given=seams)

    assert "in.csv: the limit of requests is reached, waiting 6" in result.stderr


@pytest.mark.parametrize("retry_after", ["\u00b2", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9"])
def test_a_time_in_another_form_is_a_time_that_is_not_told(
    predict: Predict, server: Guarded, retry_after: str
) -> None:
    def answers(_: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={b"Retry-After": retry_after.encode()})

    server.answers = answers

    assert "answered 429: " in error_of(predict(*LINE, expect=1))


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        (KEY.encode(), 0o644, "can be read by others"),
        (b"", 0o600, "key does not hold an API key"),
        (b"\n", 0o600, "key does not hold an API key"),
        (f"{KEY}\nsecond".encode(), 0o600, "key does not hold an API key"),
        (f"\ufeff{KEY}".encode(), 0o600, "key does not hold an API key"),
        (b"\xff\x00" + KEY.encode(), 0o600, "key does not hold an API key"),
    ],
)
def test_a_file_that_is_no_key_is_refused_and_not_shown(
    predict: Predict, server: Guarded, tmp_path: Path, content: bytes, mode: int, complaint: str
) -> None:
    result = predict(*BATCH, "--key-file", key_file(tmp_path, content, mode), expect=1)

    assert complaint in error_of(result)
    assert KEY not in result.output
    assert server.asked == []


def test_a_variable_that_is_no_key_is_refused_and_not_shown(
    predict: Predict, server: Guarded
) -> None:
    said = error_of(predict(*BATCH, key=f"{KEY}\r\nX-Other: 1", expect=1))

    assert said == "Error: RONDO_API_KEY does not hold an API key: one line of printable ASCII"
    assert server.asked == []


def test_an_address_with_a_password_is_refused_and_not_shown(
    predict: Predict, server: Guarded
) -> None:
    said = error_of(predict(*LINE, url=f"http://user:{KEY}@inference.test", expect=1))

    assert "the address of inference.test has a user or a password in it" in said
    assert KEY not in said
    assert server.asked == []


def test_an_error_that_repeats_the_key_is_not_quoted(predict: Predict, server: Guarded) -> None:
    server.answers = refusing("/", 403, "x" * 190 + f" Authorization: Bearer {KEY}")

    said = error_of(predict(*LINE, expect=1))

    assert "answered 403: what it says is not shown, since it repeats the key; ask" in said
    assert KEY[:5] not in said


def test_neither_the_log_nor_what_is_left_has_the_key(
    predict: Predict, server: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = refusing(f"{JOBS}/job1/start", 403, "not for you")

    result = predict(*BATCH, expect=1)

    assert KEY not in caplog.text + result.output
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(left) == {"in.csv", ".out.csv.rondo-job"}
    assert not any(KEY.encode() in content for content in left.values())


def test_help_tells_how_to_give_a_key_and_not_which_one_is_set(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONDO_API_KEY", KEY)

    text = command("predict", "--help").output

    assert "RONDO_API_KEY" in text
    assert "--key-file" in text
    assert KEY not in text
