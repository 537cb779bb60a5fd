"""The kind of finding `allergy`: what is one, what the chart says of it, and the charts that are written with it."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from chartdistill.clinical.entities import asked_for, entity_of
from chartdistill.config import load_task
from chartdistill.demo.charts import write_chart
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.perturbations import make_edits
from chartdistill.records import SourceEntry
from chartdistill.records.sources import SyntheticSource
from chartdistill.schema import Record
from kind_charts import charts, gold_of, joint_f1_of_rules, reasons
from places import ROOT

TASK = load_task(ROOT / "configs/tasks/allergy.yaml")
NOTE = (
    "A man with cough. He is allergic to penicillin, which causes hives. His mother is allergic to latex. "
    "He is not allergic to eggs. No peanut allergy. He takes lisinopril daily.\nALLERGIES: Codeine (nausea).\n"
    "PLAN: Order a chest x-ray."
)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (("penicillin", "hives"), None),
        (("Penicillin allergy", "hives"), None),
        (("Codeine", "nausea"), None),
        (("penicillin", "rash"), "contradicted_status"),
        (("Codeine", "unknown"), "contradicted_status"),
        (("latex", "unknown"), "family_member"),
        (("eggs", "unknown"), "negated"),
        (("peanut", "unknown"), "negated"),
        (("lisinopril", "unknown"), "not_an_allergy"),
        (("chest x-ray", "unknown"), "not_a_substance"),
        (("denies allergies", "unknown"), "no_allergy"),
        (("shellfish", "hives"), "invented"),
    ],
)
def test_what_is_an_allergy_of_the_patient(item: tuple[str, str], reason: str | None) -> None:
    record = Record(id="r", source="x", text=NOTE, cluster="c", split="train", segments=())
    found = reasons(record, TASK, item)
    assert found == ({reason} if reason else set()) or (reason in found and reason == "no_allergy")


@pytest.mark.parametrize(
    ("chart", "believed"),
    [
        ("ALLERGIES: NKDA.\nPLAN: Rest.", True),
        ("ALLERGIES: No known drug allergies.", True),
        ("ALLERGIES: Sulfa.\nPLAN: Rest.", False),
        ("She is allergic to sulfa.", False),
        ("Her mother is allergic to sulfa.", True),
        ("She has a cough.", True),
        ("ALLERGIES: He denies any.", True),
        ("ALLERGIES: See chart.", True),
        ("ALLERGIES: No known drug allergies except sulfa.", False),
        ("ALLERGIES: No known food allergies. Sulfa - rash.", False),
        ("Her husband is allergic to sulfa.", True),
        ("If she is allergic to sulfa, use another.", True),
        ("She has an intolerance to heat.", True),
        ("ALLERGY CLINIC: Seen in March.", True),
    ],
)
def test_when_none_found_is_believed(chart: str, believed: bool) -> None:
    assert (entity_of(TASK).overlooked(chart, "auto") is None) is believed


@pytest.mark.parametrize(
    ("chart", "item", "kept"),
    [
        ("ALLERGIES: Iodine (hives), sulfa", ("sulfa", "unknown"), True),
        ("ALLERGIES: Iodine (hives), sulfa", ("sulfa", "hives"), True),
        ("ALLERGIES: Iodine - hives, Sulfa - rash", ("sulfa", "rash"), True),
        ("ALLERGIES: Iodine - hives, Sulfa - rash", ("sulfa", "hives"), False),
        ("ALLERGIES: Codeine (no hives)", ("codeine", "unknown"), True),
        ("Per his son, the patient is allergic to sulfa.", ("sulfa", "unknown"), True),
        ("His son is allergic to sulfa.", ("sulfa", "unknown"), False),
        ("No latex allergy, iodine causes hives.", ("iodine", "hives"), True),
        ("She could not tolerate codeine.", ("codeine", "unknown"), True),
        ("She tolerates codeine.", ("codeine", "unknown"), False),
        ("Iodine allergy: no.", ("iodine", "unknown"), False),
        ("Loratadine for allergies.", ("loratadine", "unknown"), False),
        ("She got a rash from codeine.", ("codeine", "rash"), True),
    ],
)
def test_a_reaction_belongs_to_its_own_substance_and_patient(chart: str, item: tuple[str, str], kept: bool) -> None:
    record = Record(id="r", source="x", text=chart, cluster="c", split="train", segments=())
    assert (reasons(record, TASK, item) == set()) == kept


def test_names_and_questions() -> None:
    entity = entity_of(TASK)
    assert entity.match_key("PCN allergy") == entity.match_key("penicillin")
    assert asked_for("LIST ALL ALLERGIES:") is entity
    assert asked_for("LIST ALL DRUG ALLERGIES:") is asked_for("Medication allergies?") is entity
    assert asked_for("LIST MEDICATIONS AND ALLERGIES:") is not entity, "the first kind that a question names"


def test_gold_of_synthetic_charts_passes_the_filters_and_other_answers_do_not() -> None:
    records = charts(TASK, 60)
    with_some = [record for record in records.values() if gold_of(record, TASK)]
    assert 15 < len(with_some) < 45
    assert {"hives", "rash", "other", "unknown"} <= {i.status for r in with_some for i in (r.gold or {})["allergy"]}
    rejected: Counter[str] = Counter()
    for record in records.values():
        rejected.update(reasons(record, TASK, *gold_of(record, TASK)))
    assert not rejected
    caught = sum("false_none" in reasons(record, TASK) for record in with_some)
    assert caught >= 0.8 * len(with_some), "an empty answer where the chart says otherwise"


def test_rules_read_some_and_edits_are_certain() -> None:
    records = charts(TASK, 60)
    assert 0.3 < joint_f1_of_rules(records, TASK) < 0.95, "better than nothing, worse than reading"
    options = InterventionOptions(records=60)
    edits = [
        v for r in records.values() for v in make_edits(r, [TASK], {TASK.name: (r.gold or {})["allergy"]}, options)
    ]
    assert {"deleted", "inserted", "flipped"} <= {edit.kind for edit in edits}
    for edit in edits:
        if edit.kind == "inserted":
            assert edit.item is not None and f"allergic to {edit.item.text}, which causes hives" in edit.text


def test_charts_that_nobody_asked_allergies_of_are_those_the_shipped_models_learned_from() -> None:
    digest = hashlib.sha256()
    for index in range(20):
        rng = random.Random(f"train:1:{index}")
        chart = write_chart(rng, "train")
        digest.update((chart.as_filed(rng) + repr(chart.gold)).encode())
    assert digest.hexdigest().startswith("30faa1cd9c98e1b4")


def test_a_synthetic_source_is_told_what_else_to_write() -> None:
    source = SyntheticSource(count=2, also=("allergy",))
    assert all("allergy" in (entry.gold or {}) for entry in source.read() if isinstance(entry, SourceEntry))
    assert "also" not in SyntheticSource(count=2).model_dump(mode="json"), "or a run made before would not be done"
    with pytest.raises(ValueError, match="no charts can be written for allergies; allowed: allergy"):
        SyntheticSource(count=2, also=("allergies",))
