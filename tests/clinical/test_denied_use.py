"""Drugs whose use is denied, over, or only not left out."""

from __future__ import annotations

import pytest

from chartdistill.clinical.entities import entity_named
from chartdistill.schema import Item

STATUSES = ("start", "continue", "stop", "past")


@pytest.mark.parametrize(
    ("chart", "contradicted"),
    [
        ("She denies taking digoxin.", {"continue", "past"}),
        ("Denies using digoxin or naproxen.", {"continue", "past"}),
        ("The patient is not taking digoxin.", {"continue"}),
        ("He has not been taking digoxin.", {"continue"}),
        ("Not currently on digoxin.", {"continue"}),
        ("No longer takes digoxin.", {"continue"}),
        ("She is taking digoxin and denies palpitations.", {"past"}),
        ("He denies missing any doses of digoxin.", {"past"}),
        ("He has never skipped his digoxin.", {"past"}),
    ],
)
def test_use_that_is_denied_or_over(chart: str, contradicted: set[str]) -> None:
    drug = entity_named("medication")
    found = {
        status
        for status in ("continue", "past")
        if drug.contradiction(Item(text="digoxin", status=status), chart, STATUSES, "auto") is not None
    }
    assert found == contradicted
