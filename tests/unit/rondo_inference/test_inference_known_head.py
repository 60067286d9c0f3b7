"""Heads that a caller says again: read once, and answered as if they were read each time."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_inference.contracts.messages import json_answer
from tests.unit.rondo_inference.asked import Reply
from tests.unit.rondo_inference.test_inference_connection import Talk, post, talk


def replies(one: Talk) -> Sequence[Reply]:
    return one.wire.replies[:-1]  # the last one has not come yet


def bodies(one: Talk) -> list[str]:
    return [json.loads(reply.body)["body"] for reply in replies(one)]


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def said(one: Talk, *pieces: bytes) -> None:
    """Send pieces, each when what was sent before is answered as far as it can be."""
    for piece in pieces:
        one.send(piece)
        await settle()


def test_a_head_that_comes_again_is_not_read_again_and_its_body_is() -> None:
    async def conversation(one: Talk) -> None:
        await said(one, *(post(body=body, x="1") for body in (b"ab", b"cd", b"ef")))
        assert bodies(one) == ["ab", "cd", "ef"]
        assert [json.loads(reply.body)["x"] for reply in replies(one)] == ["1"] * 3
        assert (one.echo.admitted, one.echo.expected, one.echo.budget.held) == (1, 0, 0)

    talk(conversation)


def test_another_head_is_read_and_then_the_one_before_it_too() -> None:
    async def conversation(one: Talk) -> None:
        await said(one, post("/a", b"1"), post("/b", b"1"), post("/a", b"1"), post("/a", b"22"))
        assert one.echo.asked == ["/a", "/b", "/a", "/a"]
        assert one.echo.admitted == 4

    talk(conversation)


def test_who_may_ask_no_more_is_refused_though_the_head_is_known() -> None:
    async def conversation(one: Talk) -> None:
        await said(one, post(body=b"1"))
        one.echo.again_refusal = json_answer({"error": "too often"}, status=429)
        await said(one, post(body=b"2"))
        assert [reply.status for reply in replies(one)] == [200, 429]
        assert one.echo.budget.held == 0

    talk(conversation)


def test_a_body_that_finds_no_room_is_refused_though_the_head_is_known() -> None:
    async def conversation(one: Talk) -> None:
        await said(one, post(body=b"1"))
        one.echo.budget.most = 10
        await said(one, post(body=b"2"))
        assert [reply.status for reply in replies(one)] == [200, 503]
        assert one.wire.is_closing()

    talk(conversation)


def test_the_end_of_a_head_is_no_head() -> None:
    whole = post(body=b"1")
    start, end = whole[:20], whole[20:]

    async def conversation(one: Talk) -> None:
        await said(one, start, end, end)
        assert [reply.status for reply in replies(one)] == [200, 400]

    talk(conversation)


@pytest.mark.parametrize(
    "pieces",
    [
        (post(body=b"12"), post(body=b"34")[:-1], b"4"),
        (post(body=b"12"), post(body=b"34") + post(body=b"56")[:3], post(body=b"56")[3:]),
        (post(body=b"12") + post(body=b"34"), post(body=b"12") + post(body=b"34")),
        (post(body=b"12"), post(body=post()), post(body=post())[:-1], post()[-1:]),
    ],
    ids=["in parts", "with the next one's start", "two at once, again", "another length"],
)
def test_only_one_whole_request_at_once_is_known(pieces: tuple[bytes, ...]) -> None:
    async def alone(one: Talk) -> None:
        one.echo.budget.most = 100_000  # each piece takes some
        await said(one, *(bytes([byte]) for piece in pieces for byte in piece))

    async def at_once(one: Talk) -> None:
        await said(one, *pieces)

    expected, found = talk(alone), talk(at_once)

    assert bodies(found) == bodies(expected)
    assert found.echo.expected == 0


def test_a_body_that_is_a_known_request_is_a_body() -> None:
    known = post(body=b"1")
    outer = post("/outer", known + b"!")

    async def conversation(one: Talk) -> None:
        await said(one, known, outer[: -len(known) - 1], known, b"!")
        assert bodies(one) == ["1", known.decode() + "!"]

    talk(conversation, max_body_bytes=1_000)


@pytest.mark.parametrize(
    "request_again",
    [
        post(body=b"1", connection="close"),
        post(body=b"1", expect="100-continue"),
        post(body=b""),
        post(body=b"1", x="y" * 5_000),
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    ],
    ids=["closes", "waits", "empty", "long", "chunked"],
)
def test_what_is_more_than_a_head_and_a_body_is_read_each_time(request_again: bytes) -> None:
    async def conversation(one: Talk) -> None:
        await said(one, request_again, request_again)
        closes = b"close" in request_again
        assert one.echo.admitted == (1 if closes else 2)
        assert [reply.status for reply in replies(one)] == [200] * one.echo.admitted

    talk(conversation, max_header_bytes=10_000)


@given(
    asked=st.lists(st.sampled_from([b"", b"a", b"b", b"\r\n\r\n", b"long" * 9]), max_size=6),
    cuts=st.lists(st.integers(0, 600), max_size=8),
)
def test_answers_are_the_same_however_requests_are_cut(asked: list[bytes], cuts: list[int]) -> None:
    data = b"".join(post(body=body, x="1") for body in asked)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]

    async def conversation(one: Talk) -> None:
        await said(one, *pieces)
        await one.wire.until(len(asked))
        await settle()
        assert bodies(one) == [body.decode() for body in asked]
        assert one.echo.budget.held == 0

    talk(conversation)
