"""Who may talk to the page's server: the browser of who knows the address, on this machine, from the page itself.

In: every request, before anything else sees it. Out: the request without the token in its path, or a refusal. Must
hold: the token is compared in constant time; another name for this machine in `Host` is refused, so that no site can
reach the server by a name of its own (DNS rebinding); what changes something must come from the page itself; nothing is
loaded from anywhere else, nothing stays in the browser's cache.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
MAX_BODY = 16_000_000
"""Bytes of a request."""
TOO_MUCH = f"At most {MAX_BODY:,} bytes can be sent at once."
_BROWSERS_OWN = 80
"""The port that browsers leave out of `Host` and `Origin`."""
NO_TOKEN = "403: open the whole address that `chartdistill review` printed; it changes with every start.\n"
NO_HOST = "403: this server answers to 127.0.0.1 and localhost with its own port alone.\n"
NO_ORIGIN = "403: only the page itself may change anything.\n"


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: App, token: str, port: int) -> None:
        self._app, self._token = app, token.encode()
        said = f":{port}" if port != _BROWSERS_OWN else ""
        self._hosts = {f"{name}{said}".encode() for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is spoken here
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        token, slash, rest = scope["path"].removeprefix("/").partition("/")
        if [value for name, value in headers if name == b"host"] not in ([host] for host in self._hosts):
            await _refuse(send, 403, NO_HOST)
        elif not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            await _refuse(send, 403, NO_TOKEN)
        elif not slash:
            await _refuse(send, 308, "", (b"location", b"/" + self._token + b"/"))
        elif scope["method"] not in ("GET", "HEAD") and not self._is_own(headers):
            await _refuse(send, 403, NO_ORIGIN)
        elif _length(headers) > MAX_BODY:
            await _refuse(send, 413, f"413: {TOO_MUCH}\n")
        else:
            inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode("utf-8", "replace")}
            await self._app(inner, _limited(receive), _with_headers(send))

    def _is_own(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether a page of this server sent it, as browsers say and scripts of other pages cannot change."""
        origins = [value for name, value in headers if name == b"origin"]
        kinds = [value.split(b";")[0].strip() for name, value in headers if name == b"content-type"]
        return kinds == [b"application/json"] and origins in ([b"http://" + host] for host in self._hosts)


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    said = next((value for name, value in headers if name == b"content-length"), b"0")
    return int(said) if said.isdigit() else MAX_BODY + 1


def _limited(receive: Receive) -> Receive:
    """Of a body without a length in its header: cut off where it is too long."""
    taken = 0

    async def receive_some() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return {"type": "http.disconnect"} if taken > MAX_BODY else message

    return receive_some


def _with_headers(send: Send) -> Send:
    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            kept = [(name, value) for name, value in message.get("headers", ()) if name.decode() not in HEADERS]
            message = {**message, "headers": [*kept, *own]}
        await send(message)

    return send_more


async def _refuse(send: Send, status: int, sentence: str, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *more]
    own = _with_headers(send)
    await own({"type": "http.response.start", "status": status, "headers": headers})
    await own({"type": "http.response.body", "body": sentence.encode()})
