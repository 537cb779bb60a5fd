"""Mentions in a chart, each with its own clause, heading and cues."""

from __future__ import annotations

from chartdistill.clinical.text.context import cues
from chartdistill.clinical.text.drug_use import used_like_a_drug
from chartdistill.clinical.text.sections import Outline


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
