"""Items matched one to one, statuses first, as many as can be (held against scipy's assignment)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from chartdistill.metrics.matching import match
from chartdistill.schema import Item
from metrics_cases import DRUGS, items


def test_statuses_are_matched_first_and_one_to_one() -> None:
    gold = items("Yasadol | stop\nYasadol 10 mg | start")
    assert match(items("Yasadol | start"), gold, DRUGS) == match(gold[1:], gold, DRUGS)
    found = match(items("Yasadol | start\nYASADOL | continue\nyasadol. | start"), gold, DRUGS)
    assert (found.text, found.joint) == (2, 1)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["start", "stop"]))), st.data())
@settings(max_examples=60, deadline=None)
def test_matching_is_maximal(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    others = data.draw(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["start", "stop"]))))
    emitted, gold = ([Item(text=text, status=status) for text, status in side] for side in (pairs, others))
    found = match(emitted, gold, DRUGS)
    worth = np.array([[(a.text == b.text) + (a == b) / 1000 for b in gold] for a in emitted]).reshape(
        len(pairs), len(others)
    )
    rows, columns = linear_sum_assignment(worth, maximize=True)
    assert found.text + found.joint / 1000 == pytest.approx(worth[rows, columns].sum())
