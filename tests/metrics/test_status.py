"""Statuses, details and the mix-ups that do harm, against a case worked by hand."""

from __future__ import annotations

import pytest

from chartdistill.metrics import score_arm
from four_drugs import DRUGS, note, said


def test_statuses_details_and_harm_of_a_case_worked_by_hand() -> None:
    records = {
        "a": note("a", "Yasadol | stop\nFebenor | start\nMasetec | continue\nTirolix | hold"),
        "b": note("b", "Yasadol | stop\nTirolix | hold"),
    }
    answers = [
        said("a", "Yasadol 20 mg | continue\nFebenor 50 mg | start\nMasetec 50 mg daily | continue"),
        said("b", "Yasadol | stop\nTirolix | continue"),
    ]
    found = score_arm(answers, records, [DRUGS])["medication"]
    # Of stop: 1 right, 1 emitted, 2 in gold. start: 1, 1, 1. continue: 1, 3, 1. hold: 0, 0, 2.
    expected = {
        "status_accuracy": (3 / 5, 5),
        "status_f1_macro": ((2 / 3 + 2 / 2 + 2 / 4 + 0 / 2) / 4, 11),
        "stop_as_continue_rate": (1 / 2, 2),
        "hold_as_continue_rate": (1 / 2, 2),
        "attribute_error_rate": (1 / 3, 3),
        "raw_f1": (2 * 2 / 11, 11),
    }
    for name, (value, n) in expected.items():
        assert (found[name].value, found[name].n) == (pytest.approx(value), n), name
    assert found["avoid_as_start_rate"].value is None
