"""Bytes of a request -> charts, or why there are none.

In: a body and its headers. Out: `Charts`. Must hold: what is refused is said in a sentence that quotes nothing of it; a
body is never held beyond the limit.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.types import Receive

from chartdistill.records.decoding import Unreadable, decode
from chartdistill.records.sources.entry import text_problem
from chartdistill.runtime.json_lines import parse_json

_READ_S = 60.0
"""For the whole body to come."""
_DROP_S, _DROPPED_BYTES = 5.0, 64_000_000
"""What is read, at most, of a body that is refused."""


class RefusedError(Exception):
    """What is answered instead: HTTP status, and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Charts:
    """What was asked."""

    texts: tuple[str, ...]
    reasons: tuple[str | None, ...]
    """Why a text is no chart, as `predict` writes it; None where it is one."""
    is_one: bool
    """Asked as `text`, and so answered without a list."""


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        RefusedError: too large, too slow, or packed.
        starlette.requests.ClientDisconnect: who asked has gone.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedError(415, "Send the body unpacked, without Content-Encoding.")
    parts, size = [], 0
    try:
        async with asyncio.timeout(_READ_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    break
                parts.append(part)
    except TimeoutError:
        raise RefusedError(408, f"The body did not come within {_READ_S:.0f} seconds.") from None
    if size > limit:
        parts.clear()
        await drop_body(request.receive)
        raise RefusedError(
            413, f"The request has more than {limit} bytes. Send fewer charts at once, or raise --max-bytes."
        )
    return b"".join(parts)


async def drop_body(receive: Receive) -> None:
    """Read what is left of a body that is refused, and keep nothing of it, so that its sender hears why: a connection
    that is closed with unread bytes may lose the answer on the way."""
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_DROP_S):
            while size < _DROPPED_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


def read_json(body: bytes) -> Any:
    """One JSON value in UTF-8.

    Raises:
        RefusedError: it is none.
    """
    try:
        return parse_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RefusedError(400, "The body is not UTF-8, as JSON must be.") from None
    except ValueError as error:
        said = str(error)
        if "stands twice" in said:  # it names the key, which is the asker's
            said = "a key stands twice in one object; leave one of them"
        raise RefusedError(400, f"The body cannot be read as JSON ({said}).") from None


def read_charts(body: bytes, content_type: str, limit: int) -> Charts:
    """The charts of a body of `/extract`: JSON with `text` or `texts`, or one chart as plain text.

    Raises:
        RefusedError: there are none.
    """
    kind, _, options = content_type.partition(";")
    match kind.strip().lower():
        case "application/json" | "":
            values, is_one = _of_json(read_json(body))
        case "text/plain":
            values, is_one = [_of_plain_text(body, options)], True
        case _:
            raise RefusedError(
                415, 'Send application/json, {"text": "..."} or {"texts": ["...", ...]}, or one chart as text/plain.'
            )
    problems = [text_problem(text, limit) for text in values]
    if is_one and problems[0] is not None:
        raise RefusedError(422, f"The chart {problems[0][1]}.")
    return Charts(tuple(values), tuple(None if one is None else one[0] for one in problems), is_one)


def _of_json(value: Any) -> tuple[list[str], bool]:
    form = 'Send {"text": "..."} for one chart, or {"texts": ["...", ...]} for several.'
    if not isinstance(value, dict):
        raise RefusedError(422, f"The body is JSON, but no object. {form}")
    if set(value) - {"text", "texts"}:
        raise RefusedError(422, f"The body has another key than `text` or `texts`. {form}")
    if len(value) != 1:
        raise RefusedError(422, f"The body has {'both `text` and `texts`' if value else 'no chart'}. {form}")
    is_one = "text" in value
    texts = [value["text"]] if is_one else value["texts"]
    if not isinstance(texts, list) or not texts:
        raise RefusedError(422, f"`texts` is not a list with charts. {form}")
    if not all(isinstance(text, str) for text in texts):
        raise RefusedError(422, f"A chart must be text. {form}")
    return texts, is_one


def _of_plain_text(body: bytes, options: str) -> str:
    names = [part.partition("=")[2].strip(' "').lower() for part in options.split(";") if "charset" in part.lower()]
    if names and names != ["utf-8"]:
        raise RefusedError(415, "Send text/plain in UTF-8; other encodings are recognised where no charset is named.")
    if names:
        try:
            return body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise RefusedError(400, "The body is not UTF-8, as its charset says.") from None
    found = decode(body)  # as `predict` reads a file
    if isinstance(found, Unreadable):
        raise RefusedError(415, f"The body {found.detail}.")
    return found.text
