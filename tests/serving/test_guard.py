"""What every request passes first, on a real server of the shipped configuration."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from chartdistill.runtime.listening import listen
from chartdistill.serving.access import Access
from chartdistill.serving.admission import Admission
from chartdistill.serving.app import Service
from chartdistill.serving.guard import Guard
from chartdistill.serving.lifetime import http_server

KEY = "k3y-of-twenty-letters"
SECRET = "Zqxjemide"


async def _echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def _broken(request: Request) -> Response:
    raise ValueError(f"cannot read {SECRET}")


async def _broken_midway(request: Request) -> Response:
    async def parts() -> Iterator[str]:  # type: ignore[misc]
        yield "first"
        raise ValueError(SECRET)

    return StreamingResponse(parts())  # type: ignore[arg-type]


class Running:
    """A server in a thread, with a switch."""

    refuses: str | None = None
    port: int

    @contextmanager
    def open(self, access: Access) -> Iterator[Running]:
        paths = {"/echo": _echo, "/broken": _broken, "/midway": _broken_midway, "/health": _echo}
        app = Starlette(routes=[Route(path, end, methods=["POST", "GET"]) for path, end in paths.items()])
        server = http_server(Guard(app, access, lambda: self.refuses), access, 50)
        with listen(access.address, access.port) as bound:
            self.port = bound.getsockname()[1]
            thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
            thread.start()
            try:
                yield self
            finally:
                server.should_exit = True
                thread.join(20)
        assert not thread.is_alive()

    def ask(self, path: str = "/echo", body: bytes = b"chart", **headers: str) -> httpx.Response:
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        with httpx.Client(verify=False, timeout=60, base_url=f"http://127.0.0.1:{self.port}") as client:
            return client.post(path, content=body, headers=raw)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[Running]:
    with Running().open(Access("127.0.0.1", 0)) as running:
        yield running


@pytest.fixture(scope="module")
def with_key() -> Iterator[Running]:
    with Running().open(Access("127.0.0.1", 0, KEY, behind_proxy=True)) as running:
        yield running


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost", 200), ("LOCALHOST:5", 200), ("[::1]:80", 200), ("127.8.9.1:8765", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil.example:8765", 403), ("", 403),
        ("evil.example@127.0.0.1", 403), ("0.0.0.0", 403), ("169.254.169.254", 403), ("127.0.0.1/x", 403),
        ("localhost:port", 403), ("[::1", 403), ("2130706433", 403),
    ],
)  # fmt: skip
def test_on_loopback_the_host_must_be_this_machine(open_to_all: Running, host: str, status: int) -> None:
    answer = open_to_all.ask(Host=host)
    assert answer.status_code == status or (status == 403 and answer.status_code == 400)


def test_pages_of_other_sites_may_not_ask(open_to_all: Running, with_key: Running) -> None:
    own = f"http://127.0.0.1:{open_to_all.port}"
    assert open_to_all.ask(Origin=own).status_code == 200
    for origin in (
        "https://evil.example",
        "null",
        f"http://localhost:{open_to_all.port}",
        own + "0",
        "",
        "http://[::1",
    ):
        answer = open_to_all.ask(Origin=origin)
        assert answer.status_code == answer.json()["error"]["code"] == 403, origin
    both = [("Origin", own), ("Origin", "https://evil.example")]
    assert httpx.post(f"{own}/echo", content=b"chart", headers=both).status_code == 403
    # Through a proxy the Host may be another than the page's, and there is a key that no page has.
    assert with_key.ask(Origin="https://app.example", Authorization=f"Bearer {KEY}").status_code == 200
    assert with_key.ask(Host="app.example", Origin="https://app.example").status_code == 401


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200), (f"bearer  {KEY}", 200), (None, 401), ("", 401), (KEY, 401), (f"Basic {KEY}", 401),
        (f"Bearer {KEY[:-1]}", 401), (f"Bearer {KEY}x", 401), ("Bearer", 401), (f"Bearer {KEY.upper()}", 401),
        ("Bearer \u00e9", 401),
    ],
)  # fmt: skip
def test_a_key_is_asked_for_but_of_health(with_key: Running, authorization: str | None, status: int) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = with_key.ask(**headers)
    assert answer.status_code == status
    assert status == 200 or answer.headers["www-authenticate"] == "Bearer"
    assert with_key.ask("/health").status_code == 200
    assert KEY not in answer.text
    assert with_key.ask(f"/echo?key={KEY}").status_code == 401


def test_a_large_body_that_is_refused_hears_why(with_key: Running) -> None:
    assert with_key.ask(body=b"x" * 20_000_000).status_code == 401


def test_what_goes_wrong_is_said_without_its_words(open_to_all: Running, capfd: pytest.CaptureFixture[str]) -> None:
    answer = open_to_all.ask("/broken", SECRET.encode())
    assert answer.status_code == 500 and SECRET not in answer.text
    with pytest.raises(httpx.HTTPError):  # a cut answer never looks whole
        open_to_all.ask("/midway")
    printed = "".join(capfd.readouterr())
    assert SECRET not in printed and "ValueError at test_guard.py:" in printed
    assert open_to_all.ask().status_code == 200


def test_once_nothing_new_is_taken_that_is_said_and_the_connection_closed(open_to_all: Running) -> None:
    open_to_all.refuses = "The server is ending."
    try:
        answer = open_to_all.ask()
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert answer.json()["error"]["message"] == "The server is ending."
        assert open_to_all.ask("/health").status_code == 200
    finally:
        open_to_all.refuses = None


@pytest.mark.parametrize(("is_first", "sent"), [(True, b""), (True, b"GET /hea"), (False, b"GET /hea")])
def test_who_asks_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, is_first: bool, sent: bytes) -> None:
    monkeypatch.setattr("chartdistill.serving.lifetime.HEAD_S", 0.3)
    with Running().open(Access("127.0.0.1", 0, KEY)) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as idle:
            if not is_first:
                idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            idle.sendall(sent)
            while idle.recv(4096):
                pass
        assert running.ask("/health").status_code == 200


def test_nobody_is_sent_to_another_address_with_a_chart() -> None:
    service = Service(*[None] * 3, Admission(1), 1000)  # type: ignore[arg-type]
    with TestClient(service.app(), base_url="http://app.example", follow_redirects=False) as client:
        for path in ("/extract/", "/v1/models/", "//extract"):
            answer = client.post(path, json={"text": "chart"})
            assert answer.status_code == 404 and "POST /extract" in answer.json()["error"]["message"]
