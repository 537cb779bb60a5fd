"""Consistency of an arm's answers under changes without effect: who is counted, and as what."""

from __future__ import annotations

import pytest

from chartdistill.evaluation.interventions import (
    compare_consistency,
    score_interventions,
)
from chartdistill.evaluation.perturbations import Variant
from chartdistill.metrics import score_arm
from chartdistill.schema import Item, Prediction, Record
from demo_charts import TASKS


def answers_of(said: dict[tuple[str, str], str | None], arm: str = "a") -> dict[tuple[str, str], Prediction]:
    """(record or variant, task) -> a prediction of one stopped or continued drug; None: the engine failed."""
    return {
        (record, task): Prediction(
            key="", record=record, task=task, arm=arm, completion=None if text is None else "-",
            failure="died" if text is None else None,
            items=None if text is None else tuple(Item(text=name, status="stop") for name in text.split()),
        )
        for (record, task), text in said.items()
    }  # fmt: skip


def one_drug(name: str) -> Record:
    return Record(
        id=name, source="s", text="Stop Yasadol.", cluster=name, split="test", segments=(),
        gold={"medication": (Item(text="Yasadol", status="stop"),)},
    )  # fmt: skip


def test_a_failed_answer_leaves_its_record_unscored_and_the_old_name_is_not_the_same_answer() -> None:
    records = {name: one_drug(name) for name in ("r1", "r2", "r3")}
    variants = [
        Variant.of(record, kind, "Stop Febenor.", renamed=(("Febenor", "Yasadol"),) if kind == "renamed" else ())
        for record in records.values()
        for kind in ("renamed", "respaced")
    ]
    before = answers_of({(name, "medication"): "Yasadol" for name in records})
    said = {
        "r1": {"renamed": "Febenor", "respaced": "Yasadol"},  # follows the chart
        "r2": {"renamed": "Yasadol", "respaced": "Yasadol"},  # says what the chart does not hold any more
        "r3": {"renamed": "Febenor", "respaced": None},
    }
    after = answers_of({(v.id, "medication"): said[v.record][v.kind] for v in variants})
    found = score_interventions(variants, before, after, records, [TASKS[0]], 0, 200)["consistency"]["any"]["all"]
    assert (found["share_identical"]["value"], found["share_identical"]["n"]) == (0.5, 2)
    assert found["share_identical"]["unscored"] == 1


def test_a_forecast_in_other_words_is_right_here_as_in_the_scores() -> None:
    task = next(task for task in TASKS if task.name == "prognosis")
    said, meant = (Item(text=words) for words in ("good prognosis for full recovery", "Prognosis for recovery is good"))
    gold = {"prognosis": (meant,)}
    record = Record(id="a", source="s", text="He is well.", cluster="c", split="test", segments=(), gold=gold)
    variants = [Variant.of(record, "respaced", "He  is well.", task="prognosis")]
    answers = [
        Prediction(key="k", record=name, task="prognosis", arm="student", completion="-", items=(said,))
        for name in ("a", variants[0].id)
    ]
    before, after = ({(one.record, one.task): one} for one in answers)
    assert score_arm(answers[:1], {"a": record}, [task])["prognosis"]["record_exact"].value == 1
    found = score_interventions(variants, before, after, {"a": record}, [task], 0, 50)["consistency"]["any"]
    assert found["prognosis"]["consistent_right"]["value"] == 1
    assert found["prognosis"]["consistent_wrong"]["value"] == 0


def test_differences_of_consistency_are_paired_over_what_both_arms_answered() -> None:
    records = {f"r{i}": one_drug(f"r{i}") for i in range(12)}
    variants = [Variant.of(record, "respaced", "Stop  Yasadol.") for record in records.values()]
    same = answers_of({(name, "medication"): "Yasadol" for name in records})
    steady = answers_of({(v.id, "medication"): "Yasadol" for v in variants})
    wavering = answers_of({(v.id, "medication"): "Yasadol" if i % 2 else "Febenor" for i, v in enumerate(variants)})
    failing = dict(wavering) | answers_of({(variants[0].id, "medication"): None})
    found = compare_consistency(variants, (same, steady), (same, failing), records, [TASKS[0]])
    gap = found["share_identical"]
    assert gap["value"] == pytest.approx(5 / 11)
    assert (gap["n"], gap["unscored"]) == (11, 1)
    assert 0 < gap["low"] < 5 / 11 < gap["high"] < 1
    assert found["consistent_right"]["value"] == gap["value"]
    assert found["consistent_wrong"]["value"] == 0
    none = compare_consistency(variants, (same, steady), (same, steady), records, [TASKS[0]])
    assert none["share_identical"]["value"] == 0
    assert none["share_identical"]["low"] < 0 < none["share_identical"]["high"], "twelve records do not prove equality"
