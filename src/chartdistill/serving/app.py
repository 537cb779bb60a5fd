"""What is answered at which address.

    POST /extract               charts -> items, as `predict` writes them
    POST /v1/chat/completions   as vLLM's own server, plain chat only
    GET  /v1/models             the student, and the model below its adapter
    GET  /health                200 while the engine answers

In: requests that passed the guard. Out: JSON. Must hold: a chart is answered as `predict` answers it; what is taken has
a place in the queue until its answer is sent; who has gone takes nothing of the engine's time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from chartdistill.engines import AsyncVllm, ChatCompletions, ChatRefused, num_choices
from chartdistill.errors import EngineError
from chartdistill.evaluation.predict import Student
from chartdistill.records import clean
from chartdistill.serving.admission import Admission, FullError, Place, TooManyError
from chartdistill.serving.bodies import RefusedError, drop_body, read_body, read_charts, read_json
from chartdistill.serving.guard import HEALTH, failure

_HEALTH_S = 10.0
"""An engine's process that does not reply for so long, between two steps, is not healthy."""
_T = TypeVar("_T")


class StoppedError(Exception):
    """What ran was stopped, since the server ends."""


class Service:
    """One student and its engine, asked by many. To be used in one event loop."""

    def __init__(
        self, student: Student, engine: AsyncVllm, chat: ChatCompletions, admission: Admission, max_bytes: int
    ) -> None:
        self.admission = admission
        self.refuses_new: str | None = None
        """Why nothing new is taken; None while it is."""
        self.stopped = asyncio.Event()
        """What still runs is to be given up."""
        self._student, self._engine, self._chat, self._max_bytes = student, engine, chat, max_bytes
        # One thread: a tokenizer is not to be used by two, and Python runs one at a time anyway.
        self._thread = ThreadPoolExecutor(1)

    def app(self) -> Starlette:
        """The routes."""
        routes = [
            Route("/extract", self.extract, methods=["POST"]),
            Route("/v1/chat/completions", self.complete, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route(HEALTH, self.health, methods=["GET"]),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_address})
        # Behind a proxy that ends TLS the address sent there would begin with http: a chart would cross unencrypted.
        app.router.redirect_slashes = False
        return app

    async def health(self, request: Request) -> Response:
        """Ready, or why not."""
        if self.refuses_new is not None:
            return JSONResponse({"status": "ending"}, 503)
        if not await self._engine.replies(_HEALTH_S):
            return JSONResponse({"status": "the engine does not reply"}, 503)
        return JSONResponse({"status": "ready"})

    async def models(self, request: Request) -> Response:
        """As vLLM lists them."""
        return JSONResponse(await self._chat.models())

    async def extract(self, request: Request) -> Response:
        """Charts -> items."""

        async def answer(place: Place) -> Response:
            body = await read_body(request, self._max_bytes)
            charts = read_charts(body, request.headers.get("content-type", ""), self._max_bytes)
            place.grow(len(charts.texts) - 1)
            good = [text for text, reason in zip(charts.texts, charts.reasons, strict=True) if reason is None]
            answers = iter(await self._while_wanted(request, self.read(good)))
            said = [{"failure": why} if why is not None else {"tasks": next(answers)} for why in charts.reasons]
            place.answered()
            # As `predict` writes its lines.
            return Response(json.dumps(said[0] if charts.is_one else {"charts": said}), media_type="application/json")

        return await self._with_place(request, answer)

    async def read(self, texts: list[str]) -> list[dict[str, dict[str, Any]]]:
        """What the student says of charts: `Student.read`, for an engine that others ask too.

        Raises:
            EngineError: the engine is dead.
        """
        return list(await asyncio.gather(*(self._read_one(text) for text in texts)))

    async def _read_one(self, text: str) -> dict[str, dict[str, Any]]:
        chart = await self._apart(clean, text)
        requests = await self._apart(self._student.requests, chart)
        generations = await asyncio.gather(*(self._engine.answer(request) for request in requests))
        return await self._apart(self._student.answers, chart, generations)

    async def _apart(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def complete(self, request: Request) -> Response:
        """A chat completion."""
        held: Place | None = None

        async def answer(place: Place) -> Response:
            nonlocal held
            asked = read_json(await read_body(request, self._max_bytes))
            place.grow(num_choices(asked) - 1)
            given = await self._while_wanted(request, self._chat.complete(asked))
            place.answered()
            if isinstance(given, dict):
                return JSONResponse(given)
            held = place  # until the stream has ended
            return _HeldStream(self._until_stopped(given), place)

        return await self._with_place(request, answer, lambda: held is None)

    async def _with_place(
        self,
        request: Request,
        answer: Callable[[Place], Awaitable[Response]],
        ends_here: Callable[[], bool] = lambda: True,
    ) -> Response:
        """An answer that takes a place; what stands in its way, in HTTP's words."""
        place: Place | None = None
        try:
            place = self.admission.place()
            return await answer(place)
        except FullError as error:
            if place is None:
                await drop_body(request.receive)
            sentence = f"The queue is full. Come back in {error.retry_after_s} seconds."
            return failure(429, sentence, {"Retry-After": str(error.retry_after_s)})
        except TooManyError:
            return failure(413, f"At most {self.admission.limit} charts are taken at once. Send fewer in one request.")
        except RefusedError as error:
            return failure(error.status, error.sentence)
        except ChatRefused as error:
            return failure(error.status, error.message)
        except EngineError:
            return failure(503, "The engine has died; the server ends.", {"Connection": "close"})
        except StoppedError:
            return failure(503, "The server ends before the answer was ready.", {"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        finally:
            if place is not None and ends_here():
                place.leave()

    async def _while_wanted(self, request: Request, work: Coroutine[Any, Any, _T]) -> _T:
        """The result, unless who asked goes before it is there, or the server stops what runs.

        Raises:
            ClientDisconnect, StoppedError
        """
        working = asyncio.ensure_future(work)
        gone, stopped = asyncio.ensure_future(_gone(request)), asyncio.ensure_future(self.stopped.wait())
        try:
            await asyncio.wait((working, gone, stopped), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise StoppedError if stopped.done() else ClientDisconnect
        finally:
            for one in (working, gone, stopped):
                one.cancel()
            await asyncio.gather(working, gone, stopped, return_exceptions=True)

    async def _until_stopped(self, lines: AsyncIterator[str]) -> AsyncIterator[str]:
        async for line in lines:
            yield line
            if self.stopped.is_set():
                yield 'data: {"error": {"message": "The server ends before the answer was ready.", "code": 503}}\n\n'
                return


class _HeldStream(StreamingResponse):
    """Events that hold their place until the last one is sent, or nobody listens any more."""

    def __init__(self, lines: AsyncIterator[str], place: Place) -> None:
        super().__init__(lines, media_type="text/event-stream")
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._place.leave()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _no_such_address(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    sentence = "There are POST /extract, POST /v1/chat/completions, GET /v1/models and GET /health."
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    return failure(status, sentence, headers)
