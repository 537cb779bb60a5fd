"""Agreement of answers to the same chart: Krippendorff's own example."""

from __future__ import annotations

import pytest

from chartdistill.metrics.consistency import AnswerSet, alpha, coincidences, consistency, item_units


def test_alpha_of_krippendorffs_example() -> None:
    """Four observers, twelve units, nominal: 0.743 (Krippendorff 2011, "Computing Krippendorff's alpha-reliability",
    section C); a unit that one observer alone saw pairs with nothing."""
    rows = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
    units = [[value for value in unit if value != "."] for unit in zip(*(row.split() for row in rows), strict=True)]
    matrix = sum(coincidences(unit, list("12345")) for unit in units)
    totals = matrix.sum(axis=0)  # type: ignore[union-attr]
    n = totals.sum()
    seen = n - matrix.trace()  # type: ignore[union-attr]
    assert 1 - (n - 1) * seen / (n**2 - (totals**2).sum()) == pytest.approx(0.743, abs=5e-4)


def test_alpha_over_items() -> None:
    yes, no = frozenset({("a", None)}), frozenset[tuple[str, str | None]]()
    agree = [AnswerSet(f"c{i}", (yes, yes), None) for i in range(4)]
    differ = [AnswerSet(f"d{i}", (yes, no), None) for i in range(4)]
    assert item_units((yes, no)) == [["present", "absent"]]
    # 8 units of two: present 12, absent 4; pairs that differ 8 of 16. 1 - 15 * 8 / (256 - 144 - 16) = -0.25
    assert alpha([*agree, *differ], 0, 0, 100).value == pytest.approx(1 - 15 * 8 / 96)
    found = consistency([*agree, *differ], 2, 0, 100)
    assert (found["share_identical"].value, found["share_identical"].unscored) == (0.5, 2)
    assert found["consistent_right"].value is None
    assert consistency([], 0, 0, 100)["alpha"].reason == "no items: no answer names any"
