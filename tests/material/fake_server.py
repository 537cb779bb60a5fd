"""A server on loopback that answers as it is told, for tests of the client of endpoints."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chartdistill.engines import Generation, OpenAIEngine, Request

SECRET = "CHART-TEXT-THAT-NOBODY-MAY-SEE"
REQUEST = Request([5, 6, 7], 4, 2, messages=(("user", SECRET),))


def reply(**changes: Any) -> dict[str, Any]:
    """A good reply to a completion."""
    choice = {"index": 0, "text": "aspirin | start", "finish_reason": "stop"} | changes
    return {"id": "1", "object": "text_completion", "choices": [choice], "usage": {"prompt_tokens": 3}}


class FakeServer(ThreadingHTTPServer):
    """Answers POSTs as `answer(handler, body, number of this POST)` says; lists one model that is not vLLM's."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Any, dict[str, Any], int], None], owner: str = "someone") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.owner = answer, owner
        self.max_model_len = 100
        self.asked: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def log_message(self, *arguments: Any) -> None:
        pass

    def give(self, status: int, value: Any, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, content in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), content)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            card = {"id": "tiny", "owned_by": self.server.owner, "max_model_len": self.server.max_model_len}
            self.give(200, {"data": [card]})
        else:
            self.give(404, {"error": {"message": "no such page"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.times.append(time.monotonic())
        self.server.answer(self, body, len(self.server.asked))


@contextmanager
def serving(answer: Callable[[Any, dict[str, Any], int], None], owner: str = "someone") -> Iterator[FakeServer]:
    with FakeServer(answer, owner) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: FakeServer, folder: Path, *requests: Request, **options: Any) -> list[Generation]:
    values = {"urls": (server.url,), "max_retries": 1, "timeout_s": 5, **options}
    with OpenAIEngine(**values).open(folder) as generator:
        return generator.generate(requests or [REQUEST])


def always(status: int, value: Any, **headers: str) -> Callable[[Any, dict[str, Any], int], None]:
    return lambda handler, body, number: handler.give(status, value, **headers)
