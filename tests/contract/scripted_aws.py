"""An AWS that answers what a test wrote down, on loopback, so that botocore's own part is real."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answer", "ScriptedAws", "error", "json_answer", "scripted_aws"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send; a ``status`` of 0 closes the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ScriptedAws:
    """Sends ``answers`` in order, the last one for ever after.

    Attributes:
        requests: the JSON bodies that came (None where the body is not JSON).
        calls: ``METHOD path`` or the ``X-Amz-Target`` of each request.
    """

    url: str
    answers: list[Answer] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def json_answer(body: object) -> Answer:
    return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/x-amz-json-1.0"})


def error(code: str, status: int = 400, **more: object) -> Answer:
    """An error of a service with the JSON protocol."""
    body = {"__type": f"com.amazonaws#{code}", "message": f"{code} it is", **more}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/x-amz-json-1.0"})


@contextmanager
def scripted_aws() -> Iterator[ScriptedAws]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    script = ScriptedAws(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = _handler(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(script: ScriptedAws) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.calls.append(self.headers.get("X-Amz-Target") or f"{self.command} {self.path}")
            is_json = "json" in self.headers.get("Content-Type", "")
            script.requests.append(json.loads(body) if is_json else None)
            answer = script.next()
            self.close_connection = True
            if not answer.status:
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - as the library calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
