"""The written form of an answer: one form, parsed and enforced alike."""

from __future__ import annotations

import re

import pytest

from chartdistill.config import load_task
from chartdistill.prompting.answer_format import NONE_FOUND, answer_pattern, parse_answer, says_none, says_none_of
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")


@pytest.mark.parametrize(
    "text",
    [NONE_FOUND, "Velorim | start", "Velorim 5 mg | given-once\nDor-max (XR) | stop", "a | b | stop", " x | stop"],
)
def test_the_pattern_takes_what_the_parser_takes(text: str) -> None:
    taken = re.fullmatch(answer_pattern(MEDICATION), text) is not None
    assert taken == (parse_answer(text, MEDICATION) is not None and text == text.strip())


_NAMES = {name: load_task(ROOT / f"configs/tasks/{name}.yaml") for name in
          ("medication", "diagnosis", "tests", "prognosis", "allergy", "procedure")}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("allergy", "No known allergies"), ("allergy", "No allergies."), ("allergy", "no known allergy"),
        ("allergy", "No known drug allergies"), ("allergy", "No known food or drug allergies"), ("allergy", "NKDA"),
        ("allergy", "(NKA)"), ("diagnosis", "No diagnoses found"), ("diagnosis", "No new diagnosis"),
        ("prognosis", "no prognoses"), ("tests", "no tests ordered"), ("tests", "No test"), ("tests", "none ordered"),
        ("medication", "none at this time"), ("medication", "(none)"), ("medication", "[None]"),
        ("medication", "#none"), ("diagnosis", "No diagnosis known"), ("procedure", "no procedure planned at present"),
        ("medication", "none)"), ("medication", "No medications on file"), ("procedure", "No procedures performed"),
    ],
)  # fmt: skip
def test_none_in_other_words_is_no_item(task: str, text: str) -> None:
    assert says_none(text, _NAMES[task])


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("prognosis", "No recurrence"), ("prognosis", "no known cure"), ("prognosis", "not expected to recover"),
        ("tests", "Na"), ("tests", "no growth on culture"), ("tests", "NK cell count"), ("allergy", "nuts"),
        ("diagnosis", "no diagnosis of cancer"), ("medication", "Nasonex"), ("medication", "Norco"),
        ("allergy", "nickel"), ("diagnosis", "not walking"), ("diagnosis", "Noonan syndrome"),
    ],
)  # fmt: skip
def test_an_item_that_begins_like_none_is_one(task: str, text: str) -> None:
    assert not says_none(text, _NAMES[task])


@pytest.mark.parametrize(
    "said",
    [
        "virus/No viruses", "lens/no lenses", "iris/no irises", "status/no statuses", "allergies/no known allergy",
        "axis/no axes", "diagnoses/no diagnosis", "comorbidities/no comorbidity", "a(b/no a(b",
        "home order/No current home orders pending now",
    ],
)  # fmt: skip
def test_what_there_is_none_of_is_known_in_singular_and_plural(said: str) -> None:
    name, text = said.split("/")
    assert says_none_of(text, (name, name))
