import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rondo_core.telemetry import JsonFormatter, Metrics, configure_logging


def test_counts_add_up_by_kind_and_outcome() -> None:
    metrics = Metrics()

    metrics.count("rondo_events_handled_total", kind="RunRequested")
    metrics.count("rondo_events_handled_total", kind="RunRequested", amount=2)
    metrics.count("rondo_events_handled_total", kind="RunRequested", outcome="error")

    value = metrics.registry.get_sample_value
    labels = {"kind": "RunRequested"}
    assert value("rondo_events_handled_total", labels | {"outcome": "ok"}) == 3
    assert value("rondo_events_handled_total", labels | {"outcome": "error"}) == 1


def test_gauge_has_its_last_value() -> None:
    metrics = Metrics()

    metrics.gauge("rondo_active_rounds", 3)
    metrics.gauge("rondo_active_rounds", 1)

    assert metrics.registry.get_sample_value("rondo_active_rounds", {"kind": ""}) == 1


def test_gauge_is_what_is_true_when_it_is_looked_at() -> None:
    metrics, held = Metrics(), [1]

    metrics.read("rondo_predictions_in_flight", lambda: len(held))
    held.append(1)

    value = metrics.registry.get_sample_value("rondo_predictions_in_flight", {"kind": ""})
    assert value == 2


def test_durations_are_counted_and_summed() -> None:
    metrics = Metrics()

    metrics.observe("rondo_combine_seconds", 0.25)
    metrics.observe("rondo_combine_seconds", 0.5)

    labels = {"kind": "", "outcome": "ok"}
    assert metrics.registry.get_sample_value("rondo_combine_seconds_sum", labels) == 0.75
    assert metrics.registry.get_sample_value("rondo_combine_seconds_count", labels) == 2


def test_timed_block_says_whether_it_raised() -> None:
    metrics = Metrics()

    with metrics.timed("rondo_export_seconds", kind="a"):
        pass
    with pytest.raises(ZeroDivisionError), metrics.timed("rondo_export_seconds", kind="a"):
        _ = 1 / 0

    for outcome in ("ok", "error"):
        labels = {"kind": "a", "outcome": outcome}
        assert metrics.registry.get_sample_value("rondo_export_seconds_count", labels) == 1


def test_two_processes_worth_of_metrics_do_not_meet() -> None:
    one, two = Metrics(), Metrics()

    one.count("rondo_evaluations_total")

    labels = {"kind": "", "outcome": "ok"}
    assert one.registry.get_sample_value("rondo_evaluations_total", labels) == 1
    assert two.registry.get_sample_value("rondo_evaluations_total", labels) is None


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("rondo.test", logging.WARNING, __file__, 1, message, arguments, None)
    made.created = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC).timestamp()
    made.__dict__.update(extra)
    return made


def test_line_is_one_json_object_with_every_extra_field() -> None:
    line = JsonFormatter("gateway").format(record("event %s", "handled", run_id="r", round=2))

    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678+00:00",
        "level": "warning",
        "service": "gateway",
        "logger": "rondo.test",
        "message": "event handled",
        "run_id": "r",
        "round": 2,
    }


def test_line_holds_what_json_does_not_know_as_text_and_has_no_line_break() -> None:
    line = JsonFormatter("gateway").format(
        record("two\nlines", at=datetime(2026, 1, 2, tzinfo=UTC))
    )

    assert "\n" not in line
    assert json.loads(line)["at"] == "2026-01-02 00:00:00+00:00"


def test_line_of_an_exception_holds_its_traceback() -> None:
    failed = record("handler failed")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        failed.exc_info = sys.exc_info()

    line = json.loads(JsonFormatter("gateway").format(failed))

    assert "ZeroDivisionError: division by zero" in line["traceback"]
    assert "exc_info" not in line


@pytest.fixture
def _logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_logging_put_back")
def test_all_logs_go_to_stdout_once_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("dispatcher")
    configure_logging("dispatcher", level="WARNING")

    logging.getLogger("rondo").info("not heard")
    logging.getLogger("rondo").warning("heard", extra={"run_id": "r"})
    logging.getLogger("botocore").info("never")

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["message"] == "heard"
    assert json.loads(line)["service"] == "dispatcher"
