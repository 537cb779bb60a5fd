"""What every request passes first: who may ask, from where, and whether anything new is taken.

In: any ASGI application. Out: the same, behind the checks. Must hold: nothing is kept of a request that is refused;
what goes wrong behind is answered with a sentence and logged by its kind and place, never in its words, which may be a
chart's.
"""

from __future__ import annotations

import hmac
import ipaddress
import sys
import traceback
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chartdistill.serving.access import Access
from chartdistill.serving.bodies import drop_body

HEALTH = "/health"
"""Answered without a key and while ending: it says nothing but that."""


def failure(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """A refusal, in the form of the OpenAI standard."""
    return JSONResponse({"error": {"message": sentence, "code": status}}, status, headers)


class Guard:
    """The checks. `refuses_new`: a sentence once nothing new is taken."""

    def __init__(self, app: ASGIApp, access: Access, refuses_new: Callable[[], str | None]) -> None:
        self._app, self._access, self._refuses_new = app, access, refuses_new

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return
        refused = self._refused(Headers(scope=scope), scope["path"])
        if refused is not None:
            await drop_body(receive)
            await refused(scope, receive, send)
            return
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            print(f"chartdistill serve: internal error: {where_of(error)}", file=sys.stderr, flush=True)
            if has_begun:
                raise ConnectionAbortedError from None  # the answer is cut, and must not look whole
            await failure(500, "Internal error; the server's log says where.")(scope, receive, send)

    def _refused(self, headers: Headers, path: str) -> Response | None:
        if self._access.checks_host:
            hosts, origins = headers.getlist("host"), headers.getlist("origin")
            if len(hosts) != 1 or not _is_loopback(hosts[0]):
                return failure(403, "The Host of the request is not this machine: ask 127.0.0.1 or localhost.")
            if not all(_is_of(origin, hosts[0]) for origin in origins):
                return failure(403, "Pages of other sites may not ask here.")
        if path == HEALTH:
            return None
        if self._access.key is not None and not _has_key(headers, self._access.key):
            sentence = "Send the key: Authorization: Bearer KEY."
            return failure(401, sentence, {"WWW-Authenticate": "Bearer"})
        sentence_or_none = self._refuses_new()
        if sentence_or_none is not None:
            return failure(503, sentence_or_none, {"Connection": "close"})
        return None


def where_of(error: BaseException) -> str:
    """An error's kind and place, without its words."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _has_key(headers: Headers, key: str) -> bool:
    given = headers.getlist("authorization")
    kind, _, said = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return kind.lower() == "bearer" and hmac.compare_digest(said.strip().encode("utf-8", "replace"), key.encode())


def _is_of(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no address at all
        return False


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this machine: `name` or `name:port`, and nothing else."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port  # a port that is no number is an error
        if parts.netloc != host or "@" in host:
            return False
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
