"""The kind of finding `procedure`: what is one, what the chart says of it, and the charts that are written with it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from chartdistill.clinical.entities import asked_for, entity_of
from chartdistill.config import load_task
from chartdistill.curation.curate import judge
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.demo.charts import write_chart
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.perturbations import make_edits
from chartdistill.evaluation.rule_baseline import read
from chartdistill.metrics import score_arm
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records import clean
from chartdistill.schema import Item, Label, Prediction, Record
from places import ROOT

TASK = load_task(ROOT / "configs/tasks/procedure.yaml")
NOTE = (
    "A man with cough. He underwent appendectomy in 2001. His mother had hysterectomy. He declined thyroidectomy. "
    "If pain persists, consider septoplasty. The chest x-ray was normal. He takes lisinopril.\n"
    "PLAN: He is scheduled for hernia repair."
)


def charts(count: int) -> dict[str, Record]:
    found = {}
    for index in range(count):
        rng = random.Random(f"procedure {index}")
        chart = write_chart(rng, "heldout", also=("procedure",))
        gold = {task: tuple(Item(text=text, status=status) for text, status in of) for task, of in chart.gold.items()}
        found[str(index)] = Record(
            id=str(index), source=f"synthetic:{index}", text=clean(chart.as_filed(rng)).text, cluster=str(index),
            split="test", segments=(), gold=gold,
        )  # fmt: skip
    return found


def reasons(record: Record, *items: tuple[str, str]) -> set[str]:
    said = tuple(Item(text=text, status=status) for text, status in items)
    label = Label(key="k", record=record.id, task=TASK.name, strategy="direct", completion=format_answer(said),
                  finish_reason="stop")  # fmt: skip
    return {one.reason for one in judge(label, record, TASK, DEFAULT_FILTERS).rejections}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (("appendectomy", "done"), None),
        (("hernia repair", "planned"), None),
        (("appendectomy", "planned"), "contradicted_status"),
        (("hernia repair", "done"), "contradicted_status"),
        (("hysterectomy", "done"), "family_member"),
        (("thyroidectomy", "planned"), "declined"),
        (("septoplasty", "planned"), "only_considered"),
        (("chest x-ray", "done"), "not_a_procedure"),
        (("lisinopril", "done"), "not_a_procedure"),
        (("cough", "done"), "not_a_procedure"),
        (("mastectomy", "done"), "invented"),
    ],
)
def test_what_is_a_procedure_of_the_patient(item: tuple[str, str], reason: str | None) -> None:
    record = Record(id="r", source="x", text=NOTE, cluster="c", split="train", segments=())
    assert reasons(record, item) == ({reason} if reason else set())


@pytest.mark.parametrize(
    ("chart", "believed"),
    [
        ("PROCEDURES: None.\nPLAN: Rest.", True),
        ("OPERATION PERFORMED: Lumbar laminectomy.\nPLAN: Rest.", False),
        ("She underwent cataract extraction last year.", False),
        ("Her sister underwent cataract extraction.", True),
        ("She has a cough.", True),
    ],
)
def test_when_none_found_is_believed(chart: str, believed: bool) -> None:
    assert (entity_of(TASK).overlooked(chart, "auto") is None) is believed


def test_questions() -> None:
    entity = entity_of(TASK)
    assert asked_for("LIST ALL PROCEDURES:") is asked_for("Which operations were done?") is entity
    assert asked_for("LIST ALL TESTS AND PROCEDURES:") is not entity, "as before there was this kind"


def test_gold_of_synthetic_charts_passes_the_filters_and_other_answers_do_not() -> None:
    records = charts(60)
    with_some = [record for record in records.values() if (record.gold or {})["procedure"]]
    assert 15 < len(with_some) < 50
    rejected: Counter[str] = Counter()
    turned: list[bool] = []
    for record in records.values():
        gold = [(item.text, str(item.status)) for item in (record.gold or {})["procedure"]]
        rejected.update(reasons(record, *gold))
        turned += [bool(reasons(record, (text, "planned" if status == "done" else "done"))) for text, status in gold]
    assert not rejected
    assert sum(turned) >= 0.8 * len(turned), "a status turned round is seen"
    caught = sum("false_none" in reasons(record) for record in with_some)
    assert caught >= 0.75 * len(with_some), "an empty answer where the chart says otherwise"


def test_rules_read_some_and_edits_are_certain() -> None:
    records = charts(60)
    rows = [
        Prediction(key="", record=r.id, task=TASK.name, arm="rules", completion="-", items=read(r.text, TASK, ()))
        for r in records.values()
    ]  # fmt: skip
    scores = score_arm(rows, records, [TASK], resamples=100)[TASK.name]
    assert 0.3 < (scores["joint_f1"].value or 0) < 0.95, "better than nothing, worse than reading"
    options = InterventionOptions(records=60)
    edits = [variant for r in records.values() for variant in make_edits(r, [TASK], r.gold or {}, options)]
    assert {"deleted", "inserted", "flipped"} == {edit.kind for edit in edits}
    assert {edit.status for edit in edits if edit.kind == "flipped"} == {"done", "planned"}
