"""One task asked of one chunk, and what is put together out of the chunks of a record."""

from __future__ import annotations

import base64
import re
from collections.abc import Generator as Coroutine
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from chartdistill.engines import Generation, Request
from chartdistill.engines.answers import THOUGHT_CUT
from chartdistill.labelling.chunks import Chunk
from chartdistill.schema import Gate, Item, ItemCheck, Task, Thought, TopLogprobs

T = TypeVar("T")
Steps = Coroutine[list[Request], list[Generation], T]
"""Yields requests, is sent their answers in order, and returns a T."""

GateAnswer = Literal["yes", "no", "unclear"]
GATE_ANSWERS: tuple[GateAnswer, ...] = ("yes", "no", "unclear")


@dataclass
class Response:
    """One task asked of one chunk."""

    chunk: Chunk
    prefix: list[int]
    task: Task
    key: str
    gate: Generation | None = None
    answers: list[Generation] = field(default_factory=list)
    """One per sample; empty after a gate `no` or a failed gate."""
    checks: list[ItemCheck] = field(default_factory=list)
    failure: str | None = None
    """Why this response gives no answer."""
    prompts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    thought_tokens: int = 0
    continued_tokens: int = 0
    thoughts: list[Thought] = field(default_factory=list)

    def count(self, generation: Generation) -> None:
        self.prompts += 1
        self.prompt_tokens += generation.prompt_tokens
        self.cached_tokens += generation.cached_tokens
        self.completion_tokens += generation.completion_tokens
        self.thought_tokens += generation.thought_tokens

    @property
    def renamed(self) -> dict[Item, Item]:
        """The item as listed -> the item with the status its check gave."""
        return {
            Item(text=check.item.text, status=check.listed_status): check.item
            for check in self.checks
            if check.listed_status is not None
        }

    def fail(self, reason: str) -> None:
        """The first failure is the one told."""
        self.failure = self.failure or reason


def loops(text: str | None) -> bool:
    """Whether a text ends in the same piece three times: more room would only give more of it."""
    return re.search(r"(.{4,}?)\1\1$", text or "", re.DOTALL) is not None


def was_cut(answer: Generation) -> bool:
    """Whether more room could give a whole answer; not where it only repeats itself."""
    if answer.failure is not None:
        return answer.failure.startswith(f"{THOUGHT_CUT}:")
    return answer.finish_reason == "length" and not loops(answer.text)


def gate_of(responses: Sequence[Response]) -> Gate | None:
    """Of all chunks: yes if one says yes, else unclear if one does; the probability is that chunk's."""
    gates = [
        response.gate for response in responses if response.gate is not None and response.gate.text in GATE_ANSWERS
    ]
    for answer in ("yes", "unclear", "no"):
        said = [gate for gate in gates if gate.text == answer]
        if said:
            best = max((g.probability for g in said if g.probability is not None), default=None)
            return Gate.model_validate({"answer": answer, "probability": best})
    return None


def finish_reason_of(responses: Sequence[Response]) -> str | None:
    """`length` when all answers to one chunk were cut; None when no list was asked for."""
    reasons = [
        [a.finish_reason for a in response.answers if a.failure is None] for response in responses if response.answers
    ]
    if not reasons:
        return None
    return "length" if any(set(response) == {"length"} for response in reasons) else "stop"


def pack_top_logprobs(answer: Generation) -> TopLogprobs | None:
    """Generation.top_logprobs in arrays; a position with fewer than k tokens repeats its last one at -inf."""
    if not answer.top_logprobs:
        return None
    k = max(len(position) for position in answer.top_logprobs)
    filled = [
        [*position, *[(position[-1][0], float("-inf"))] * (k - len(position))] for position in answer.top_logprobs
    ]
    ids = np.array([[token for token, _ in position] for position in filled], dtype="<i4")
    values = np.array([[logprob for _, logprob in position] for position in filled], dtype="<f2")
    return TopLogprobs(
        k=k,
        token_ids=_packed(np.array(answer.token_ids, dtype="<i4")),
        ids=_packed(ids),
        logprobs=_packed(values),
    )


def _packed(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
