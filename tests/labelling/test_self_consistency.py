"""Votes of several samples, by item."""

from __future__ import annotations

import pytest

from chartdistill.config import load_task
from chartdistill.labelling.self_consistency import Sample, vote
from chartdistill.prompting.answer_format import NONE_FOUND, parse_answer
from chartdistill.schema import Item, ItemLogprobs
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")
TESTS = load_task(ROOT / "configs/tasks/tests.yaml")


def sample(text: str, *logprobs: float) -> Sample:
    """A completion whose items were written with these mean log-probabilities."""
    items = parse_answer(text, MEDICATION) or ()
    return Sample(text, {item: ItemLogprobs(text=(one,)) for item, one in zip(items, logprobs, strict=True)})


def test_a_vote_counts_items_not_lists() -> None:
    samples = [
        sample("Velorim | start\nDormax | stop", -0.2, -1.0),
        sample("velorim | start", -0.4),
        sample("Velorim | start\nDormax | hold", -0.6, -2.0),
        Sample("no list at all"),
    ]
    items, votes = vote(samples, MEDICATION)
    assert items == (Item(text="Velorim", status="start"),)
    by_item = {entry.item: entry for entry in votes}
    assert by_item[Item(text="Velorim", status="start")].support == 3
    assert by_item[Item(text="Velorim", status="start")].logprob == pytest.approx(-0.4)
    assert by_item[Item(text="Dormax", status="stop")].support == 1
    assert all(entry.samples == 3 for entry in votes)


def test_no_majority_is_not_a_none() -> None:
    items, _ = vote([Sample("CBC"), Sample("Chest x-ray")], TESTS)
    assert items == (Item(text="CBC"), Item(text="Chest x-ray"))
    assert vote([Sample("CBC"), Sample(NONE_FOUND), Sample(NONE_FOUND)], TESTS)[0] == ()
    assert vote([Sample("CBC"), Sample(NONE_FOUND)], TESTS)[0] == (Item(text="CBC"),)
    assert vote([Sample("n/a"), Sample("")], TESTS) == (None, ())
