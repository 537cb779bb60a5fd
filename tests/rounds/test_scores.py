"""Signs of collapse, and the page of figures that are not there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.curation.curate import curate
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.metrics.comparison import compare_arms
from chartdistill.reporting.rounds_page import render_rounds
from chartdistill.rounds.scores import Reference, variety
from chartdistill.schema import Item, Prediction, Record, Task
from review_run import LABELS, RECORDS, TASKS, label, record, write_labels


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


def test_only_records_with_gold_are_said_to_be_held_against_it(tmp_path: Path) -> None:
    """One chart of two was read by a person: the choice hangs on that one."""
    options = SimpleNamespace(seed=0, bootstrap_resamples=100)
    run: Any = SimpleNamespace(dir=tmp_path, tasks=TASKS, config=SimpleNamespace(evaluate=options))

    def reference(*validation: Record) -> tuple[str, set[str]]:
        write_labels(tmp_path, [*RECORDS, *validation], [*LABELS, label("f", "Yasadol | stop")])
        curate(tmp_path, TASKS, DEFAULT_FILTERS)
        found = Reference.of_run(run)
        return found.what, set(found.records)

    other = record("f", "validation")
    assert reference(other) == ("the teacher's labels that were kept", {"c", "f"})
    assert reference(other.model_copy(update={"gold": {"tests": ()}})) == ("gold", {"f"})


TESTS = Task(name="tests", item="test", gate_question="-", extraction_question="-", question="-")


def page_of(lost: int, won: int = 0, gold: bool = True) -> str:
    """The page of 40 held-out charts with one item each, that round 1 lost in some and won in others."""
    right, wrong = (Item(text="EEG"),), (Item(text="Holter"),)
    records = {
        name: Record(id=name, source="s", text="EEG", cluster=name, split="test", segments=(),
                     gold={"tests": right} if gold else None)
        for name in (f"r{number:02d}" for number in range(40))
    }  # fmt: skip

    def answers(arm: str, wrongly: range) -> list[Prediction]:
        return [
            Prediction(key="", record=name, task="tests", arm=arm, completion="-",
                       items=wrong if place in wrongly else right)
            for place, name in enumerate(records)
        ]  # fmt: skip

    arms = {"round 0": answers("round 0", range(20, 20 + won)), "round 1": answers("round 1", range(lost))}
    held_out = compare_arms(arms, records, [TESTS], [("round 1", "round 0")], resamples=100)
    estimate = held_out["arms"]["round 0"]["all"]["joint_f1"]
    rounds = [
        {"round": number, "kept": 9, "asked_again": 1, "added": None, "validation": estimate, "gain": None,
         "answers": variety(arms[f"round {number}"])}
        for number in (0, 1)
    ]  # fmt: skip
    reference = {"what": "gold", "records": 4}
    return render_rounds({"name": "t", "ended": "all were made", "chosen": 0, "reference": reference, "records": 40,
                          "rounds": rounds, "kept": [9, 9], "held_out": held_out})  # fmt: skip


@pytest.mark.parametrize(
    ("lost", "won", "said"),
    [
        (12, 0, "it is worse"),
        (0, 12, "it is better"),
        (5, 0, "no difference is shown"),
        (0, 0, "no difference is shown"),
    ],
)
def test_what_rounds_did_is_judged_as_on_every_page(lost: int, won: int, said: str) -> None:
    page = page_of(lost, won)
    (line,) = (one for one in page.splitlines() if one.startswith("- Round 1 against round 0 on held-out records"))
    assert line.endswith(f"; {said}.")
    assert ("That a student teaches itself further is not shown here." in page) == (said != "it is better")


def test_what_was_not_tested_gets_no_verdict() -> None:
    page = page_of(12, gold=False)
    assert "Invented:" in page and "; not tested." in page and "is not shown here" in page
