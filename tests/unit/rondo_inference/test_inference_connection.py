"""HTTP/1.1 itself, byte by byte."""

import asyncio
import gzip
import json
import logging
from collections.abc import Awaitable, Callable, Mapping

import pytest

from rondo_core.errors import SettingsInvalid
from rondo_inference.contracts.messages import Answer, json_answer
from rondo_inference.web.admission import Admission
from rondo_inference.web.budget import Budget
from rondo_inference.web.connection import Connection
from rondo_inference.web.shared import ConnectionRules, Shared
from tests.unit.rondo_inference.asked import Reply, Service, Wire, head, running
from tests.unit.rondo_inference.exported import prices_export

ROW = json.dumps({"instances": [[3, "Bonn"]]}).encode()


class Echo:
    """Answers with what it was asked; refuses unread what is for ``/secret``."""

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        self.asked: list[str] = []
        self.expected = 0
        self.budget = Budget(1_000)
        self.admitted = 0
        self.again_refusal: Answer | None = None

    def admit(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Admission:
        self.admitted += 1
        admission = Admission(method, path, query, headers)
        if path == "/secret":
            admission.refusal = json_answer({"error": "send a key"}, status=401)
        return admission

    def again(self, admission: Admission) -> Admission:
        method, path, query = admission.method, admission.path, admission.query
        return Admission(method, path, query, admission.headers, refusal=self.again_refusal)

    async def respond(self, admission: Admission, body: bytes) -> Answer:
        self.asked.append(admission.path)
        if self.gate is not None:
            await self.gate.wait()
        if admission.path == "/broken":
            raise ZeroDivisionError
        if admission.path == "/empty":
            return Answer(status=204)
        x = admission.headers.get("x", "")
        told = {"method": admission.method, "path": admission.path, "query": admission.query}
        made = Answer(json.dumps(told | {"x": x, "body": body.decode()}).encode())
        return admission.refusal or made

    def expect(self, count: int) -> None:
        self.expected += count


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Talk:
    """One connection and its other end."""

    def __init__(self, *, draining: bool = False, **rules: float) -> None:
        self.echo, self.clock, self.wire = Echo(), Clock(), Wire()
        self.shared = Shared(
            self.echo,
            ConnectionRules(**{"max_body_bytes": 100, **rules}),  # type: ignore[arg-type]
            lambda: draining,
            self.clock,
        )
        self.connection = Connection(self.shared)
        self.connection.connection_made(self.wire)

    def send(self, data: bytes) -> None:
        if not self.wire.is_closing():
            self.connection.data_received(data)

    def later(self, seconds: float) -> bool:
        """Let time pass; return whether the connection is closed then."""
        self.clock.now += seconds
        self.connection.check(self.clock.now)
        return self.wire.is_closing()


def post(path: str = "/a", body: bytes = b"", **headers: str) -> bytes:
    named = {"host": "x", "content-length": str(len(body)), **headers}
    return head("POST", path, named) + body


def talk(conversation: Callable[[Talk], Awaitable[None]], **options: float) -> Talk:
    async def run() -> Talk:
        one = Talk(**options)  # type: ignore[arg-type]
        await conversation(one)
        return one

    return asyncio.run(run())


def test_requests_that_wait_for_their_turn_are_expected() -> None:
    seen: list[int] = []

    async def conversation(one: Talk) -> None:
        one.send(post())
        seen.append(one.echo.expected)
        await one.wire.until(1)
        await asyncio.sleep(0)
        seen.append(one.echo.expected)

    talk(conversation)

    assert seen == [1, 0]


def test_who_sends_while_nobody_else_does_is_answered_before_anything_else() -> None:
    answered: list[int] = []

    async def conversation(one: Talk) -> None:
        one.send(post("/first"))
        await one.wire.until(1)
        await asyncio.sleep(0)
        one.send(post("/second"))
        answered.append(len(one.wire.replies) - 1)

    one = talk(conversation)

    assert answered == [2]
    assert one.echo.expected == 0
    assert one.connection.is_idle


def test_requests_of_several_callers_are_read_before_one_is_answered() -> None:
    asked: list[list[str]] = []

    async def conversation(one: Talk) -> None:
        other = Connection(one.shared)
        other.connection_made(Wire())
        for _ in range(2):
            one.send(post("/one", b"body")[:-4])
            one.send(b"body")  # the same request still
            other.data_received(post("/other"))
            asked.append(list(one.echo.asked))
            await one.wire.until(len(asked))
            await asyncio.sleep(0)

    talk(conversation)

    assert asked == [[], ["/one", "/other"]]


@pytest.mark.parametrize("draining", [False, True])
def test_of_requests_sent_together_the_first_alone_is_answered_at_once(draining: bool) -> None:  # noqa: FBT001  (parametrized)
    asked: list[str] = []
    found: list[Reply] = []

    async def conversation(one: Talk) -> None:
        one.shared.latest = one.connection
        one.send(post("/a") + post("/b") + post("/c"))
        asked.extend(one.echo.asked)
        found.extend(await one.wire.until(3))

    one = talk(conversation, draining=draining)

    assert asked == ["/a"]
    assert [reply.json["path"] for reply in found] == ["/a", "/b", "/c"]
    assert one.wire.is_closing() == draining


def test_an_answer_that_is_begun_at_once_may_wait_and_may_fail() -> None:
    closed: list[bool] = []

    async def conversation(one: Talk) -> None:
        one.shared.latest = one.connection
        one.echo.gate = asyncio.Event()
        one.send(post("/waits"))
        assert (one.echo.asked, one.echo.expected) == (["/waits"], 1)
        one.echo.gate.set()
        (reply,) = await one.wire.until(1)
        assert reply.json["path"] == "/waits"
        await asyncio.sleep(0)
        one.echo.gate = None
        one.send(post("/broken"))
        closed.append(one.wire.is_closing())

    one = talk(conversation)

    assert closed == [True]
    assert one.echo.expected == 0


def replies(count: int, *sent: bytes, **options: float) -> list[Reply]:
    found: list[Reply] = []

    async def conversation(one: Talk) -> None:
        for data in sent:
            one.send(data)
        found.extend(await one.wire.until(count))

    talk(conversation, **options)
    return found


def test_a_request_is_told_as_it_came() -> None:
    (reply,) = replies(1, post("/a%20b?c=%20d", b"body", x="y"))

    assert reply.json == {
        "method": "POST", "path": "/a b", "query": "c=%20d", "x": "y", "body": "body",
    }  # fmt: skip


def test_a_request_may_come_byte_by_byte() -> None:
    sent = [bytes([byte]) for byte in post("/a", b"body")]

    assert replies(1, *sent)[0].json["body"] == "body"


def test_a_body_may_come_in_chunks() -> None:
    start = head("POST", "/a", {"host": "x", "transfer-encoding": "chunked"})

    (reply,) = replies(1, start, b"2\r\nbo\r\n", b"2\r\ndy\r\n0\r\n\r\n")

    assert reply.json["body"] == "body"


def test_a_proxys_form_of_a_target_is_understood() -> None:
    assert replies(1, post("http://host/a/b"))[0].json["path"] == "/a/b"


def test_a_repeated_header_is_joined() -> None:
    data = b"GET /a HTTP/1.1\r\nHost: x\r\nX: 1\r\nX: 2\r\n\r\n"

    assert replies(1, data)[0].json["x"] == "1, 2"


def test_requests_of_one_connection_are_answered_in_their_order() -> None:
    found = replies(3, post("/1") + post("/2"), post("/3"))

    assert [reply.json["path"] for reply in found] == ["/1", "/2", "/3"]


def test_who_sends_many_requests_at_once_is_read_no_further_for_a_while() -> None:
    paused: list[bool] = []

    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/x") * 9)
        paused.append(one.wire.paused)
        one.echo.gate.set()
        await one.wire.until(9)
        paused.append(one.wire.paused)

    talk(conversation)

    assert paused == [True, False]


def test_who_sends_very_many_requests_at_once_is_refused_after_those_that_are_kept() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/x") * 5_000)
        one.echo.gate.set()
        await one.wire.until(5_000)

    found = [reply for reply in talk(conversation).wire.replies if reply.complete]

    assert [reply.status for reply in found] == [200] * 257 + [503]
    assert found[-1].json["error"] == "256 requests wait for their turn; read their answers first"


def test_the_answer_to_head_has_no_body() -> None:
    async def conversation(one: Talk) -> None:
        one.send(head("HEAD", "/a", {"host": "x"}))
        for _ in range(5):
            await asyncio.sleep(0)
        assert b"content-length: " in one.wire.written
        assert one.wire.written.endswith(b"\r\n\r\n")

    talk(conversation)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_who_wants_the_connection_closed_gets_that(version: bytes) -> None:
    data = b"GET /a " + version + b"\r\nHost: x\r\nConnection: close\r\n\r\n"

    (reply,) = replies(1, data)

    assert reply.headers["connection"] == "close"


def test_what_is_not_http_is_refused() -> None:
    (reply,) = replies(1, b"\x16\x03\x01 hello\r\n\r\n")

    assert (reply.status, reply.json) == (400, {"error": "this is not HTTP/1.1"})


def test_two_lengths_of_one_body_are_refused() -> None:
    data = head("POST", "/a", {"content-length": "4", "transfer-encoding": "chunked"})

    assert replies(1, data, b"0\r\n\r\n")[0].status == 400


def test_chunks_of_http_1_0_are_refused_since_proxies_of_its_time_pass_them_on_unread() -> None:
    asked = post("/a", transfer_encoding="chunked", connection="keep-alive")
    behind = asked.replace(b"content-length: 0\r\n", b"").replace(b"_", b"-")
    sent = behind.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n" + post("/b")

    (reply,) = replies(2, sent)

    assert (reply.status, reply.json["error"]) == (400, "HTTP/1.0 knows no Transfer-Encoding")


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (b"", 400),
        (b"Host: a\r\nHost: b\r\n", 400),
        (b"Host: a\r\nhost: a\r\n", 400),
        (b"Host: a\r\nHost:\r\n", 400),
        (b"Host: a, b\r\n", 400),
        (b"Host: a:8080\r\n", 200),
        (b"Host:\r\n", 200),
    ],
)
def test_a_request_has_one_host(hosts: bytes, status: int) -> None:
    sent = b"GET /a HTTP/1.1\r\n" + hosts + b"\r\n"
    behind = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"

    found = replies(2, sent + behind)

    assert [one.status for one in found] == ([200, 200] if status == 200 else [400])
    assert status == 200 or "ost" in found[0].json["error"]


@pytest.mark.parametrize(("hosts", "status"), [(b"", 200), (b"Host: a\r\nHost: b\r\n", 400)])
def test_a_request_of_http_1_0_needs_no_host(hosts: bytes, status: int) -> None:
    assert replies(1, b"GET /a HTTP/1.0\r\n" + hosts + b"\r\n")[0].status == status


def test_too_long_headers_are_refused() -> None:
    (reply,) = replies(1, post(x="y" * 200), max_header_bytes=100)

    assert reply.status == 431


def test_who_asks_before_sending_is_told_to_go_on() -> None:
    start = head("POST", "/a", {"content-length": "4", "expect": "100-continue"})

    async def conversation(one: Talk) -> None:
        one.send(start)
        assert one.wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.send(b"body")
        assert (await one.wire.until(1))[0].json["body"] == "body"

    talk(conversation)


def test_an_upgrade_is_not_made_and_the_request_is_answered() -> None:
    data = post("/a", connection="Upgrade, HTTP2-Settings", upgrade="h2c")

    assert replies(1, data)[0].status == 200


def test_nothing_behind_an_upgrade_is_taken_for_a_request() -> None:
    async def conversation(one: Talk) -> None:
        start = head("GET", "/a", {"connection": "Upgrade", "upgrade": "h2c"})
        one.send(start + head("GET", "/b", {"host": "x"})[:9])
        one.connection.data_received(head("GET", "/c", {"host": "x"}))
        (reply,) = await one.wire.until(1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert (reply.status, one.wire.is_closing()) == (200, True)
        assert len(one.echo.asked) == 1

    talk(conversation)


@pytest.mark.parametrize("named", [{"content-length": "29"}, {"transfer-encoding": "chunked"}])
def test_a_body_behind_an_upgrade_is_never_a_request(named: dict[str, str]) -> None:
    start = head("POST", "/a", {"connection": "Upgrade", "upgrade": "h2c", **named})

    async def conversation(one: Talk) -> None:
        one.send(start + head("GET", "/b", {"host": "x"}))
        one.connection.data_received(head("GET", "/c", {"host": "x"}))
        (reply,) = await one.wire.until(1)
        assert (reply.status, one.wire.is_closing()) == (400, True)
        assert "upgrade" in reply.json["error"]
        for _ in range(5):
            await asyncio.sleep(0)
        assert one.echo.asked == []

    talk(conversation)


def test_a_trailer_is_no_header() -> None:
    start = head("POST", "/a", {"host": "x", "x": "1", "transfer-encoding": "chunked"})

    assert replies(1, start + b"0\r\nX: 2\r\n\r\n")[0].json["x"] == "1"


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        (b"", None),
        (b"POST /a HT", "header_seconds"),
        (post(body=b"xx")[:-1], "body_seconds"),
    ],
)
def test_who_is_too_slow_is_cut_off(sent: bytes, rule: str | None) -> None:
    async def conversation(one: Talk) -> None:
        seconds = {"header_seconds": 10.0, "body_seconds": 60.0, None: 75.0}[rule]
        if sent:
            one.send(sent)
        closing = [one.later(seconds - 1), one.later(2)]
        assert closing == [False, True]
        assert one.wire.written.startswith(b"HTTP/1.1 408 ") == (rule is not None)

    talk(conversation)


def test_who_has_just_come_has_a_second_to_ask_before_it_counts_as_idle() -> None:
    async def conversation(one: Talk) -> None:
        idle = [one.connection.is_idle]
        one.clock.now += 0.9
        idle.append(one.connection.is_idle)
        one.clock.now += 0.2
        idle.append(one.connection.is_idle)
        assert idle == [False, False, True]

    talk(conversation)


def test_who_waits_for_an_answer_is_not_cut_off() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post())
        await asyncio.sleep(0)
        idle = [one.connection.is_idle]
        closed = [one.later(1_000)]
        one.echo.gate.set()
        await one.wire.until(1)
        await asyncio.sleep(0)
        idle.append(one.connection.is_idle)
        closed.append(one.later(76))
        assert (idle, closed) == ([False, True], [False, True])

    talk(conversation)


def test_too_many_connections_are_refused_while_all_are_being_answered() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post())
        second, wire = Connection(one.shared), Wire()
        second.connection_made(wire)
        assert wire.written.startswith(b"HTTP/1.1 503 ")
        assert wire.is_closing()
        assert not one.wire.is_closing()
        one.connection.connection_lost(None)
        assert not one.shared.connections

    talk(conversation, max_connections=1)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", b""),
        (b"POST / HTTP/1.1\r\nHo", b"HTTP/1.1 503 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow", b"HTTP/1.1 503 "),
    ],
)
def test_who_is_silent_gives_way_to_another(sent: bytes, told: bytes) -> None:
    async def conversation(one: Talk) -> None:
        one.send(sent)
        second, wire = Connection(one.shared), Wire()
        second.connection_made(wire)
        assert one.wire.is_closing()
        assert one.wire.written[: len(b"HTTP/1.1 503 ")] == told
        assert one.shared.connections == {second}
        second.data_received(post())
        await wire.until(1)
        assert wire.written.startswith(b"HTTP/1.1 200 ")

    talk(conversation, max_connections=1)


def test_who_waits_for_a_request_gives_way_before_who_has_sent_a_part() -> None:
    async def conversation(one: Talk) -> None:
        one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow")
        idle, wire = Connection(one.shared), Wire()
        idle.connection_made(wire)
        one.clock.now += 2  # who has just come may be about to ask
        Connection(one.shared).connection_made(Wire())
        assert (wire.is_closing(), one.wire.is_closing()) == (True, False)

    talk(conversation, max_connections=2)


def test_what_breaks_behind_it_closes_the_connection() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post("/broken"))
        await one.wire.until(1)
        assert one.wire.is_closing()

    talk(conversation)


def test_who_does_not_read_is_not_read() -> None:
    async def conversation(one: Talk) -> None:
        paused = []
        for change in (one.connection.pause_writing, one.connection.resume_writing):
            change()
            paused.append(one.wire.paused)
        assert paused == [True, False]
        one.connection.connection_lost(None)
        one.connection.pause_writing()
        one.connection.resume_writing()
        one.connection.close()

    talk(conversation)


def test_who_sends_many_requests_is_not_read_after_each_answer() -> None:
    paused: list[bool] = []

    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/x") * 20)
        one.echo.gate.set()
        for count in (5, 15):
            await one.wire.until(count)
            paused.append(one.wire.paused)

    talk(conversation)

    assert paused == [True, False]


def test_who_does_not_read_an_answer_gets_no_other_until_it_does() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/1") + post("/2"))
        one.connection.pause_writing()
        one.echo.gate.set()
        await one.wire.until(1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert (one.echo.asked, one.wire.paused, one.connection.is_idle) == (["/1"], True, False)
        one.connection.resume_writing()
        assert len(await one.wire.until(2)) == 2
        assert not one.wire.paused

    talk(conversation)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03 hello\r\n\r\n", 400),
        (post(body=b"x" * 101) + post("/late"), 413),
        (post(x="y" * 200) + post("/late"), 431),
    ],
)
def test_a_refusal_waits_for_the_answers_before_it_and_ends_all(sent: bytes, status: int) -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/1") + post("/2"))
        one.send(sent)
        one.send(post("/late"))
        assert one.wire.written == b""
        one.echo.gate.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert one.echo.asked == ["/1", "/2"]
        assert one.wire.is_closing()
        answers = one.wire.written.split(b"HTTP/1.1 ")[1:]
        assert [int(answer[:3]) for answer in answers] == [200, 200, status]

    talk(conversation, max_header_bytes=100)


def test_nothing_is_done_after_a_refusal() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post(body=b"x" * 101) + post("/late", expect="100-continue"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert one.echo.asked == []
        assert one.wire.written.count(b"HTTP/1.1 ") == 1

    talk(conversation)


def test_who_goes_away_cancels_the_request() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/a") + post("/b"))
        await asyncio.sleep(0)
        one.connection.connection_lost(None)
        one.echo.gate.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert one.echo.asked == ["/a"]
        assert one.wire.written == b""

    talk(conversation)


# --- who does not take, who does not send ---------------------------------------------------------


def test_who_takes_nothing_of_its_answer_is_cut_off() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post())
        await one.wire.until(1)
        one.wire.unsent = 100
        seen = [one.later(1), one.later(59), one.later(2)]
        assert (seen, one.wire.aborted) == ([False, False, True], True)

    talk(conversation, write_seconds=60)


def test_who_takes_its_answer_slowly_is_not_cut_off() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post() + post())
        one.echo.gate.set()
        await one.wire.until(1)
        for unsent in (100, 80, 60, 40):
            one.wire.unsent = unsent
            assert not one.later(50)
        one.wire.unsent = 0

    talk(conversation, write_seconds=60, idle_seconds=1_000)


def test_who_is_sent_more_and_takes_nothing_is_cut_off_all_the_same() -> None:
    async def conversation(one: Talk) -> None:
        one.wire.unsent = 0
        for count in (1, 2):
            one.send(post())
            await one.wire.until(count)
            await asyncio.sleep(0)
            one.wire.unsent = len(one.wire.written)
            assert not one.later(14)
        assert one.later(3)
        assert one.wire.aborted

    talk(conversation, write_seconds=30)


def test_a_connection_that_is_closed_and_not_taken_is_cut_off() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post(connection="close"))
        await one.wire.until(1)
        one.wire.unsent = 100
        one.later(1)
        aborted = [one.wire.aborted]
        one.later(61)
        assert [*aborted, one.wire.aborted] == [False, True]

    talk(conversation, write_seconds=60)


def test_what_could_not_be_sent_while_nothing_was_read_is_not_late() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post() + post()[:20])
        await one.wire.until(1)
        await asyncio.sleep(0)
        one.connection.pause_writing()
        seen = [one.later(100)]
        one.connection.resume_writing()
        assert [*seen, one.later(9), one.later(2)] == [False, False, True]
        assert b"HTTP/1.1 408 " in one.wire.written

    talk(conversation)


def test_a_part_of_a_request_behind_another_is_late_like_any() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post() + post()[:20])
        await one.wire.until(1)
        await asyncio.sleep(0)
        assert not one.connection.is_idle
        assert [one.later(9), one.later(2)] == [False, True]
        assert b"HTTP/1.1 408 " in one.wire.written

    talk(conversation)


# --- what is said of the connection ---------------------------------------------------------------


@pytest.mark.parametrize("path", ["/a", "/secret"])
@pytest.mark.parametrize("body", [b"", b"body"])
def test_another_expectation_than_continue_is_refused(path: str, body: bytes) -> None:
    async def conversation(one: Talk) -> None:
        one.send(post(path, body, expect="a-miracle"))
        (reply,) = await one.wire.until(1)
        assert (reply.status, one.wire.is_closing(), one.echo.asked) == (417, True, [])
        assert "'a-miracle'" in reply.json["error"]

    talk(conversation)


def test_an_old_caller_is_not_told_to_go_on() -> None:
    data = post(body=b"body", expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")

    async def conversation(one: Talk) -> None:
        one.send(data[:-4])
        assert one.wire.written == b""
        one.send(b"body")
        assert (await one.wire.until(1))[0].status == 200

    talk(conversation)


def test_who_asks_before_sending_behind_another_request_is_told_when_that_is_answered() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/1") + post("/2", b"body", expect="100-Continue")[:-4])
        await asyncio.sleep(0)
        assert one.wire.written == b""
        one.echo.gate.set()
        await one.wire.until(1)
        await asyncio.sleep(0)
        assert one.wire.written.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        one.send(b"body")
        assert (await one.wire.until(2))[1].json["body"] == "body"

    talk(conversation)


def test_who_is_told_late_to_send_its_body_is_not_late_with_it() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/1") + post("/2", b"body", expect="100-continue")[:-4])
        seen = [one.later(100)]
        one.echo.gate.set()
        await one.wire.until(1)
        await turns()
        seen += [one.later(59), one.later(2)]
        assert seen == [False, False, True]
        assert one.wire.written.count(b"HTTP/1.1 100 Continue") == 1
        assert b"HTTP/1.1 408 " in one.wire.written

    talk(conversation)


def test_who_asks_before_sending_nothing_is_not_told_to_go_on_after_its_answer() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/1") + post("/2", expect="100-continue"))
        one.echo.gate.set()
        await one.wire.until(2)
        await turns()
        assert b"100 Continue" not in one.wire.written

    talk(conversation)


@pytest.mark.parametrize(
    ("version", "connection", "told"),
    [
        (b"HTTP/1.0", None, "close"),
        (b"HTTP/1.0", "keep-alive", "keep-alive"),
        (b"HTTP/1.0", "Keep-Alive", "keep-alive"),
        (b"HTTP/1.1", None, None),
        (b"HTTP/1.1", "keep-alive", None),
    ],
)
def test_an_old_caller_is_told_whether_the_connection_goes_on(
    version: bytes, connection: str | None, told: str | None
) -> None:
    named = {"host": "x"} | ({"connection": connection} if connection else {})
    data = head("GET", "/a", named).replace(b"HTTP/1.1", version)

    async def conversation(one: Talk) -> None:
        one.send(data)
        (reply,) = await one.wire.until(1)
        assert (reply.headers.get("connection"), one.wire.is_closing()) == (told, told == "close")

    talk(conversation)


def test_nothing_tells_no_length() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post("/empty"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert one.wire.written.startswith(b"HTTP/1.1 204 ")
        assert b"content-length" not in one.wire.written
        assert one.wire.written.endswith(b"\r\n\r\n")

    talk(conversation)


# --- what the head decides, and what bodies take --------------------------------------------------


def test_the_body_of_who_is_refused_is_not_kept_and_the_connection_goes_on() -> None:
    async def conversation(one: Talk) -> None:
        data = post("/secret", b"x" * 90)
        one.send(data[:-10])
        assert one.echo.budget.held == 0
        one.send(data[-10:] + post("/a"))
        refused, answered = await one.wire.until(2)
        assert (refused.status, answered.status) == (401, 200)

    talk(conversation)


def test_who_is_refused_and_asked_before_sending_sends_nothing() -> None:
    async def conversation(one: Talk) -> None:
        one.send(head("POST", "/secret", {"content-length": "50", "expect": "100-continue"}))
        (reply,) = await one.wire.until(1)
        assert (reply.status, one.wire.is_closing(), one.echo.asked) == (401, True, [])

    talk(conversation)


def test_who_is_refused_and_sends_for_ever_is_cut_off() -> None:
    async def conversation(one: Talk) -> None:
        one.send(head("POST", "/secret", {"content-length": "1000"}) + b"x" * 401)
        (reply,) = await one.wire.until(1)
        assert (reply.status, one.wire.is_closing()) == (401, True)

    talk(conversation)


def test_bodies_have_room_for_so_many_bytes_together() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.budget.most = 400
        one.echo.gate = asyncio.Event()
        second, wire = Connection(one.shared), Wire()
        second.connection_made(wire)
        one.send(post("/1", b"x" * 90) + post("/2", b"x" * 90)[:-1])
        await asyncio.sleep(0)
        second.data_received(post("/3", b"x" * 90))
        (reply,) = await wire.until(1)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert (wire.is_closing(), one.echo.asked) == (True, ["/1"])
        one.echo.gate.set()
        one.send(b"x")
        await one.wire.until(2)
        await asyncio.sleep(0)
        assert one.echo.budget.held == 0

    talk(conversation)


def test_who_goes_away_gives_back_what_its_bodies_took() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post(body=b"x" * 50) * 2 + post(body=b"x" * 50)[:-1])
        await asyncio.sleep(0)
        taken = one.echo.budget.held
        one.connection.connection_lost(None)
        for _ in range(3):
            await asyncio.sleep(0)
        assert (taken > 149, one.echo.budget.held, one.echo.expected) == (True, 0, 0)

    talk(conversation)


def test_a_body_that_comes_byte_by_byte_takes_more_than_its_bytes() -> None:
    async def conversation(one: Talk) -> None:
        one.send(head("POST", "/a", {"transfer-encoding": "chunked"}) + b"1\r\nx\r\n" * 20)
        one.send(b"0\r\n\r\n")
        (reply,) = await one.wire.until(1)
        assert (reply.status, one.echo.budget.held) == (503, 0)

    talk(conversation)


# --- the end --------------------------------------------------------------------------------------


def drained(one: Talk) -> list[tuple[int, str | None]]:
    return [
        (reply.status, reply.headers.get("connection"))
        for reply in one.wire.replies
        if reply.complete
    ]


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_while_draining_only_the_last_answer_closes() -> None:
    async def conversation(one: Talk) -> None:
        one.echo.gate = asyncio.Event()
        one.send(post("/1") + post("/2") + post("/3"))
        one.echo.gate.set()
        await turns()
        assert drained(one) == [(200, None), (200, None), (200, "close")]
        assert one.wire.is_closing()

    talk(conversation, draining=True)


def test_while_draining_a_request_of_which_a_part_has_come_is_still_answered() -> None:
    async def conversation(one: Talk) -> None:
        half = post("/2", b"body")
        one.send(post("/1") + half[:30])
        await turns()
        seen = [drained(one)]
        one.send(half[30:])
        await turns()
        assert [*seen, drained(one)] == [[(200, None)], [(200, None), (200, "close")]]

    talk(conversation, draining=True)


def test_in_the_end_a_request_of_which_a_part_has_come_is_refused() -> None:
    async def conversation(one: Talk) -> None:
        one.send(post("/1") + post("/2")[:30])
        await turns()
        one.connection.cut("the server ends")
        await turns()
        assert drained(one) == [(200, None), (503, "close")]
        assert one.wire.is_closing()

    talk(conversation, draining=True)


def test_in_the_end_nothing_is_said_to_who_asks_nothing() -> None:
    async def conversation(one: Talk) -> None:
        one.connection.cut("the server ends")
        one.connection.abort()
        assert (one.wire.written, one.wire.aborted) == (b"", True)
        one.connection.connection_lost(None)
        one.connection.abort()

    talk(conversation)


# --- the application's own bounds -----------------------------------------------------------------


def ask(service: Service, body: bytes = ROW, **headers: str) -> Reply:
    return service.ask("POST", "/v1/models/prices:predict", body, **headers)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(ROW), "gzip", 200),
        (ROW, "identity", 200),
        (gzip.compress(b" " * 10_001), "gzip", 413),
        (ROW, "gzip", 400),
        (gzip.compress(ROW)[:-1], "gzip", 400),
        (gzip.compress(ROW) + b"x", "gzip", 400),
        (ROW, "br", 415),
    ],
)
def test_compressed_bodies_are_read_within_bounds(body: bytes, encoding: str, status: int) -> None:
    with running() as service:
        service.serve(prices_export())

        assert ask(service, body, content_encoding=encoding).status == status


def test_what_bodies_unpack_to_counts_too() -> None:
    with running(max_body_bytes=10_000, max_buffered_bytes=10_000) as service:
        service.serve(prices_export())
        fits, full = (
            ask(service, gzip.compress(ROW + b" " * spaces), content_encoding="gzip")
            for spaces in (1_000, 9_940)
        )

    assert (fits.status, full.status, full.headers["retry-after"]) == (200, 503, "1")
    assert service.app.budget.held == 0


def test_bodies_together_have_room_for_the_longest_at_least() -> None:
    with (
        pytest.raises(SettingsInvalid, match="MAX_BUFFERED_BYTES=9 is below MAX_BODY_BYTES=10"),
        running(max_body_bytes=10, max_buffered_bytes=9),
    ):
        pass


def test_a_large_answer_is_compressed_for_who_accepts_it() -> None:
    body = json.dumps({"instances": [[3, "Bonn"]] * 20_000}).encode()
    with running(max_body_bytes=1_000_000) as service:
        service.serve(prices_export())
        plain, packed, other = (
            ask(service, body, accept_encoding=one) for one in ("identity", "gzip, br", "br")
        )

    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body == other.body


def test_more_requests_than_allowed_are_refused_at_once() -> None:
    with running(max_requests=0) as service:
        service.serve(prices_export())
        reply = ask(service)

    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_each_request_is_a_line_without_its_payload(caplog: pytest.LogCaptureFixture) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with running(access_log=True) as service, caplog.at_level(logging.INFO):
        service.serve(prices_export())
        ask(service, x_request_id="7", traceparent=f"00-{trace}-b7ad6b7169203331-01")

    (line,) = [vars(record) for record in caplog.records if record.message == "request"]
    assert (line["route"], line["status"], line["version"]) == ("tfs-predict", 200, "1")
    assert (line["request_id"], line["trace_id"]) == ("7", trace)
    assert "Bonn" not in str(line)


DOCUMENTED = (
    "/v1/models/prices:predict",
    "/v1/models/{model}:classify",
    "/v1/models/{model}:regress",
    "/v1/models/{model}/versions/{version}:predict",
    "/v1/models/{model}/labels/{label}:predict",
    "/v2/models/{model}/versions/{version}/infer",
    "/v2/models/stats",
    "/v2/repository/index",
    "/v2/repository/models/{model}/load",
    "/v2/repository/models/{model}/unload",
    "/invocations",
    "/2015-03-31/functions/{model}/invocations",
)


def test_the_documents_tell_of_every_model(samples: Service) -> None:
    document = samples.ask("GET", "/openapi.json").json
    page = samples.ask("GET", "/docs")
    schemas = document["components"]["schemas"]

    assert "/v1/models/prices:predict" in document["paths"]
    assert schemas["prices.Instance"]["anyOf"][0]["properties"]["town"] == {"enum": ["Aa", "Bonn"]}
    assert schemas["shapes.Prediction"]["maxItems"] == 2
    assert schemas["identity.Instance"]["properties"]["IN_BOOL"]["items"] == {"type": "boolean"}
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for path in DOCUMENTED:
        assert path in document["paths"]
        assert path in page.body.decode()
