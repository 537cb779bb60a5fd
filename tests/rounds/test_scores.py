"""Signs of collapse, and the page of figures that are not there."""

from __future__ import annotations

from chartdistill.rounds.scores import variety
from chartdistill.schema import Item, Prediction


def said(*items: str, usable: bool = True) -> Prediction:
    found = tuple(Item(text=text) for text in items) if usable else None
    return Prediction(key="", record="r", task="t", arm="round 1", completion="-", items=found)


def test_variety_counts_different_items_without_case_and_answers_without_any() -> None:
    found = variety([said("Aspirin", "iron"), said("aspirin"), said(), said(usable=False)])
    assert found == {"answers": 4, "items": 3, "distinct": 2 / 3, "none_found": 1 / 3, "unusable": 0.25}


def test_a_model_that_says_nothing_has_no_share_of_different_items() -> None:
    assert variety([said(), said()])["distinct"] is None
    assert variety([]) == {"answers": 0, "items": 0, "distinct": None, "none_found": None, "unusable": None}
    assert variety([said(usable=False)])["none_found"] is None
