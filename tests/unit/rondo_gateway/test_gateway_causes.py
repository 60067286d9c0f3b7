"""What an operator finds in the log by the correlation id of an answer that says nothing."""

import json
import logging
from typing import Any

import pytest

from rondo_core.telemetry import JsonFormatter
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_world import OPERATOR, World


def handled(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Return the one line of the one call."""
    (record,) = (record for record in caplog.records if record.message == "request handled")
    line: dict[str, Any] = json.loads(JsonFormatter("gateway").format(record))
    return line


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_the_line_of_a_call_that_found_the_table_away_says_so(
    world: World, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    world.store.down = True

    http.get("/v1/models", headers=OPERATOR)

    line = handled(caplog)
    assert (line["status"], line["outcome"], line["level"]) == (503, "unavailable", "error")
    assert line["error"].startswith("Unavailable(")


def test_the_line_of_a_call_that_met_an_unreadable_row_names_row_and_rule(
    world: World, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    world.begun()
    world.change(("RUN#run-1", "META"), rounds="three")  # type: ignore[arg-type]  # a plain pair

    http.get("/v1/runs/run-1", headers=OPERATOR)

    line = handled(caplog)
    assert (line["status"], line["outcome"]) == (500, "internal")
    assert "row 'RUN#run-1' 'META'" in line["error"]
    assert "$.rounds" in line["error"]
