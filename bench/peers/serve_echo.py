"""The floor: reads a request, writes an answer of a given size: ``serve_echo.py PORT SIZE``.

``serve_echo.py PORT SIZE MODEL`` computes one picture before each answer, always the same.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import httptools
import numpy as np
import onnxruntime
import uvloop


class Echo(asyncio.Protocol):
    """Parses, computes, and answers with the same bytes every time."""

    def __init__(self, answer: bytes, compute: Callable[[], object]) -> None:
        self._answer = answer
        self._compute = compute
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Compute and answer."""
        self._compute()
        if self._transport is not None:
            self._transport.write(self._answer)


def _nothing() -> None:
    """Only echo."""


def _model(path: str) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    shape = [side if isinstance(side, int) else 1 for side in session.get_inputs()[0].shape]
    inputs = {session.get_inputs()[0].name: np.full(shape, 0.5, np.float32)}
    return lambda: session.run(names, inputs)


async def main() -> None:
    """Serve for ever."""
    size, models = int(sys.argv[2]), sys.argv[3:]
    compute = _model(models[0]) if models else _nothing
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(answer, compute), "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
