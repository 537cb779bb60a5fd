"""Mentions in a chart, each with its own clause, heading and cues."""

from __future__ import annotations

import textwrap

import pytest

from chartdistill.clinical.text.context import cues
from chartdistill.clinical.text.drug_use import used_like_a_drug
from chartdistill.clinical.text.sections import Outline, outline, unwrapped


def test_outline_gives_each_mention_its_own_clause_and_heading() -> None:
    text = "Note\nPLAN:\n1. Stop Aab.\n2. Begin Bbc; hold Ccd, but keep Dde.\nALLERGIES: Eef. The skin is dry."
    outline = Outline(text)
    clauses = [outline.mentions([name])[0].clause.strip(" .\n") for name in ("Aab", "Bbc", "Ccd", "Dde")]
    assert clauses == ["1. Stop _", "2. Begin _", "hold _", "keep _"]
    assert [outline.mentions([name])[0].heading for name in ("Bbc", "Eef", "skin")] == [
        "plan",
        "allergies",
        "allergies",
    ]
    assert cues(outline.mentions(["Eef"])[0]) == {"allergy"}
    assert cues(outline.mentions(["skin"])[0]) == frozenset()  # past the heading's own sentence
    assert all(text[one.start : one.end] == one.text for one in outline.sentences)
    assert not used_like_a_drug(outline.mentions(["Note"])[0])


PROSE = (
    "She has had four cycles and feels well. I have put in the order for a CT of the chest at the end of December and "
    "for a colonoscopy in March, her one-year date. The numbness of her feet may take months to go."
)

ENTRIES = (
    "aspirin 81 mg by mouth once daily for the heart as before",
    "atorvastatin 40 mg by mouth every night for cholesterol",
    "metformin 1000 mg by mouth twice a day for her diabetes",
)


@pytest.mark.parametrize("width", [56, 64, 72])
@pytest.mark.parametrize("indent", ["", "   "])
def test_a_paragraph_reads_the_same_however_it_is_wrapped(width: int, indent: str) -> None:
    wrapped = textwrap.fill(PROSE, width, subsequent_indent=indent)
    said = [
        [" ".join(one.text.split()) for one in outline(f"HISTORY:\n{told}\n\nPLAN: Rest.").sentences]
        for told in (wrapped, PROSE)
    ]
    assert said[0] == said[1] and len(unwrapped(wrapped)) == len(wrapped)


@pytest.mark.parametrize(
    "text",
    [
        "Stop these:\n" + "\n".join(ENTRIES),
        "\n".join(f"{number}. {entry}" for number, entry in enumerate(ENTRIES, 1)),
        f"{PROSE}\nand one more\nand another",
        "Short lines\nthat go on\nin lower case",
    ],
)
def test_lists_and_lines_that_were_not_full_stay_apart(text: str) -> None:
    assert unwrapped(text) == text


@pytest.mark.parametrize(
    ("chart", "headings"),
    [
        ("# Medications\naspirin\n## Allergies\npenicillin", ["medications", "allergies"]),
        ("**Medications:**\naspirin\n**Allergies:** penicillin", ["medications", "allergies"]),
        ("**Family History**\nMother: gout", ["family history", "mother"]),
        ("medications: aspirin\nfamily history: mother with gout", ["medications", "family history"]),
        ("* Aspirin 81 mg\n# 2 gout is better", []),
        ("he asks of the plan: rest", []),
    ],
)
def test_headings_in_markdown_and_in_lower_case(chart: str, headings: list[str]) -> None:
    assert [name for _, _, name in Outline(chart).headings] == headings


def test_what_stands_under_a_heading_in_markdown_is_heard() -> None:
    (allergy,) = Outline("**Medications:**\naspirin\n\n**Allergies:**\n- penicillin\n").mentions(["penicillin"])
    (relative,) = Outline("## Family History\nGout").mentions(["gout"])
    assert cues(allergy) == {"allergy"} and cues(relative) == {"family"}
