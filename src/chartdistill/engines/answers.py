"""From what a model wrote to its answer: without what ended it, and without the thought before it.

In: a request, the ids or the text that came. Out: a Generation. Must hold: nothing inside a thought is an answer; a
thought without an answer is a failure that says how to go on; ids and log-probabilities are those of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chartdistill.engines.contract import Generation, Request, kept_or_failed
from chartdistill.prompting.thoughts import find_thought, thought_text
from chartdistill.schema import CUT

THOUGHT_ONLY, THOUGHT_CUT = "thought_only", "thought_cut"
_WHAT = {
    THOUGHT_ONLY: "the model was thinking and gave no answer after it",
    THOUGHT_CUT: "the room for an answer ended within the model's thinking",
}
_HOW = (
    "Switch its thinking off with template_options: {enable_thinking: false}, or at a chat server that is not vLLM "
    "with what it knows, e.g. engine.extra_body: {chat_template_kwargs: {enable_thinking: false}}; or give more room "
    "(a teacher's thought: label.thinking.max_tokens; else max_answer_tokens)"
)


def decode_answer(request: Request, answer: Generation, tokenizer: Any, opened: bool | None = None) -> Generation:
    """`answer` as its request wants it, with the text of its answer.

    Args:
        answer: its `token_ids` are all that were generated; `logprobs` are theirs, wanted or not.
        opened: whether what was written begins inside a thought; None: as the request says.
    """
    written = _without_end(request, answer.token_ids, tokenizer)
    if request.is_thought:
        said = str(tokenizer.decode(written, skip_special_tokens=False))
        return replace(answer, text=said, logprobs=None, top_logprobs=None)
    text = marked = str(tokenizer.decode(written, skip_special_tokens=True))
    # Some mark their thoughts with control tokens, which decoding leaves out.
    if not set(tokenizer.all_special_ids).isdisjoint(written):
        marked = str(tokenizer.decode(written, skip_special_tokens=False))
    found = replace(answer, text=marked)
    given = without_thought(
        request, found, request.in_thought if opened is None else opened, tokenizer.all_special_tokens
    )
    if given is found:
        given = replace(answer, text=text)
    elif given.text is not None:
        given = _only_of(given, tokenizer, len(written))
        given = replace(given, thought_tokens=len(answer.token_ids) - len(given.token_ids) if given.token_ids else 0)
    return given if given.text is None else kept_or_failed(request, _as_wanted(request, given, tokenizer))


def _as_wanted(request: Request, answer: Generation, tokenizer: Any) -> Generation:
    """Of the log-probabilities, what was asked for; of the first one the probability."""
    answer = _ids_of(request, answer, tokenizer)
    chosen = answer.logprobs
    return replace(
        answer,
        text=request.bare(str(answer.text), answer.finish_reason in CUT),
        probability=min(1.0, math.exp(chosen[0])) if chosen else None,
        logprobs=chosen if request.logprobs else None,
    )


def _ids_of(request: Request, answer: Generation, tokenizer: Any) -> Generation:
    """Where `bare` takes the last lines off, without their ids; the id that ends the answer stays. None where it takes
    others."""
    whole, ids = str(answer.text), answer.token_ids
    text = request.bare(whole, answer.finish_reason in CUT)
    if request.spans is None or text == whole.strip(" "):
        return answer
    written = _without_end(request, ids, tokenizer)
    for cut in range(len(written), 0, -1):
        if str(tokenizer.decode(written[:cut], skip_special_tokens=True)).strip(" ") == text:
            kept = [*range(cut), *range(len(written), len(ids))]
            return replace(
                answer,
                token_ids=tuple(ids[i] for i in kept),
                logprobs=answer.logprobs and tuple(answer.logprobs[i] for i in kept),
                top_logprobs=answer.top_logprobs and tuple(answer.top_logprobs[i] for i in kept),
            )
    return replace(answer, token_ids=(), logprobs=None, top_logprobs=None)


def without_thought(
    request: Request, answer: Generation, opened: bool, control_tokens: Sequence[str] = ()
) -> Generation:
    """The answer behind a thought, or the failure that there is none; `answer` itself where nothing was thought.

    Args:
        opened: what was written begins inside a thought.
        control_tokens: spellings that the text may hold, and its answer may not.
    """
    thought = None if answer.text is None else find_thought(answer.text, opened)
    if thought is None:
        return answer
    if thought.answer is None:
        cut = answer.finish_reason in CUT
        return no_answer(THOUGHT_CUT if cut else THOUGHT_ONLY, answer)
    text, said = thought.answer, thought_text(str(answer.text), opened)
    for token in control_tokens:
        text = text.replace(token, "")
    text = text.strip()
    if answer.finish_reason not in CUT and not request.keeps(text):
        return replace(
            _failed(answer), failure="constraint_not_kept: what follows the model's thought is no such answer"
        )
    return replace(answer, text=text, thought=said or answer.thought)


def no_answer(code: str, answer: Generation) -> Generation:
    """The failure of a model that only thought."""
    failure = f"{code}: {_WHAT[code]}. {_HOW}"
    return replace(_failed(answer), failure=failure, thought_tokens=answer.completion_tokens)


def _failed(answer: Generation) -> Generation:
    return Generation(
        None,
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        completion_tokens=answer.completion_tokens,
    )


def _without_end(request: Request, ids: Sequence[int], tokenizer: Any) -> list[int]:
    ended = bool(ids) and ids[-1] in (request.stop_id, tokenizer.eos_token_id)
    return list(ids[:-1] if ended else ids)


def _only_of(answer: Generation, tokenizer: Any, end: int) -> Generation:
    """With the ids and log-probabilities of its text alone, found from the end; without any where no ids fit it."""
    ids, wanted = answer.token_ids, str(answer.text)
    for start in range(end, -1, -1):
        text = str(tokenizer.decode(list(ids[start:end]), skip_special_tokens=True)).strip()
        if text == wanted:
            return replace(
                answer,
                token_ids=ids[start:],
                logprobs=answer.logprobs and answer.logprobs[start:],
                top_logprobs=answer.top_logprobs and answer.top_logprobs[start:],
            )
        if len(text) > len(wanted):
            break
    return replace(answer, token_ids=(), logprobs=None, top_logprobs=None)
