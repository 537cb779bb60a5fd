"""What an endpoint answered, read with suspicion: a Generation with a text only if everything about it is in order."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from chartdistill.engines.answers import THOUGHT_CUT, THOUGHT_ONLY, decode_answer, no_answer, without_thought
from chartdistill.engines.contract import LOWEST_LOGPROB, Generation, Request
from chartdistill.schema import CUT


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Cached(_Part):
    cached_tokens: int | None = None


class _Written(_Part):
    reasoning_tokens: int | None = None


class _Usage(_Part):
    """Counts; null where a server does not count, which says nothing against its answer."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Written | None = None

    @property
    def written(self) -> int:
        return self.completion_tokens or 0

    @property
    def thought_tokens(self) -> int:
        return (self.completion_tokens_details or _Written()).reasoning_tokens or 0


class _CompletionLogprobs(_Part):
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _ChatToken(_Part):
    token: str
    logprob: float


class _ChatPosition(_ChatToken):
    top_logprobs: list[_ChatToken] | None = None


class _ChatLogprobs(_Part):
    content: list[_ChatPosition] | None = None


class _ContentPart(_Part):
    type: str
    text: str | None = None


class _Message(_Part):
    """The answer, with what the model thought apart from it: under another name at every server."""

    content: str | list[_ContentPart] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None

    @property
    def text(self) -> str | None:
        if not isinstance(self.content, list):
            return self.content
        return "".join(part.text or "" for part in self.content if part.type in ("text", "output_text"))

    @property
    def has_thought(self) -> bool:
        return any(self._apart) or any(part.type in ("thinking", "reasoning") for part in self._parts)

    @property
    def thought(self) -> str | None:
        """What was thought, where it is text in a field of its own."""
        said = next((one for one in self._apart if isinstance(one, str) and one.strip()), None)
        return None if said is None else said.strip()

    @property
    def _apart(self) -> tuple[Any, Any, Any]:
        return self.reasoning_content, self.reasoning, self.thinking

    @property
    def _parts(self) -> list[_ContentPart]:
        return self.content if isinstance(self.content, list) else []


class _CompletionChoice(_Part):
    text: str
    finish_reason: str | None
    token_ids: list[int] | None = None
    logprobs: _CompletionLogprobs | None = None


class _ChatChoice(_Part):
    message: _Message
    finish_reason: str | None
    token_ids: list[int] | None = None
    logprobs: _ChatLogprobs | None = None


class _Completion(_Part):
    choices: list[_CompletionChoice]
    usage: _Usage | None = None


class _Chat(_Part):
    choices: list[_ChatChoice]
    usage: _Usage | None = None


_ENDS = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
}
"""What servers call the end of an answer (TGI, Mistral and others have words of their own), in ours."""


def read_reply(
    body: bytes, request: Request, chat: bool, constrained: bool, tokenizer: Callable[[], Any] | None = None
) -> Generation:
    """The body of a 200 reply to /completions or /chat/completions (https://platform.openai.com/docs/api-reference).

    Args:
        constrained: the server was told of `choices` or `pattern`. Otherwise the answer is checked here.
        tokenizer: gives the tokenizer, where ids are to be decoded here, so that every engine gives the same text.
    """
    kind: type[_Chat] | type[_Completion] = _Chat if chat else _Completion
    try:
        reply = kind.model_validate_json(body)
    except ValidationError as error:
        # Only where and what kind of error: the values may be record text.
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole body"
        return _failed("bad_reply", f"{first['type']} at {where}", request)
    if len(reply.choices) != 1:
        return _failed("bad_reply", f"{len(reply.choices)} choices instead of one", request)
    choice = reply.choices[0]
    text = choice.message.text if isinstance(choice, _ChatChoice) else choice.text
    thought_apart = isinstance(choice, _ChatChoice) and choice.message.has_thought
    ended = _ENDS.get(choice.finish_reason or "")
    if ended is None:
        return _failed("bad_reply", f"finish_reason is {_short(choice.finish_reason)}", request)
    if thought_apart and not (text or "").strip():
        usage = reply.usage or _Usage()
        nothing = _failed("", "", request, usage.written)
        return no_answer(THOUGHT_CUT if ended == "length" else THOUGHT_ONLY, nothing)
    if text is None:
        return _failed("bad_reply", "no text", request)
    answer = _generation(text, ended, choice, reply.usage or _Usage(), request)
    if isinstance(choice, _ChatChoice) and choice.message.thought is not None:
        answer = replace(answer, thought=choice.message.thought)
    # A chat server made the prompt itself. One that tells no thought apart constrains from the first token.
    inside = request.in_thought and (not chat or (constrained and request.constraint is not None and not thought_apart))
    if tokenizer is not None and answer.token_ids and answer.failure is None:
        return decode_answer(request, answer, tokenizer(), inside)
    whole, answer = answer, without_thought(request, answer, inside)
    if answer.text is None:
        return answer
    # Whose log-probabilities come without ids cannot be told from those of the thought.
    answer = _as_told(request, answer, answer is whole and not thought_apart)
    if constrained or request.constraint is None:
        return answer
    text = str(answer.text).strip()
    # What was cut is asked again; whether it would have kept to the constraint is not known.
    if ended == "stop" and not request.keeps(text):
        return _failed("constraint_not_kept", "this endpoint cannot constrain answers", request)
    return replace(answer, text=text)


def _generation(
    text: str, ended: str, choice: _ChatChoice | _CompletionChoice, usage: _Usage, request: Request
) -> Generation:
    chosen, likeliest = _numbers(choice.logprobs)
    ids = tuple(choice.token_ids or ())
    if request.logprobs and (not chosen or (ids and len(chosen) != len(ids))):
        return _failed("bad_reply", f"{len(chosen)} log-probabilities for {len(ids)} tokens", request)
    if request.top_logprobs and len(likeliest) != len(ids):
        return _failed("bad_reply", f"{len(likeliest)} lists of likeliest tokens for {len(ids)} tokens", request)
    return Generation(
        text=text,
        finish_reason=ended,
        prompt_tokens=usage.prompt_tokens or len(request.prompt_ids),
        cached_tokens=(usage.prompt_tokens_details or _Cached()).cached_tokens or 0,
        completion_tokens=usage.written,
        thought_tokens=usage.thought_tokens,
        token_ids=ids,
        logprobs=chosen or None,
        top_logprobs=tuple(at[: request.top_logprobs] for at in likeliest) if request.top_logprobs else None,
    )


def _as_told(request: Request, answer: Generation, is_all: bool) -> Generation:
    """The text and numbers of an answer whose ids are not known. `is_all`: the model wrote nothing before it."""
    chosen = answer.logprobs if is_all else None
    return replace(
        answer,
        text=request.bare(str(answer.text), answer.finish_reason in CUT),
        probability=min(1.0, math.exp(chosen[0])) if chosen else None,
        logprobs=chosen if request.logprobs else None,
    )


def _numbers(
    logprobs: _ChatLogprobs | _CompletionLogprobs | None,
) -> tuple[tuple[float, ...], tuple[tuple[tuple[int, float], ...], ...]]:
    """Log-probabilities of the tokens taken, and (token id, log-probability) of the likeliest at each position."""
    if logprobs is None:
        return (), ()
    if isinstance(logprobs, _ChatLogprobs):
        positions = logprobs.content or []
        chosen = [at.logprob for at in positions]
        likeliest = [[(token.token, token.logprob) for token in at.top_logprobs or []] for at in positions]
    else:
        chosen = [LOWEST_LOGPROB if value is None else value for value in logprobs.token_logprobs or []]
        likeliest = [list((at or {}).items()) for at in logprobs.top_logprobs or []]
    return tuple(chosen), tuple(map(_by_id, likeliest))


def _by_id(pairs: list[tuple[str, float]]) -> tuple[tuple[int, float], ...]:
    """vLLM writes tokens as `token_id:5` when asked to. Others write text, which names no id."""
    found = [(match, value) for token, value in pairs if (match := re.fullmatch(r"token_id:(\d+)", token))]
    return tuple(sorted(((int(match[1]), value) for match, value in found), key=lambda pair: -pair[1]))


def _failed(code: str, why: str, request: Request, completion_tokens: int = 0) -> Generation:
    return Generation(
        None,
        failure=f"{code}: {why}",
        prompt_tokens=len(request.prompt_ids),
        completion_tokens=completion_tokens,
    )


def _short(value: Any) -> str:
    """A server's own word, as long as it is one: an error text could quote the record."""
    return repr(value) if value is None or re.fullmatch(r"\w{1,40}", str(value)) else "something else"
