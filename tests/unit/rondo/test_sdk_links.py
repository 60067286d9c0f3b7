"""The wires: what an answer becomes, and how pauses grow."""

import httpx
import numpy as np
import pytest

from rondo.errors import (
    Busy,
    Contradicted,
    Forbidden,
    GatewayError,
    Missing,
    Refused,
    TooMany,
    Unauthorized,
    error_from,
)
from rondo.gateway_link import GatewayLink, open_http
from rondo.inference_link import InferenceLink
from rondo.retry import Patience, persevere
from rondo_core.client_wire import Work
from rondo_core.errors import Conflict, Invalid, NotFound, RondoError, Unavailable
from rondo_core.row_places import COUNTED
from rondo_core.testing import ManualClock

PROBLEM = b'{"code": "some-code", "message": "what and why", "correlation_id": "c1"}'


@pytest.mark.parametrize(
    ("status", "kind", "family"),
    [
        (400, Refused, Invalid),
        (401, Unauthorized, Invalid),
        (403, Forbidden, Unauthorized),
        (404, Missing, NotFound),
        (409, Contradicted, Conflict),
        (413, Refused, Invalid),
        (422, Refused, Invalid),
        (429, TooMany, Busy),
        (500, Busy, Unavailable),
        (503, Busy, Unavailable),
    ],
)
def test_each_status_has_its_family_and_keeps_the_problems_fields(
    status: int, kind: type[GatewayError], family: type[RondoError]
) -> None:
    error = error_from(httpx.Response(status, content=PROBLEM))

    assert type(error) is kind
    assert isinstance(error, family)
    assert (error.code, error.correlation_id) == ("some-code", "c1")
    assert str(error) == "what and why (some-code, correlation id c1)"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "row 3, column a: is empty"}', "row 3, column a: is empty"),
        (b"<html>nginx</html>", "<html>nginx</html>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", "Bad Request"),
        (b"x" * 1000, "x" * 200),
    ],
)
def test_an_answer_that_is_no_problem_is_quoted(body: bytes, text: str) -> None:
    error = error_from(httpx.Response(400, content=body))

    assert str(error) == text
    assert (error.code, error.correlation_id) == ("http-400", "")


FAULTS = [{"row": at, "column": "age", "rule": f"'{at}y' is not a number"} for at in range(14)]


@pytest.mark.parametrize(
    ("faults", "lines"),
    [
        (FAULTS[:1], [f"row 1, column 'age': '0y' is not a number ({COUNTED})"]),
        (
            [FAULTS[3], {"row": 7, "column": None, "rule": "has 2 values"}],
            [
                f"rows do not fit ({COUNTED})",
                "  row 4, column 'age': '3y' is not a number",
                "  row 8: has 2 values",
            ],
        ),
        (
            FAULTS,
            [
                f"rows do not fit ({COUNTED})",
                *(f"  row {at + 1}, column 'age': '{at}y' is not a number" for at in range(10)),
                "  and 4 more that the server names",
            ],
        ),
    ],
)
def test_rows_that_do_not_fit_are_a_line_each(
    faults: list[dict[str, object]], lines: list[str]
) -> None:
    first = "row 0, column 'age': '0y' is not a number"

    error = error_from(httpx.Response(400, json={"error": first, "rows": faults}))

    assert str(error).splitlines() == lines


@pytest.mark.parametrize(
    ("sent", "rows", "lines"),
    [
        (
            b"\nage,ward\n\n1,2\nx,3\n",
            [{"row": 1, "column": "age", "rule": "'x' is not a number"}],
            ["row 2 (line 5 of the file), column 'age': 'x' is not a number"],
        ),
        (
            b"age,ward\nx,3\n4\n",
            [{"row": 0, "column": "age", "rule": "is wrong"}, {"row": 1, "rule": "1 cells"}],
            [
                "rows do not fit",
                "  row 1 (line 2 of the file), column 'age': is wrong",
                "  row 2 (line 3 of the file): 1 cells",
            ],
        ),
        (
            b'age,ward\n1,"a\nb"\nx,3\n',
            [{"row": 0, "column": "ward", "rule": "'a\\nb'"}, {"row": 1, "rule": "is wrong"}],
            [
                f"rows do not fit ({COUNTED})",
                "  row 1 (line 2 of the file), column 'ward': 'a\\nb'",
                "  row 2: is wrong",
            ],
        ),
        (  # nothing tells whether the first line is a row
            b"1,2\n3\n",
            [{"row": 1, "rule": "1 values, but the model has 2 columns"}],
            [f"row 2: 1 values, but the model has 2 columns ({COUNTED})"],
        ),
        (
            b"1,2\nx,2\n",
            [{"row": 1, "column": "age", "rule": "is wrong"}],
            [f"row 2, column 'age': is wrong ({COUNTED})"],
        ),
    ],
)
def test_rows_of_a_csv_have_their_lines_as_far_as_they_are_known(
    sent: bytes, rows: list[dict[str, object]], lines: list[str]
) -> None:
    body = {"error": "row 1: as programs count", "rows": rows}
    transport = httpx.MockTransport(lambda _: httpx.Response(400, json=body))
    link = InferenceLink(open_http("http://inference.test", transport), Patience())

    with pytest.raises(GatewayError) as caught:
        link.answer("POST", "/invocations", content=sent, headers={"Content-Type": "text/csv"})

    said, _, rest = str(caught.value).partition("\n")
    assert said == f"POST http://inference.test/invocations answered 400: {lines[0]}"
    assert rest.splitlines() == lines[1:]


def test_an_answer_of_another_form_is_an_error_that_names_it() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b'{"assignment": 3}'))
    link = GatewayLink(open_http("http://gateway.test", transport), Patience())

    with pytest.raises(Invalid, match=r"answer to /v1/work is not a Work: .*assignment"):
        link.get("/v1/work", Work)


@pytest.mark.parametrize(
    "date", [{}, {"Date": "yesterday"}, {"Date": "Thu, 01 Jan 2026 00:00:02 GMT"}]
)
def test_a_refused_token_is_not_tried_again_where_the_clocks_agree(date: dict[str, str]) -> None:
    seen: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(401, content=PROBLEM, headers=date)

    http = open_http("http://gateway.test", httpx.MockTransport(refuse))
    link = GatewayLink(http, Patience(clock=ManualClock()), lambda _: "token")

    with pytest.raises(Unauthorized):
        link.get("/v1/work", Work)

    assert len(seen) == 1


class Flaky:
    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise Unavailable("not now")
        return "answer"


class SlowestPauses(np.random.Generator):
    """Draws the top of every range, so that pauses can be added up by hand."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low: float = 0.0, high: float = 1.0, size: object = None) -> float:  # type: ignore[override]
        del low, size
        return high


def test_pauses_double_up_to_a_ceiling() -> None:
    clock = ManualClock()
    patience = Patience(
        seconds=100, first_seconds=1, longest_seconds=4, clock=clock, rng=SlowestPauses()
    )

    assert persevere(Flaky(5), patience) == "answer"
    assert clock.monotonic() == 1 + 2 + 4 + 4 + 4


def test_the_last_error_is_raised_before_a_pause_that_would_be_too_long() -> None:
    clock = ManualClock()
    flaky = Flaky(99)
    patience = Patience(seconds=6, first_seconds=1, clock=clock, rng=SlowestPauses())

    with pytest.raises(Unavailable, match="not now"):
        persevere(flaky, patience)

    assert clock.monotonic() == 1 + 2
    assert flaky.calls == 3


def test_pauses_of_many_clients_are_spread() -> None:
    clocks = [ManualClock() for _ in range(20)]
    for seed, clock in enumerate(clocks):
        persevere(Flaky(1), Patience(clock=clock, rng=np.random.default_rng(seed)))

    pauses = sorted(clock.monotonic() for clock in clocks)

    assert pauses[0] < 0.05
    assert pauses[-1] > 0.15
    assert len(set(pauses)) == 20


def test_another_error_is_not_repeated() -> None:
    def broken() -> None:
        raise Invalid("for ever")

    clock = ManualClock()
    with pytest.raises(Invalid):
        persevere(broken, Patience(clock=clock))

    assert clock.monotonic() == 0
