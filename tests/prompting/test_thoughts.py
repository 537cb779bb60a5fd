"""Thoughts: found under every mark that models use, and never taken for an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartdistill.prompting.thoughts import closing_mark, find_thought, has_closed_thought, open_thought

ANSWER = "Velorim | start\nDormax | hold"
MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<THOUGHT>": "</THOUGHT>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<mm:think>": "</mm:think>",
    "<antThinking>": "</antThinking>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|think_start|>": "<|think_end|>",
    "<unused94>": "<unused95>",
}


@pytest.mark.parametrize(("opening", "closing"), MARKS.items(), ids=lambda mark: mark)
def test_what_follows_a_thought_is_the_answer(opening: str, closing: str) -> None:
    for text in (
        f"{opening}\nVelorim was stopped? Quilane | start\n{closing}\n\n{ANSWER}",
        f"{opening}\n\n{closing}\n\n{ANSWER}",
        f"Quilane | start{closing}{ANSWER}",  # opened in the prompt
        f"{opening}a{closing}\n{opening}b{closing}\n{ANSWER}\n",
        f"{opening}a{closing}\nQuilane | start\n{opening}No.{closing}\n{ANSWER}",
    ):
        thought = find_thought(text)
        assert thought is not None and thought.ended and thought.answer == ANSWER
    for text in (f"{opening}\nQuilane | start", f"{ANSWER}\n{opening}wait, Quilane", f"{opening}a{closing}b{opening}c"):
        unfinished = find_thought(text)
        assert unfinished is not None and not unfinished.ended and unfinished.answer is None
    empty = find_thought(f"{opening}Quilane | start{closing}\n")
    assert empty is not None and empty.ended and empty.answer is None


@pytest.mark.parametrize(("opening", "closing"), MARKS.items(), ids=lambda mark: mark)
def test_an_open_thought_is_closed_with_its_own_mark(opening: str, closing: str) -> None:
    assert open_thought(f"<|im_start|>assistant\n{opening}\n") == opening
    assert closing_mark(opening) == closing
    assert open_thought(f"assistant\n{opening}\n\n{closing}\n\n") is None
    assert has_closed_thought(f"assistant\n{opening}\n\n{closing}\n\n")
    assert not has_closed_thought("<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    "text",
    [
        f"<|channel|>analysis<|message|>Two drugs.<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}",
        f"analysisTwo drugs.\n\nVelorim and Dormax.assistantfinal{ANSWER}",
        f"<|channel>thought\nTwo drugs.<channel|>{ANSWER}",
        f"Here is my thought process: two drugs.\n\nHere is my response:\n{ANSWER}",
        f"<think>Two drugs.</think>\n<answer>\n{ANSWER}\n</answer>",
        f"<|begin_of_thought|>Two.<|end_of_thought|>\n\n<|begin_of_solution|>\n{ANSWER}\n<|end_of_solution|>",
        f"<|START_THINKING|>Two.<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
        f"<think>The word </think> stands in the chart.</think>\n{ANSWER}",
    ],
)
def test_channels_and_wrappers_of_other_models(text: str) -> None:
    thought = find_thought(text)
    assert thought is not None and thought.answer == ANSWER


def test_what_a_prompt_opened_is_inside_until_it_is_closed() -> None:
    inside = find_thought(ANSWER, opened=True)
    assert inside is not None and inside.answer is None and not inside.ended
    after = find_thought(f"Two drugs.</think>{ANSWER}", opened=True)
    assert after is not None and after.answer == ANSWER


@pytest.mark.parametrize(
    "text",
    [ANSWER, "None found", "", "analysis of urine | ordered", "thinking impaired", "<b>Velorim</b> | start",
     "reflection seizures | hold", "CBC [pending]", "dose < 5 and > 3 | start"],
)  # fmt: skip
def test_ordinary_answers_hold_no_thought(text: str) -> None:
    assert find_thought(text) is None


@given(st.text(alphabet="abc |\n<>/[]", max_size=60), st.sampled_from(sorted(MARKS)))
def test_nothing_before_the_last_mark_is_ever_answered(secret: str, opening: str) -> None:
    thought = find_thought(f"{opening}SECRET{secret}SECRET{MARKS[opening]}{ANSWER}")
    assert thought is not None and thought.answer == ANSWER
