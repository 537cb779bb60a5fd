"""The kind of finding `procedure`: what is one, what the chart says of it, and the charts that are written with it."""

from __future__ import annotations

from collections import Counter

import pytest

from chartdistill.clinical.entities import asked_for, entity_of
from chartdistill.config import load_task
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.perturbations import make_edits
from chartdistill.schema import Record
from kind_charts import charts, gold_of, joint_f1_of_rules, reasons
from places import ROOT

TASK = load_task(ROOT / "configs/tasks/procedure.yaml")
NOTE = (
    "A man with cough. He underwent appendectomy in 2001. His mother had hysterectomy. He declined thyroidectomy. "
    "If pain persists, consider septoplasty. The chest x-ray was normal. He takes lisinopril.\n"
    "PLAN: He is scheduled for hernia repair."
)


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
    assert reasons(record, TASK, item) == ({reason} if reason else set())


@pytest.mark.parametrize(
    ("chart", "believed"),
    [
        ("PROCEDURES: None.\nPLAN: Rest.", True),
        ("OPERATION PERFORMED: Lumbar laminectomy.\nPLAN: Rest.", False),
        ("She underwent cataract extraction last year.", False),
        ("Her sister underwent cataract extraction.", True),
        ("She has a cough.", True),
        ("He had a follow-up visit last week.", True),
        ("He had no surgery.", True),
        ("PAST SURGICAL HISTORY: She denies any prior surgery.", True),
        ("If the pain stays, he will undergo lumbar laminectomy.", True),
        ("His wife underwent mastectomy.", True),
        ("He was scheduled for vasectomy but cancelled.", True),
        ("PSH: Appendectomy 1998", False),
    ],
)
def test_when_none_found_is_believed(chart: str, believed: bool) -> None:
    assert (entity_of(TASK).overlooked(chart, "auto") is None) is believed


@pytest.mark.parametrize(
    ("chart", "item"),
    [
        ("After her appendectomy she will be followed in clinic.", ("appendectomy", "done")),
        ("Status post cholecystectomy, scheduled for follow-up.", ("cholecystectomy", "done")),
        ("History of hernia repair; declined flu vaccine.", ("hernia repair", "done")),
        ("Risks were discussed and he underwent hernia repair.", ("hernia repair", "done")),
        ("He had PCI to the LAD.", ("PCI", "done")),
    ],
)
def test_other_words_of_the_sentence_do_not_undo_a_procedure(chart: str, item: tuple[str, str]) -> None:
    record = Record(id="r", source="x", text=chart, cluster="c", split="train", segments=())
    assert reasons(record, TASK, item) == set()


def test_questions() -> None:
    entity = entity_of(TASK)
    assert asked_for("LIST ALL PROCEDURES:") is asked_for("Which operations were done?") is entity
    assert asked_for("LIST ALL TESTS AND PROCEDURES:") is not entity, "as before there was this kind"


def test_gold_of_synthetic_charts_passes_the_filters_and_other_answers_do_not() -> None:
    records = charts(TASK, 60)
    with_some = [record for record in records.values() if gold_of(record, TASK)]
    assert 15 < len(with_some) < 50
    rejected: Counter[str] = Counter()
    turned: list[bool] = []
    for record in records.values():
        gold = gold_of(record, TASK)
        rejected.update(reasons(record, TASK, *gold))
        turned += [
            bool(reasons(record, TASK, (text, "planned" if status == "done" else "done"))) for text, status in gold
        ]
    assert not rejected
    assert sum(turned) >= 0.8 * len(turned), "a status turned round is seen"
    caught = sum("false_none" in reasons(record, TASK) for record in with_some)
    assert caught >= 0.75 * len(with_some), "an empty answer where the chart says otherwise"


def test_rules_read_some_and_edits_are_certain() -> None:
    records = charts(TASK, 60)
    assert 0.3 < joint_f1_of_rules(records, TASK) < 0.95, "better than nothing, worse than reading"
    options = InterventionOptions(records=60)
    edits = [variant for r in records.values() for variant in make_edits(r, [TASK], r.gold or {}, options)]
    assert {"deleted", "inserted", "flipped"} <= {edit.kind for edit in edits}
    assert {edit.status for edit in edits if edit.kind == "flipped"} == {"done", "planned"}
