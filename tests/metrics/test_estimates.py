"""Estimates over tasks, which no name of a record or drug may change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.metrics import score_arm
from chartdistill.schema import Item
from four_drugs import DRUGS, STATUSES, TESTS, TEXT, note, said


def test_the_mean_over_tasks_weighs_tasks_alike() -> None:
    tests = (Item(text="EEG"),)
    records = {f"r{i}": note(f"r{i}", "Yasadol | stop") for i in range(9)}
    first = records["r0"]
    records["r0"] = first.model_copy(update={"gold": {**(first.gold or {}), "tests": tests}})
    answers = [said(name, "Yasadol | stop") for name in records]
    answers.append(said("r0", "").model_copy(update={"task": "tests", "items": (), "completion": "None found"}))
    found = score_arm(answers, records, [DRUGS, TESTS])["all"]
    assert found["joint_f1"].value == pytest.approx(18 / 19)
    assert found["joint_f1_macro"].value == pytest.approx((1 + 0) / 2)


@given(st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_other_names_of_records_and_drugs_change_no_value(order: list[int]) -> None:
    names = ["Yasadol", "Febenor", "Masetec", "Tirolix"]
    gold = [f"{names[i % 4]} | {STATUSES[i % 5]}" if i % 3 else "None found" for i in range(12)]
    answers = [f"{names[(i * i) % 4]} | {STATUSES[i % 4]}" if i % 4 else "None found" for i in range(12)]

    def scored(ids: list[str], rename: dict[str, str]) -> dict[str, float | None]:
        def put(text: str) -> str:
            for old, new in rename.items():
                text = text.replace(old, new)
            return text

        records = {name: note(name, put(text), put(TEXT)) for name, text in zip(ids, gold, strict=True)}
        rows = [said(name, put(text)) for name, text in zip(ids, answers, strict=True)]
        found = score_arm(rows, records, [DRUGS], resamples=100)["medication"]
        return {name: estimate.value for name, estimate in found.items()}

    other = dict(zip(names, ["Quxolan", "Zemidor", "Pavitec", "Lorexin"], strict=True))
    assert scored([f"r{i}" for i in order], other) == pytest.approx(scored([f"r{i}" for i in range(12)], {}))
