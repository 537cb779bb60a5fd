"""What every engine takes and gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chartdistill.errors import ConfigError
from chartdistill.prompting.answer_format import literal_pattern
from chartdistill.prompting.chart_spans import SpanGrammar

Told = Callable[[int], None]
"""Called with how many requests have been answered."""

LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, as in vLLM's server, because JSON has no infinity."""
MOST_TOP_LOGPROBS = 20
"""vLLM's own limit unless it is started with another."""

REPEATS, LONGEST_REPEATED = 8, 64
"""An answer that says a stretch of up to so many tokens so often says nothing else any more."""


@dataclass(frozen=True)
class Request:
    """One prompt, as token ids."""

    prompt_ids: Sequence[int]
    max_tokens: int
    """Room for the answer, in tokens."""
    stop_id: int
    """The answer ends at this id, or at the tokenizer's own eos; neither is part of the text."""
    choices: tuple[str, ...] = ()
    """When given, the answer is exactly one of these texts."""
    temperature: float = 0.0
    seed: int | None = None
    pattern: str | None = None
    """A regular expression that the whole answer matches. Use no free whitespace: a model may repeat it for ever.
    An answer that is cut (finish_reason `length`) is the beginning of a match. Not together with `choices`."""
    logprobs: bool = False
    """Report the log-probability of each generated token."""
    top_logprobs: int = 0
    """Report so many of the likeliest tokens at each position of the answer; 0 for none. 20 at most."""
    messages: tuple[tuple[str, str], ...] | None = None
    """The same prompt as (role, content) pairs, for endpoints that speak chat only."""
    template_options: Mapping[str, Any] | None = None
    """What the chat template was given beside `messages`; `prompt_ids` were made with it."""
    ends_repetition: bool = False
    """End an answer whose last tokens are one stretch REPEATS times over, with finish_reason `repetition`: greedy
    decoding does not leave such a loop. An engine that cannot (an endpoint's) goes on to `max_tokens`."""
    in_thought: bool = False
    """The prompt leaves a thought open (its template ends with `<think>`): only what follows that thought is an answer.
    An engine that constrains from the first token refuses such a request if it is constrained."""
    also_stop_ids: tuple[int, ...] = ()
    """Further ids that end what is written. Not for an endpoint that is not vLLM."""
    is_thought: bool = False
    """What is wanted is what the model writes before its answer: the text is all of it, marks included."""
    spans: SpanGrammar | None = None
    """When given, the items of the answer are words of this chart. Not together with `choices` or `pattern`; only for
    an engine that was opened `with_spans`."""

    @property
    def is_constrained(self) -> bool:
        """Whether not every answer may be given."""
        return self.spans is not None or self.constraint is not None

    @property
    def constraint(self) -> str | None:
        """The regular expression to constrain the answer to; None for a free one.

        One space may come first: tokenizers with word markers (SentencePiece) begin every word with it, the first too,
        and a model forbidden to would have to spell its answer otherwise than it learned. `bare` takes it off again.
        """
        if self.choices:
            return " ?(" + "|".join(literal_pattern(choice) for choice in self.choices) + ")"
        return None if self.pattern is None else f" ?({self.pattern})"

    def bare(self, text: str, cut: bool) -> str:
        """A constrained answer without the space before it, lines that repeat an item, or half an item at its cut."""
        if self.spans is not None:
            text = text.strip(" ")
            return self.spans.without_repeats(self.spans.without_half_item(text) if cut else text)
        return text.strip(" ") if self.is_constrained else text

    def keeps(self, text: str) -> bool:
        """Whether a whole answer is as `choices`, `pattern` or `spans` demand."""
        if self.choices:
            return text in self.choices
        if self.spans is not None:
            return self.spans.admits(text)
        return self.pattern is None or re.fullmatch(self.pattern, text) is not None

    def __post_init__(self) -> None:
        if sum((bool(self.choices), self.pattern is not None, self.spans is not None)) > 1:
            raise ConfigError("a request has two of `choices`, `pattern` and `spans`: give one of them.")
        if not 0 <= self.top_logprobs <= MOST_TOP_LOGPROBS:
            raise ConfigError(f"top_logprobs is {self.top_logprobs}; allowed are 0 to {MOST_TOP_LOGPROBS}.")
        if self.max_tokens < 1 or not self.prompt_ids:
            raise ConfigError(
                f"a request needs a prompt and room for an answer; this one has {len(self.prompt_ids)} prompt tokens "
                f"and max_tokens {self.max_tokens}."
            )


@dataclass(frozen=True)
class Generation:
    """The answer to one request: `text`, or a `failure` in words. Never both, never neither.

    Log-probabilities are natural logarithms at temperature 1, among the tokens that `choices` or `pattern` allow: a
    gate's add up to one over its answers. (vLLM masks what is not allowed before it takes its raw values.) With `spans`
    they are the model's own, among all tokens: a word that it was made to write is an unlikely one.
    """

    text: str | None
    finish_reason: str | None = None
    """`stop`, `length`, or `repetition` where the request ends it."""
    failure: str | None = None
    probability: float | None = None
    """Of the answer's first token, among those allowed; None if the engine has none."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens not computed again because another prompt shared them."""
    completion_tokens: int = 0
    thought: str | None = None
    """What the model thought before the answer, where it is known."""
    thought_tokens: int = 0
    """Those of `completion_tokens` that are not the answer's, as far as it is known which they are."""
    token_ids: tuple[int, ...] = ()
    """Every token of the answer (not those of a thought before it), at the end the stop id if it came; those before it
    decode to `text`. Empty if the engine cannot know them (an endpoint that is not vLLM)."""
    logprobs: tuple[float, ...] | None = None
    """One for each token generated, when asked for."""
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] | None = None
    """For each of `token_ids`, (token id, log-probability) of the likeliest tokens, likeliest first, when asked for."""


def refuse_constrained_thought(requests: Sequence[Request]) -> None:
    """Before an engine constrains answers from their first token.

    Raises:
        ConfigError: a request is constrained, and its prompt leaves a thought open: that would be made an answer.
    """
    if any(request.in_thought and request.is_constrained for request in requests):
        raise ConfigError(
            "the chat template leaves a thought open at the end of the prompt, and the answer is constrained from its "
            "first token, so the thought would be taken for the answer. Set template_options: {enable_thinking: false} "
            "for this model."
        )


def only_repeats(ids: Sequence[int]) -> bool:
    """Whether an answer's last tokens are one stretch REPEATS times over: the rule of vLLM's repetition detection."""
    for size in range(1, min(LONGEST_REPEATED, len(ids) // REPEATS) + 1):
        if all(ids[-i] == ids[-i - size] for i in range(1, size * (REPEATS - 1) + 1)):
            return True
    return False


def too_long(request: Request, longest: int) -> Generation | None:
    """The failure of a request whose prompt and answer do not fit into `longest` tokens; None when they fit."""
    needed = len(request.prompt_ids) + request.max_tokens
    if needed <= longest:
        return None
    reason = f"prompt_too_long: {needed} tokens with the answer, the engine takes {longest}"
    return Generation(None, failure=reason, prompt_tokens=len(request.prompt_ids))


def kept_or_failed(request: Request, answer: Generation) -> Generation:
    """A whole answer that is held to the words of a chart; the failure that it is not, should an engine let it pass."""
    if request.spans is None or answer.text is None or answer.finish_reason != "stop" or request.keeps(answer.text):
        return answer
    return Generation(
        None,
        failure="constraint_not_kept: the engine gave an answer that is not made of the chart's words",
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=answer.cached_tokens,
        completion_tokens=answer.completion_tokens,
    )


class Generator(Protocol):
    """An open engine."""

    @property
    def continues(self) -> bool:
        """Whether a prompt may go on with ids that the engine wrote before, and the answer is held to its constraint
        from there on: what an answer behind a thought needs."""
        ...

    @property
    def cache_tokens(self) -> int | None:
        """Prompt and answer tokens the engine's KV cache holds at once; None where nothing is kept between requests."""
        ...

    def generate(
        self, requests: Sequence[Request], adapter: Path | None = None, told: Told | None = None
    ) -> list[Generation]:
        """Answer all requests, in their order. One that fails gives a Generation with `failure`.

        Args:
            requests: neighbours that share a prefix are computed once, so order them by record.
            adapter: a PEFT adapter folder to apply; None for the model as it is.
            told: called with how many of them are answered, as they come.

        Raises:
            EngineError: the engine itself is dead, so no request can be answered; answers given before are kept.
        """
        ...
