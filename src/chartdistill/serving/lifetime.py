"""From the first request to the last, whatever ends it.

In: a service and a socket that listens. Out: what ended it. Must hold: told to end (SIGTERM, Ctrl-C), the server takes
nothing new and answers what runs, for as long as `grace_s`; told twice, it stops at once; when the engine dies, those
who wait are told, and the server ends.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from chartdistill.engines import AsyncVllm
from chartdistill.serving.access import Access
from chartdistill.serving.app import Service
from chartdistill.serving.guard import Guard

_LAST_ANSWERS_S = 3.0
"""For answers that are ready to be sent."""
HEAD_S = 30.0
"""For the head of a request to come."""


class _Impatient(H11Protocol):
    """A connection on which no request comes, or half of one's head, is closed: uvicorn waits for the first without
    end, and as many as may be open at once, of askers that are gone or have no key, would keep all others out."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn has it."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """As uvicorn has it."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn has it."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    """Signals are ours."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(app: ASGIApp, access: Access, max_connections: int) -> _Server:
    """uvicorn, which writes no line of its own: an address may hold what was meant for a body."""
    cert, key = access.tls or (None, None)
    return _Server(
        uvicorn.Config(
            app,
            http=_Impatient,  # h11: it limits a request's head
            ws="none",
            lifespan="off",
            timeout_keep_alive=30,
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=max_connections,
            timeout_graceful_shutdown=round(_LAST_ANSWERS_S),
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
    )


async def serve_until_ended(
    service: Service, engine: AsyncVllm, access: Access, bound: socket.socket, grace_s: float
) -> signal.Signals | None:
    """Answer requests until a signal comes, or the engine dies.

    Returns:
        The signal; None: the engine has died.
    """
    server = http_server(
        Guard(service.app(), access, lambda: service.refuses_new),
        access,
        max_connections=2 * service.admission.limit + 64,
    )
    told: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, told.put_nowait, one)
    serving = asyncio.ensure_future(server.serve([bound]))
    death = asyncio.ensure_future(engine.death())
    first = asyncio.ensure_future(told.get())
    await asyncio.wait((serving, death, first), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
        raise RuntimeError("the HTTP server ended by itself")
    reason = first.result() if first.done() else None
    service.refuses_new = "The server is ending." if reason else "The engine has died; the server ends."
    if reason is not None:
        await _first_of(grace_s, _answered(service), told.get(), death)
        if death.done():
            reason = None
    else:
        await _first_of(_LAST_ANSWERS_S, _answered(service))
    service.stopped.set()
    await _first_of(_LAST_ANSWERS_S, _answered(service))
    server.should_exit = True
    await _first_of(4 * _LAST_ANSWERS_S, serving)
    for task in (first, death, serving):
        task.cancel()
    return reason


async def _answered(service: Service) -> None:
    while service.admission.in_work:
        await asyncio.sleep(0.05)


async def _first_of(seconds: float, *waited: Any) -> None:
    """Wait for the first of several, or so long."""
    tasks = [asyncio.ensure_future(one) for one in waited]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task, one in zip(tasks, waited, strict=True):
        if task is not one:
            task.cancel()
