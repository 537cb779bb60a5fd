"""The written form of an answer: one form, parsed and enforced alike."""

from __future__ import annotations

import re

import pytest

from chartdistill.config import load_task
from chartdistill.prompting.answer_format import NONE_FOUND, answer_pattern, parse_answer
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")


@pytest.mark.parametrize(
    "text",
    [NONE_FOUND, "Velorim | start", "Velorim 5 mg | given-once\nDor-max (XR) | stop", "a | b | stop", " x | stop"],
)
def test_the_pattern_takes_what_the_parser_takes(text: str) -> None:
    taken = re.fullmatch(answer_pattern(MEDICATION), text) is not None
    assert taken == (parse_answer(text, MEDICATION) is not None and text == text.strip())
