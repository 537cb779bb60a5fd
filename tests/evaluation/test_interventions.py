"""Changed records and what is made of the answers: exact edits, known readers."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from chartdistill.clinical.entities import entity_of
from chartdistill.evaluation.interventions import (
    Asking,
    askings,
    score_interventions,
    write_variants,
)
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.perturbations import EFFECTS, PLACEBOS, SAME, Variant, make_edits, make_noise
from chartdistill.evaluation.placebos import delete_elsewhere
from chartdistill.schema import Item, Prediction, Record, Task
from demo_charts import TASKS, charts

OPTIONS = InterventionOptions(records=40, resamples=2)
RECORDS = charts(60)


def variants_of(records: dict[str, Record], options: InterventionOptions = OPTIONS) -> list[Variant]:
    made = (make_edits, make_noise)
    return [v for r in records.values() for make in made for v in make(r, TASKS, r.gold or {}, options)]


def test_edits_do_what_they_say() -> None:
    by_name = {task.name: task for task in TASKS}
    seen: Counter[str] = Counter()
    for variant in variants_of(RECORDS):
        before, seen[variant.kind] = RECORDS[variant.record].text, seen[variant.kind] + 1
        if variant.kind == "deleted":
            assert variant.item is not None
            assert variant.task is not None
            assert entity_of(by_name[variant.task]).locate(variant.item.text, before) is not None
            assert entity_of(by_name[variant.task]).locate(variant.item.text, variant.text) is None
            assert len(variant.text) < len(before)
        if variant.kind == "inserted":
            assert variant.item is not None
            assert variant.task is not None
            assert entity_of(by_name[variant.task]).locate(variant.item.text, before) is None
            assert variant.item.text in variant.text
            assert sorted(before.split()) == sorted(set_minus(variant.text.split(), before.split()))
        if variant.kind == "flipped":
            assert variant.item is not None
            assert {variant.item.status, variant.status} == {"continue", "stop"}
            changed = [(a, b) for a, b in zip(before.splitlines(), variant.text.splitlines(), strict=True) if a != b]
            assert len(changed) == 1
            assert variant.item.text in changed[0][1]
    assert set(seen) == {*EFFECTS, *PLACEBOS, *SAME}
    assert seen["inserted"] == 4 * len(RECORDS)
    assert seen["deleted"] > 2 * len(RECORDS)
    assert seen["flipped"] >= 5


def set_minus(words: list[str], kept: list[str]) -> list[str]:
    """The words that are also in `kept`, as often as there."""
    return list((Counter(words) & Counter(kept)).elements())


@pytest.mark.parametrize(
    ("sentence", "status", "after"),
    [
        ("Continue Yasadol 5 mg.", "continue", "Discontinue Yasadol 5 mg."),
        ("He remains on Yasadol 5 mg.", "continue", "He is no longer on Yasadol 5 mg."),
        ("She is currently taking Yasadol for pain.", "continue", "She is no longer taking Yasadol for pain."),
        ("She takes Yasadol daily.", "continue", "She no longer takes Yasadol daily."),
        ("Yasadol is fine and will be continued.", "continue", "Yasadol is fine and will be discontinued."),
        ("D/C Yasadol.", "stop", "Continue Yasadol."),
        ("Yasadol was stopped owing to itching.", "stop", "Yasadol was continued owing to itching."),
        ("Stop Yasadol if the rash persists.", "stop", None),
        ("His mother takes Yasadol.", "continue", None),
        ("Continue Yasadol and Febenor.", "continue", None),
        ("Yasadol 5 mg.", "continue", None),
        ("Continue Yasadol 5 mg.", "start", None),
    ],
)  # fmt: skip
def test_flips(sentence: str, status: str, after: str | None) -> None:
    text = f"A man with pain. {sentence} He is well."
    gold = {"medication": (Item(text="Yasadol", status=status), Item(text="Febenor", status="continue"))}
    record = Record(id="a", source="s", text=text, cluster="c", split="test", segments=())
    found = [v for v in make_edits(record, TASKS[:1], gold, OPTIONS) if v.kind == "flipped"]
    assert [v.text for v in found] == ([] if after is None else [f"A man with pain. {after} He is well."])


def test_nothing_is_deleted_that_stands_under_another_name() -> None:
    """Its sentence gone, the item would still be right."""
    item, task = Item(text="Harrow Vale Syndrome"), next(task for task in TASKS if task.name == "diagnosis")
    text = "IMPRESSION: Harrow Vale Syndrome. He is a baker with two dogs and a van."

    def deleted(text: str) -> list[Variant]:
        record = Record(id="a", source="s", text=text, cluster="c", split="test", segments=())
        return [v for v in make_edits(record, [task], {"diagnosis": (item,)}, OPTIONS) if v.kind == "deleted"]

    assert len(deleted(text)) == 1
    assert deleted(f"{text} HVS is stable.") == []


@pytest.mark.slow
def test_variants_are_the_same_for_the_same_seed() -> None:
    assert variants_of(RECORDS) == variants_of(RECORDS)
    other = OPTIONS.model_copy(update={"seed": 1})
    assert variants_of(RECORDS) != variants_of(RECORDS, other)
    names = [variant.id for variant in variants_of(RECORDS)]
    assert len(set(names)) == len(names)


def test_more_records_are_edited_than_asked_in_all_forms(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"records": 3})
    found = write_variants(tmp_path, list(RECORDS.values()), TASKS, {}, options)
    edited, noisy = ({v.record for v in found if v.kind in kinds} for kinds in (EFFECTS, SAME))
    assert (len(edited), len(noisy)) == (12, 3)
    assert noisy < edited
    fewer = write_variants(
        tmp_path, list(RECORDS.values()), TASKS, {}, options.model_copy(update={"edited_records": 5})
    )
    assert len({v.record for v in fewer if v.kind in EFFECTS}) == 5
    assert not write_variants(tmp_path, list(RECORDS.values()), TASKS, {}, InterventionOptions())


class Reader:
    """Answers from the text alone: each gold item that still stands there, and what an insertion or a flip says."""

    def __init__(self, records: dict[str, Record]) -> None:
        self.records = records

    def answer(self, asking: Asking) -> Prediction:
        variant, task = asking.variant, asking.task
        found = []
        for item in (self.records[variant.record].gold or {}).get(task.name, ()):
            new = next((n for n, old in variant.renamed if old == item.text.lower()), item.text)
            if entity_of(task).locate(new, asking.record.text) is not None:
                flipped = variant.kind == "flipped" and variant.item == item
                found.append(Item(text=new, status=variant.status if flipped else item.status))
        if variant.kind == "inserted" and variant.item is not None:
            found.append(variant.item)
        return said(asking.record.id, task, tuple(found))


def said(record: str, task: Task, items: tuple[Item, ...] | None, failed: bool = False) -> Prediction:
    completion = None if failed else ""
    return Prediction(key="", record=record, task=task.name, arm="x", completion=completion, items=items)


def by_place(answers: list[Prediction]) -> dict[tuple[str, str], Prediction]:
    return {(answer.record, answer.task): answer for answer in answers}


def test_a_placebo_takes_or_brings_a_sentence_that_concerns_no_item() -> None:
    by_name = {task.name: task for task in TASKS}
    deleted = inserted = 0
    for variant in variants_of(RECORDS):
        record = RECORDS[variant.record]
        before, names = record.text.split(), [i.text for of in (record.gold or {}).values() for i in of]
        if variant.kind == "deleted_elsewhere":
            deleted += 1
            assert variant.item is not None
            assert variant.task is not None
            gone = " ".join((Counter(before) - Counter(variant.text.split())).elements())
            assert gone
            assert not any(name in gone for name in names)
            for item in (record.gold or {})[variant.task]:
                assert entity_of(by_name[variant.task]).locate(item.text, variant.text) is not None
        if variant.kind == "inserted_elsewhere":
            inserted += 1
            assert not Counter(before) - Counter(variant.text.split())
    assert inserted == 4 * len(RECORDS)
    assert deleted > len(RECORDS)


@pytest.mark.parametrize(
    "sentence",
    [
        "It was stopped last week.", "These were tolerated well.", "2. Lungs are clear today.",
        "- Lungs are clear today.",
        "ALLERGIES: none are known.", "Medications were copied forward.", "Discontinue at discharge.",
        "and then rested.",
        "All of the above is new.", "No change.", "Lungs are clear", "Yasadol is well tolerated now.",
        "Lisinopril of last year is fine now.",
    ],
)  # fmt: skip
def test_what_may_concern_an_item_is_no_placebo(sentence: str) -> None:
    gold = {
        "medication": (Item(text="Yasadol", status="continue"),), "tests": (Item(text="Lisinopril"),),
    }  # fmt: skip
    text = f"He takes Yasadol 5 mg daily at home.\n{sentence}\n"
    record = Record(id="a", source="s", text=text, cluster="c", split="test", segments=())
    item = gold["medication"][0]
    assert delete_elsewhere(record, TASKS[0], item, gold, random.Random(1)) is None
    filler = record.model_copy(update={"text": f"{text}Lungs are clear today.\n"})
    found = delete_elsewhere(filler, TASKS[0], item, gold, random.Random(1))
    assert found is not None
    assert found.text == text


def test_an_arm_that_answers_anything_to_any_change_has_no_effect(tmp_path: Path) -> None:
    """Its items vanish whatever is deleted and appear whatever is inserted: the placebo takes it all away."""
    variants = write_variants(tmp_path, list(RECORDS.values()), TASKS, {}, OPTIONS)
    asked = askings(variants, RECORDS, TASKS, OPTIONS)
    before = by_place([said(r.id, task, (r.gold or {})[task.name]) for r in RECORDS.values() for task in TASKS])
    flighty = by_place([
        said(one.record.id, one.task, () if "deleted" in one.variant.kind else (
            *(i for i in [one.variant.item] if i), Item(text="Novelty", status=one.variant.status),
        ))
        for one in asked
    ])  # fmt: skip
    found = score_interventions(variants, before, flighty, RECORDS, TASKS, 0, 200)["effects"]["all"]
    assert found["vanish_rate"]["value"] == found["vanish_placebo_rate"]["value"] == 1
    assert found["vanish_effect"]["value"] == 0
    assert found["vanish_effect"]["low"] < 0 < found["vanish_effect"]["high"]
    assert found["appear_rate"]["value"] == found["appear_placebo_rate"]["value"] == 1
    assert found["appear_effect"]["value"] == 0
    assert found["flip_placebo_rate"]["value"] == 1, "every other drug is gone"


def test_a_status_that_turns_elsewhere_is_seen_by_the_placebo() -> None:
    text = "Continue Yasadol 5 mg. Continue Febenor. Lungs are clear today."
    gold = {"medication": (Item(text="Yasadol", status="continue"), Item(text="Febenor", status="continue"))}
    record = Record(id="a", source="s", text=text, cluster="c", split="test", segments=(), gold=gold)
    variants = make_edits(record, TASKS[:1], gold, OPTIONS)
    before = by_place([said("a", TASKS[0], gold["medication"])])

    def rates(turned: bool, gone: bool) -> dict[str, float | None]:
        after = []
        for variant in variants:
            items = [
                Item(text=i.text, status=variant.status if variant.kind == "flipped" and (turned or i == variant.item)
                     else "hold" if variant.kind == "deleted_elsewhere" and gone else i.status)
                for i in gold["medication"]
            ]  # fmt: skip
            after.append(said(variant.id, TASKS[0], tuple(items)))
        found = score_interventions(variants, before, by_place(after), {"a": record}, TASKS[:1], 0, 100)
        return {name: of["value"] for name, of in found["effects"]["medication"].items()}

    exact, blunt = rates(turned=False, gone=False), rates(turned=True, gone=True)
    assert (exact["flip_rate"], exact["flip_placebo_rate"], exact["flip_effect"]) == (1, 0, 1)
    assert (blunt["flip_rate"], blunt["flip_placebo_rate"], blunt["flip_effect"]) == (1, 1, 0)
    assert (exact["vanish_placebo_rate"], blunt["vanish_placebo_rate"]) == (0, 1), "still named, with another status"


def test_a_reader_follows_the_chart_and_a_parrot_does_not(tmp_path: Path) -> None:
    variants = write_variants(tmp_path, list(RECORDS.values()), TASKS, {}, OPTIONS)
    asked = askings(variants, RECORDS, TASKS, OPTIONS)
    before = by_place([said(r.id, task, (r.gold or {})[task.name]) for r in RECORDS.values() for task in TASKS])
    reader = by_place([Reader(RECORDS).answer(one) for one in asked])
    parrot = by_place([
        said(one.record.id, one.task, before[one.variant.record, one.task.name].items) for one in asked
    ])  # fmt: skip
    found = score_interventions(variants, before, reader, RECORDS, TASKS, 0, 200)
    for task in (*TASKS, None):
        name = "all" if task is None else task.name
        rates = found["effects"][name]
        assert rates["vanish_rate"]["value"] == 1
        assert rates["appear_rate"]["value"] == 1
        assert rates["vanish_placebo_rate"]["value"] == rates["appear_placebo_rate"]["value"] == 0
        assert rates["vanish_effect"]["value"] == rates["appear_effect"]["value"] == 1
        assert found["consistency"]["any"][name]["share_identical"]["value"] == 1
        assert found["consistency"]["any"][name]["consistent_right"]["value"] == 1
    assert found["effects"]["medication"]["flip_rate"]["value"] == 1
    assert found["effects"]["tests"]["flip_rate"]["value"] is None
    deaf = score_interventions(variants, before, parrot, RECORDS, TASKS, 0, 200)["effects"]["all"]
    assert [deaf[rate]["value"] for rate in ("vanish_rate", "appear_rate", "flip_rate")] == [0, 0, 0]
    assert 0 < deaf["flip_rate"]["high"] < 1, "no event still has a bound"


def test_consistently_wrong_is_told_from_consistently_right(tmp_path: Path) -> None:
    task = TASKS[3]
    options = OPTIONS.model_copy(update={"records": len(RECORDS)})
    variants = write_variants(tmp_path, list(RECORDS.values()), [task], {}, options)
    asked = askings(variants, RECORDS, [task], options)
    wrong = (Item(text="wand waving"),)
    before = by_place([said(name, task, wrong) for name in RECORDS])
    same = by_place([said(one.record.id, task, wrong) for one in asked])
    found = score_interventions(variants, before, same, RECORDS, [task], 0, 200)["consistency"]["any"]["tests"]
    assert (found["share_identical"]["value"], found["consistent_wrong"]["value"]) == (1, 1)
    assert found["consistent_right"]["value"] == found["inconsistent_wrong"]["value"] == 0
    assert found["alpha"]["value"] is None
    assert "without variation" in found["alpha"]["reason"]
    rng = random.Random(1)
    mixed = by_place([said(one.record.id, task, rng.choice([wrong, (), None])) for one in asked])
    found = score_interventions(variants, before, mixed, RECORDS, [task], 0, 200)["consistency"]["any"]["tests"]
    assert found["inconsistent_wrong"]["value"] > 0.9
    assert found["alpha"]["value"] < 0.3


def test_answers_that_break_the_format_pass_no_intervention(tmp_path: Path) -> None:
    variants = write_variants(tmp_path, list(RECORDS.values()), TASKS, {}, OPTIONS)
    asked = askings(variants, RECORDS, TASKS, OPTIONS)
    before = by_place([said(r.id, task, (r.gold or {})[task.name]) for r in RECORDS.values() for task in TASKS])
    broken = by_place([said(one.record.id, one.task, None) for one in asked])
    rates = score_interventions(variants, before, broken, RECORDS, TASKS, 0, 100)["effects"]["all"]
    assert rates["vanish_rate"]["value"] == rates["appear_rate"]["value"] == 0
    failed = by_place([said(one.record.id, one.task, None, failed=True) for one in asked])
    rates = score_interventions(variants, before, failed, RECORDS, TASKS, 0, 100)["effects"]["all"]
    assert rates["vanish_rate"]["value"] is None
    assert rates["vanish_rate"]["unscored"] > 0


def test_a_renamed_drug_is_the_same_answer(tmp_path: Path) -> None:
    renamed = [variant for variant in variants_of(RECORDS) if variant.kind == "renamed"]
    assert len(renamed) > 20
    for variant in renamed:
        new, old = variant.renamed[0]
        assert new.lower() in variant.text.lower()
        assert old not in variant.text.lower()


def test_optional_gold_is_not_changed_and_makes_no_answer_wrong(tmp_path: Path) -> None:
    """Whether such an item belongs in the answer is uncertain before any change."""
    task = TASKS[0]

    def optional(record: Record) -> Record:
        first, *rest = (record.gold or {})[task.name]
        return record.model_copy(update={"gold": {task.name: (first.model_copy(update={"optional": True}), *rest)}})

    records = {name: optional(one) for name, one in RECORDS.items() if (one.gold or {})[task.name]}
    variants = write_variants(tmp_path, list(records.values()), [task], {}, OPTIONS)
    for variant in variants:
        if variant.kind in ("deleted", "flipped") and variant.item is not None:
            assert variant.item.text not in [
                i.text for i in (records[variant.record].gold or {})[task.name] if i.optional
            ]
    for start in (0, 1):  # with the optional item, and without it
        says = {name: (one.gold or {})[task.name][start:] for name, one in records.items()}
        before = by_place([said(name, task, items) for name, items in says.items()])
        after = by_place(
            [said(one.record.id, task, says[one.variant.record]) for one in askings(variants, records, [task], OPTIONS)]
        )
        found = score_interventions(variants, before, after, records, [task], 0, 100)["consistency"]["rephrased"][
            task.name
        ]
        assert found["consistent_right"]["value"] == 1
    wrong = {
        name: (*(one.gold or {})[task.name][1:], Item(text="Wandol", status="start")) for name, one in records.items()
    }
    before = by_place([said(name, task, items) for name, items in wrong.items()])
    after = by_place(
        [said(one.record.id, task, wrong[one.variant.record]) for one in askings(variants, records, [task], OPTIONS)]
    )
    found = score_interventions(variants, before, after, records, [task], 0, 100)["consistency"]["rephrased"][task.name]
    assert found["consistent_right"]["value"] == 0
