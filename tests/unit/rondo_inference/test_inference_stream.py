"""The WebSocket of SageMaker's bidirectional streaming; the other end is the library's own."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from rondo_core.testing import ManualClock
from rondo_inference.web.connection import Connection
from rondo_inference.web.shared import ConnectionRules, Shared
from tests.unit.rondo_inference.asked import SECONDS, Reply, Service, Wire, running
from tests.unit.rondo_inference.exported import sample_folder

PATH = "/invocations-bidirectional-stream"
ROW = b'{"instances": [[3, "Bonn"]]}'


class Line(Wire):
    """A wire that carries a WebSocket once its server has said so."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.client = ClientProtocol(parse_uri(f"ws://test{PATH}"))
        self.opened = False
        self.frames: list[Frame] = []

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.opened = self.opened or bytes(data).startswith(b"HTTP/1.1 101 ")
        if not self.opened:
            super().write(data)
            return
        self.client.receive_data(bytes(data))
        self.frames += [one for one in self.client.events_received() if isinstance(one, Frame)]
        self.changed.set()


class Talk:
    """One stream and its other end."""

    def __init__(self, service: Service, **rules: Any) -> None:
        self.clock = ManualClock()
        bounds = ConnectionRules(**({"max_body_bytes": 10_000} | rules))
        draining = service.parts.server.draining.is_set
        self.shared = Shared(service.app, bounds, draining, self.clock.monotonic)
        self.line = Line()
        self.line.protocol = Connection(self.shared)
        self.line.protocol.connection_made(self.line)

    @property
    def client(self) -> ClientProtocol:
        return self.line.client

    def open(self, query: str = "?model=prices", **headers: str) -> None:
        request = self.client.connect()
        request.path += query
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value
        self.client.send_request(request)
        self.flush()

    def flush(self, *, step: int = 1 << 20) -> None:
        data = b"".join(self.client.data_to_send())
        for start in range(0, len(data), step):
            self.line.protocol.data_received(data[start : start + step])

    def send(self, body: bytes = ROW, **more: Any) -> None:
        self.client.send_text(body, **more)
        self.flush()

    async def until(self, count: int) -> list[Frame]:
        async with asyncio.timeout(SECONDS):
            while len(self.line.frames) < count:
                self.line.changed.clear()
                await self.line.changed.wait()
        return self.line.frames[:count]

    async def asked(self, body: bytes = ROW, **more: Any) -> Frame:
        count = len(self.line.frames) + 1
        self.send(body, **more)
        return (await self.until(count))[-1]

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for connection in list(self.shared.connections):
            connection.check(self.clock.monotonic())


def told(frame: Frame) -> Any:
    return json.loads(bytes(frame.data))


def talk(service: Service, conversation: Callable[[Talk], Awaitable[None]], **rules: Any) -> None:
    async def run() -> None:
        one = Talk(service, **rules)
        await conversation(one)
        one.line.protocol.connection_lost(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (service.app.budget.held, service.app.expected) == (0, 0)
        assert not one.shared.connections

    asyncio.run(run())


def test_sm_9_each_message_is_an_invocation_and_is_answered_by_a_message(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        assert one.client.state is State.OPEN
        for rooms in (3, 4):
            frame = await one.asked(json.dumps({"instances": [[rooms, "Bonn"]]}).encode())
            assert (frame.opcode, set(told(frame))) == (Opcode.TEXT, {"predictions"})

    talk(samples, conversation)


def test_sm_9_messages_are_answered_in_their_order(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open("?model=floats")
        for number in range(20):
            one.client.send_binary(json.dumps({"instances": [[number]]}).encode())
        one.flush()
        frames = await one.until(20)
        found = [told(frame)["predictions"][0][0] for frame in frames]
        assert found == list(range(20))

    talk(samples, conversation)


def test_sm_9_who_sends_many_messages_is_read_no_further_for_a_while(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        for _ in range(12):
            one.client.send_text(ROW)
        one.flush()
        paused = [one.line.paused]
        await one.until(12)
        assert [*paused, one.line.paused] == [True, False]

    talk(samples, conversation)


def test_sm_9_who_sends_very_many_messages_at_once_is_told_to_come_later(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        for _ in range(1_000):
            one.client.send_text(b"")
        one.flush()
        assert one.client.close_rcvd is not None
        assert one.client.close_rcvd.code == 1013

    talk(samples, conversation)


def test_sm_9_what_is_wrong_is_told_and_the_stream_goes_on(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        wrong = await one.asked(b'{"instances": [[3]]}')
        right = await one.asked()
        assert [set(told(one)) & {"error", "predictions"} for one in (wrong, right)] == [
            {"error"}, {"predictions"}
        ]  # fmt: skip

    talk(samples, conversation)


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?model=prices&content-type=text/csv&accept=text/csv", {}),
        ("?model=prices", {"content_type": "text/csv", "accept": "text/csv"}),
        ("", {"content_type": "text/csv", "x_amzn_sagemaker_target_model": "prices"}),
    ],
)
def test_sm_9_query_or_headers_say_what_the_messages_are(
    samples: Service, query: str, headers: dict[str, str]
) -> None:
    async def conversation(one: Talk) -> None:
        one.open(query, **headers)
        frame = await one.asked(b"3,Bonn")
        assert (frame.opcode, b"error" in frame.data) == (Opcode.TEXT, False)

    talk(samples, conversation)


def test_sm_9_arrays_are_answered_in_binary(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open("?model=prices&accept=application/x-npy")
        frame = await one.asked()
        assert (frame.opcode, bytes(frame.data[:6])) == (Opcode.BINARY, b"\x93NUMPY")

    talk(samples, conversation)


def test_sm_9_a_message_may_come_in_pieces_byte_by_byte(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        one.client.send_text(ROW[:9], fin=False)
        one.client.send_ping(b"between")
        one.client.send_continuation(ROW[9:], fin=True)
        one.flush(step=1)
        pong, answer = await one.until(2)
        assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"between")
        assert b"predictions" in answer.data

    talk(samples, conversation)


def test_sm_9_pings_are_answered_and_keep_the_stream_open(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        for _ in range(10):
            one.later(60)
            one.client.send_ping(b"x")
            one.flush()
        assert [frame.opcode for frame in one.line.frames] == [Opcode.PONG] * 10
        assert one.client.state is State.OPEN

    talk(samples, conversation)


def test_sm_9_a_stream_on_which_five_pings_are_missed_is_closed(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        one.later(299)
        seen = [one.client.state]
        one.later(2)
        seen.append(one.client.state)
        one.later(3)
        assert seen == [State.OPEN, State.CLOSING]
        assert one.line.aborted

    talk(samples, conversation)


def test_sm_9_the_end_is_said_and_confirmed(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        await one.asked()
        await asyncio.sleep(0)
        (stream,) = one.shared.connections
        assert stream.is_idle
        stream.cut("the server ends")
        one.flush()
        assert one.client.close_rcvd is not None
        assert (one.client.close_rcvd.code, one.line.is_closing()) == (1001, True)
        assert not one.line.aborted

    talk(samples, conversation)


def test_sm_9_the_caller_may_say_the_end(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        one.client.send_close(1000)
        one.flush()
        assert one.client.close_rcvd is not None
        assert (one.client.close_rcvd.code, one.line.is_closing()) == (1000, True)

    talk(samples, conversation)


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda client: client.send_text(b"\xff"), 1007),
        (lambda client: client.send_binary(b"x" * 10_001), 1009),
        (lambda client: client.send_frame(Frame(Opcode.CONT, b"x")), 1002),
    ],
)
def test_sm_9_what_breaks_the_protocol_ends_the_stream(
    samples: Service, send: Callable[[ClientProtocol], None], code: int
) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        send(one.client)
        one.flush()
        one.flush()
        assert one.client.close_rcvd is not None
        assert one.client.close_rcvd.code == code

    talk(samples, conversation)


@pytest.mark.parametrize("fin", [True, False])
def test_sm_9_messages_take_of_the_budget_of_all_bodies(samples: Service, fin: bool) -> None:  # noqa: FBT001
    async def conversation(one: Talk) -> None:
        budget = samples.app.budget
        one.open()
        budget.held += budget.most - 100
        one.send(b"x" * 90, fin=fin)
        if fin:
            one.send(b"x" * 90)
        budget.held -= budget.most - 100
        assert one.client.close_rcvd is not None
        assert one.client.close_rcvd.code == 1013

    talk(samples, conversation)


def test_sm_9_who_takes_no_answers_is_asked_no_more_and_cut_off(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        one.line.protocol.pause_writing()
        one.line.unsent = 100
        one.send()
        one.later(1)
        seen = [one.line.paused, one.line.aborted]
        one.later(61)
        assert [*seen, one.line.aborted, one.line.frames] == [True, False, True, []]

    talk(samples, conversation)


def test_sm_9_who_takes_answers_again_is_answered(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.open()
        one.line.protocol.pause_writing()
        one.send()
        one.line.protocol.resume_writing()
        assert b"predictions" in (await one.until(1))[0].data

    talk(samples, conversation)


def plain(one: Talk) -> Reply:
    return one.line.replies[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_websocket_version": "7"}, 400),
        ({"sec_websocket_key": "x"}, 400),
        ({"origin": "https://elsewhere"}, 403),
    ],
)
def test_sm_9_a_bad_opening_is_refused(
    samples: Service, headers: dict[str, str], status: int
) -> None:
    async def conversation(one: Talk) -> None:
        one.open(**headers)
        await one.line.until(1)
        assert (plain(one).status, one.line.is_closing(), one.line.opened) == (status, True, False)
        assert plain(one).json["error"]

    talk(samples, conversation)


def test_sm_9_plain_http_is_told_what_is_spoken_here(samples: Service) -> None:
    reply = samples.ask("GET", PATH)

    assert (reply.status, reply.headers["upgrade"]) == (426, "websocket")


def test_sm_9_head_opens_no_stream(samples: Service) -> None:
    async def conversation(one: Talk) -> None:
        one.client.send_request(one.client.connect())
        opening = b"".join(one.client.data_to_send())
        one.line.protocol.data_received(opening.replace(b"GET", b"HEAD", 1))
        for _ in range(5):
            await asyncio.sleep(0)
        assert (one.line.written[:12], one.line.opened) == (b"HTTP/1.1 426", False)

    talk(samples, conversation)


def test_sm_9_an_opening_behind_a_request_that_is_not_answered_is_refused(
    samples: Service,
) -> None:
    async def conversation(one: Talk) -> None:
        one.line.protocol.data_received(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        one.open()
        (_, second) = await one.line.until(2)
        assert (second.status, one.line.is_closing()) == (426, True)

    talk(samples, conversation)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Service]:
    keys = tmp_path / "keys.json"
    digest = hashlib.sha256(b"some").hexdigest()
    keys.write_text(json.dumps([{"sha256": digest, "models": ["prices"], "rate": 1, "burst": 3}]))
    with running(models=sample_folder(tmp_path / "models"), api_keys_file=str(keys)) as found:
        yield found


def test_sm_9_a_key_is_needed_to_open_and_asked_for_each_message(guarded: Service) -> None:
    async def unknown(one: Talk) -> None:
        one.open()
        await one.line.until(1)
        assert plain(one).status == 401

    async def known(one: Talk) -> None:
        one.open(x_api_key="some")
        texts = [bytes((await one.asked()).data) for _ in range(3)]
        assert [b"too many requests" in text for text in texts] == [False, False, True]

    async def another(one: Talk) -> None:
        guarded.clock.advance(10)
        one.open("?model=floats", x_api_key="some")
        assert b"not for model 'floats'" in (await one.asked()).data

    for conversation in (unknown, known, another):
        talk(guarded, conversation)


def test_a_stream_of_which_the_application_breaks_is_closed(samples: Service) -> None:
    class Broken:
        budget = samples.app.budget
        admit = staticmethod(samples.app.admit)
        again = staticmethod(samples.app.again)
        expect = staticmethod(samples.app.expect)

        async def respond(self, *_: Any) -> Any:
            raise ZeroDivisionError

    async def conversation(one: Talk) -> None:
        one.shared.app = Broken()
        one.open()
        one.send()
        for _ in range(5):
            await asyncio.sleep(0)
        assert one.client.close_rcvd is not None
        assert one.client.close_rcvd.code == 1011

    talk(samples, conversation)
