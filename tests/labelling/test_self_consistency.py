"""Votes of several samples, by item."""

from __future__ import annotations

import pytest

from chartdistill.config import load_task
from chartdistill.labelling.self_consistency import Sample, line_logprobs, vote
from chartdistill.prompting.answer_format import NONE_FOUND
from chartdistill.schema import Item
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")
TESTS = load_task(ROOT / "configs/tasks/tests.yaml")


def test_a_vote_counts_items_not_lists() -> None:
    samples = [
        Sample("Velorim | start\nDormax | stop", [-0.2, -1.0]),
        Sample("velorim | start", [-0.4]),
        Sample("Velorim | start\nDormax | hold", [-0.6, -2.0]),
        Sample("no list at all", None),
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


def test_log_probabilities_are_meant_over_lines() -> None:
    pieces = ["Vel", "orim", " | start", "\n", "Dor", "max | stop", ""]
    assert line_logprobs(pieces, [-1, -2, -3, -1, -1, -1, -1]) == [-2.0, -1.0]
    assert line_logprobs(["a\nb", "c"], [-1, -3]) == [-1.0, -3.0]
