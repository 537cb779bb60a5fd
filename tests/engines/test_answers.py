"""From what was generated to the answer: the ids, log-probabilities and text of the answer alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chartdistill.engines import Generation, Request, TransformersEngine
from chartdistill.engines.answers import decode_answer
from chartdistill.errors import ConfigError
from chartdistill.runtime.model_folder import load_tokenizer

ANSWER = "aspirin | continue"
PATTERN = r"[a-z]+ \| (start|continue)"


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Any:
    loaded = load_tokenizer(tokenizer_folder)
    loaded.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    return loaded


def generated(tokenizer: Any, *pieces: str, finish: str = "stop") -> Generation:
    """As an engine hands it over: token i has the log-probability -i / 10."""
    ids = tuple(i for piece in pieces for i in tokenizer.encode(piece, add_special_tokens=False))
    if finish == "stop":
        ids = (*ids, tokenizer.eos_token_id)
    logprobs = tuple(-number / 10 for number in range(len(ids)))
    likeliest = tuple(((i, value),) for i, value in zip(ids, logprobs, strict=True))
    return Generation("", finish, token_ids=ids, logprobs=logprobs, top_logprobs=likeliest, completion_tokens=len(ids))


def asking(tokenizer: Any, **options: Any) -> Request:
    return Request([5], 64, tokenizer.eos_token_id, logprobs=True, top_logprobs=1, **options)


@pytest.mark.parametrize(
    "thought",
    [
        "<think>ibuprofen | start</think>\n\n",
        "[THINK]ibuprofen | start[/THINK]",
        "He takes it.</think>\n",
        "<think>\n\n</think>\n\n",
    ],
)
def test_numbers_and_ids_are_those_of_the_answer(tokenizer: Any, thought: str) -> None:
    whole = generated(tokenizer, thought, ANSWER)
    given = decode_answer(asking(tokenizer), whole, tokenizer)
    assert given.text == ANSWER and given.failure is None
    assert tokenizer.decode(list(given.token_ids), skip_special_tokens=True).strip() == ANSWER
    start = len(whole.token_ids) - len(given.token_ids)
    assert 0 < start < len(whole.token_ids)
    assert given.token_ids == whole.token_ids[start:]
    assert given.logprobs == (whole.logprobs or ())[start:] and given.top_logprobs == (whole.top_logprobs or ())[start:]
    assert given.probability == pytest.approx(math.exp(-start / 10))
    assert given.completion_tokens == len(whole.token_ids), "what was computed is counted"


def test_an_answer_without_thought_is_as_it_was(tokenizer: Any) -> None:
    whole = generated(tokenizer, ANSWER)
    given = decode_answer(asking(tokenizer), whole, tokenizer)
    assert given.text == ANSWER and given.token_ids == whole.token_ids and given.logprobs == whole.logprobs
    unasked = decode_answer(replace(asking(tokenizer), logprobs=False), whole, tokenizer)
    assert unasked.logprobs is None and unasked.probability == 1


@pytest.mark.parametrize(
    ("pieces", "finish", "opened", "code"),
    [
        (("<think>ibuprofen | start",), "length", False, "thought_cut"),
        (("[THINK]ibuprofen | start",), "length", False, "thought_cut"),
        (("<think>ibuprofen | start",), "stop", False, "thought_only"),
        (("<think>ibuprofen | start</think>\n",), "stop", False, "thought_only"),
        ((ANSWER,), "stop", True, "thought_only"),
        ((ANSWER,), "length", True, "thought_cut"),
    ],
)
def test_a_thought_alone_is_a_failure_that_says_how_to_go_on(
    tokenizer: Any, pieces: tuple[str, ...], finish: str, opened: bool, code: str
) -> None:
    request = asking(tokenizer, in_thought=opened)
    given = decode_answer(request, generated(tokenizer, *pieces, finish=finish), tokenizer)
    assert given.text is None and given.finish_reason is None and given.token_ids == () and given.completion_tokens > 0
    assert (given.failure or "").startswith(f"{code}: ") and "{enable_thinking: false}" in str(given.failure)
    assert "ibuprofen" not in str(given.failure)


def test_what_follows_a_thought_must_keep_the_constraint(tokenizer: Any) -> None:
    """`<think>` can match a pattern of items, so a constrained model can begin with one all the same."""
    request = asking(tokenizer, pattern=PATTERN)
    broken = decode_answer(request, generated(tokenizer, "<think>hm</think> He takes it."), tokenizer)
    assert broken.text is None and (broken.failure or "").startswith("constraint_not_kept: ")
    kept = decode_answer(request, generated(tokenizer, "<think>hm</think>", ANSWER), tokenizer)
    assert kept.text == ANSWER
    cut = decode_answer(request, generated(tokenizer, "<think>hm</think> aspi", finish="length"), tokenizer)
    assert cut.text == "aspi" and cut.finish_reason == "length"


def test_an_engine_does_not_constrain_a_thought(tiny_model: Path) -> None:
    request = Request([5, 6], 4, 2, choices=("yes", "no"), in_thought=True)
    with (
        TransformersEngine(dtype="float32").open(tiny_model) as generator,
        pytest.raises(ConfigError, match=r"leaves a thought open.*enable_thinking: false"),
    ):
        generator.generate([request])
