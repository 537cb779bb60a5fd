"""An answer behind the filters: bad items go with their reason, and what is rejected is never an empty answer."""

from __future__ import annotations

import pytest

from chartdistill.config import load_task
from chartdistill.curation import DEFAULT_FILTERS, screen
from chartdistill.curation.filters import Grounding
from chartdistill.schema import Item, Record
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")


def record(text: str) -> Record:
    return Record(id="r", source="", text=text, cluster="c", split="test", segments=())


def items(*pairs: str) -> tuple[Item, ...]:
    return tuple(Item(text=text, status=status) for text, status in (pair.split(" | ") for pair in pairs))


@pytest.mark.parametrize("filters", [DEFAULT_FILTERS, (Grounding(on_item="reject_label"),)], ids=["all", "grounding"])
def test_an_invented_item_goes_and_the_others_stay(filters: tuple[Grounding, ...]) -> None:
    chart = record("MEDICATIONS: lisinopril 10 mg daily, metformin 500 mg b.i.d.")
    said = items("lisinopril 10 mg | continue", "warfarin | continue", "metformin 500 mg | continue")
    found = screen(said, chart, MEDICATION, filters)
    assert found.items == (said[0], said[2]) and found.failure is None
    assert [(one.item, one.filter, one.reason) for one in found.dropped] == [(said[1], "grounding", "invented")]


def test_an_answer_of_which_nothing_is_left_is_no_answer() -> None:
    found = screen(items("warfarin | stop", "Coumadin | stop"), record("Takes lisinopril."), MEDICATION, (Grounding(),))
    assert found.items is None and found.failure == "rejected: all 2 items were dropped"
    assert len(found.dropped) == 2


def test_none_found_where_the_chart_lists_drugs_is_no_answer() -> None:
    chart = record("MEDICATIONS: lisinopril 10 mg daily.")
    found = screen((), chart, MEDICATION, DEFAULT_FILTERS)
    assert found.items is None and found.failure == "rejected: false_none (abstention)"
    assert screen((), record("Feels well."), MEDICATION, DEFAULT_FILTERS).items == ()
