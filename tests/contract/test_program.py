"""The services' commands: what they do with their word, against a real health page."""

import importlib
import sys
from collections.abc import Iterator

import pytest

from rondo_core.errors import NotFound, SettingsInvalid, Unavailable
from rondo_core.health import Health, serve_health
from rondo_core.settings import ServiceSettings
from rondo_core.telemetry import Metrics
from rondo_local.readiness import free_port

WORDS = [
    *[(name, "serve") for name in ("dispatcher", "evaluator", "gateway", "inference")],
    ("aggregator", "intake"),
    ("aggregator", "worker"),
]
SERVICES = sorted({name for name, _ in WORDS})


def run(monkeypatch: pytest.MonkeyPatch, service: str, *words: str) -> None:
    monkeypatch.setattr("sys.argv", [f"rondo-{service}", *words])
    importlib.import_module(f"rondo_{service}.__main__").main()


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> Iterator[Health]:
    settings, health = ServiceSettings(health_port=free_port()), Health()
    for variable in ("PORT", "HEALTH_PORT"):
        monkeypatch.setenv(variable, str(settings.health_port))
    server = serve_health(settings, health, Metrics())
    yield health
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("service", "word"), WORDS)
def test_a_command_does_its_work(
    service: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module(f"rondo_{service}.main")
    monkeypatch.setattr(main, "main", lambda: sys.stdout.write("worked"))

    run(monkeypatch, service, word)

    assert capsys.readouterr().out == "worked"


@pytest.mark.parametrize("service", SERVICES)
def test_a_command_says_whether_the_process_here_is_ready(
    service: str,
    health: Health,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as before:
        run(monkeypatch, service, "health")
    health.ready.set()
    with pytest.raises(SystemExit) as after:
        run(monkeypatch, service, "health")

    assert (before.value.code, after.value.code) == (1, 0)
    assert capsys.readouterr().out == "not ready\nready\n"


def test_a_command_says_that_nothing_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(free_port())
    monkeypatch.setenv("PORT", port)

    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "gateway", "health")

    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith(f"no answer on port {port}: ")


def test_serving_is_what_a_bare_command_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module("rondo_inference.main")
    monkeypatch.setattr(main, "main", lambda: sys.stdout.write("worked"))

    run(monkeypatch, "inference")

    assert capsys.readouterr().out == "worked"


@pytest.mark.parametrize("service", SERVICES)
def test_the_help_names_every_word(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, service, "--help")

    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert [word for name, word in WORDS if name == service and word not in shown] == []


def test_a_misspelt_word_is_told_the_words_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "inference", "serv")

    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert all(word in shown for word in ("follow", "serve", "batch-intake", "batch-worker"))


@pytest.mark.parametrize("word", ["batch-intake", "batch-worker"])
def test_help_about_a_word_says_what_it_does(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "inference", word, "--help")

    shown = capsys.readouterr().out
    assert f"usage: rondo-inference {word}" in shown
    assert "of batch jobs until SIGTERM" in shown or "batch jobs into tasks" in shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsInvalid(["A is missing", "B='x' is not a number"]), 2),
        (NotFound("keys.json: No such file or directory"), 2),
        (Unavailable("cannot listen on ::1:80:\nAddress already in use"), 1),
    ],
)
@pytest.mark.parametrize("service", SERVICES)
def test_work_that_cannot_start_is_one_line_and_an_exit_code(
    service: str,
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(importlib.import_module(f"rondo_{service}.main"), "main", fail)

    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, service, "intake" if service == "aggregator" else "serve")

    expected = f"rondo-{service}: {str(error).replace(chr(10), ' ')}\n"
    assert (ended.value.code, capsys.readouterr().err) == (code, expected)


def test_a_health_check_of_wrong_settings_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "abc")

    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "gateway", "health")

    assert ended.value.code == 1
    assert capsys.readouterr().out == "PORT='abc' is not a whole number\n"


@pytest.mark.parametrize("word", ["combine", "replay"])
def test_the_aggregators_commands_read_the_rest_of_their_line_themselves(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rondo-aggregator", word, "--help"])

    with pytest.raises(SystemExit) as exit_:
        importlib.import_module("rondo_aggregator.__main__").main()

    assert exit_.value.code == 0
    assert f"usage: rondo-aggregator {word}" in capsys.readouterr().out
