"""Arms side by side, and confabulation by what the gate had said."""

from __future__ import annotations

import pytest

from chartdistill.metrics import METRICS
from chartdistill.metrics.comparison import by_gate, compare_arms
from four_drugs import DRUGS, note, said


def test_confabulation_is_told_apart_by_gate() -> None:
    records = {"a": note("a", "Yasadol | stop"), "b": note("b", "None found"), "c": note("c", "Febenor | start"),
               "d": note("d", None), "e": note("e", "None found")}  # fmt: skip
    answers = [said("a", "Yasadol | stop"), said("b", "Daily | start\nQuxol | start"), said("c", "None found"),
               said("d", "Yasadol | stop"), said("e", "None found")]  # fmt: skip
    gates = {"a": "yes", "b": "yes", "c": "no", "d": "yes", "e": "unclear"}
    found = by_gate(answers, {(name, "medication"): gate for name, gate in gates.items()}, records, [DRUGS])
    assert set(found) == {"medication", "all"}
    assert {condition: rows["records"] for condition, rows in found["medication"].items()} == {
        "right yes": 1, "wrong yes": 1, "wrong no": 1, "unclear": 1,
    }  # fmt: skip
    wrong = found["medication"]["wrong yes"]
    assert [wrong[name]["value"] for name in ("confabulation_rate", "invented_rate", "wrong_kind_rate")] == [
        1,
        0.5,
        0.5,
    ]
    assert found["medication"]["right yes"]["confabulation_rate"]["value"] == 0
    assert found["medication"]["wrong no"]["confabulation_rate"]["value"] is None


def test_compared_arms_are_named_or_refused() -> None:
    records = {"a": note("a", "Yasadol | stop")}
    arms = {"x": [said("a", "Yasadol | stop", "x")], "y": [said("a", "None found", "y")]}
    found = compare_arms(arms, records, [DRUGS], [("x", "y")], resamples=100, reference="y")
    assert set(found["arms"]["x"]["medication"]) == {*METRICS, "teacher_recall", "teacher_f1", "teacher_joint_f1"}
    with pytest.raises(ValueError, match="no predictions of an arm 'z'"):
        compare_arms(arms, records, [DRUGS], [("x", "z")])
