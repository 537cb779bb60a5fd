"""How right labels are on training records: raw, kept, and kept with what was rejected counted as missed."""

from __future__ import annotations

from chartdistill.evaluation.label_quality import score_labels
from chartdistill.schema import CuratedLabel, Item, Prediction, Record
from demo_charts import TASKS

DRUG = TASKS[0]


def drugs(names: str) -> tuple[Item, ...]:
    return tuple(Item(text=name, status="continue") for name in names.split())


def chart(name: str, names: str | None) -> Record:
    gold = None if names is None else {DRUG.name: drugs(names)}
    text = "He takes Yasadol, Febenor, Oxnivir and Zikeximab."
    return Record(id=name, source="s", text=text, cluster=name, split="train", segments=(), gold=gold)


def label(record: str, names: str | None) -> Prediction:
    items = None if names is None else drugs(names)
    return Prediction(key="", record=record, task=DRUG.name, arm="teacher", completion="x", items=items)


def test_precision_and_recall_of_labels_by_hand() -> None:
    records = [chart("a", "Yasadol Febenor"), chart("b", "Oxnivir"), chart("c", "Zikeximab"), chart("d", None)]
    raw = [label("a", "Yasadol Febenor Nosuchol"), label("b", "Inventamol"), label("c", None), label("d", "Yasadol")]
    curated = [
        CuratedLabel(record="a", task=DRUG.name, items=drugs("Yasadol Febenor")),
        CuratedLabel(record="a", task=DRUG.name, sample=1, items=drugs("Oxnivir")),
        CuratedLabel(record="b", task=DRUG.name, items=None),
        CuratedLabel(record="d", task=DRUG.name, items=drugs("Yasadol")),
    ]
    found = score_labels(raw, curated, records, [DRUG], 0, 100)
    shares = {
        arm: tuple((of["all"][name]["value"], of["all"][name]["n"]) for name in ("precision", "recall"))
        for arm, of in found.items()
    }
    assert shares["raw"] == ((2 / 4, 4), (2 / 4, 4)), "a label that broke the format has named nothing"
    assert shares["kept"] == ((1, 2), (1, 2)), "asked only for the gold of what was kept"
    assert shares["kept_of_all"] == ((1, 2), (2 / 4, 4)), "what was rejected is missed"
    assert found["raw"]["all"]["precision"]["low"] is not None


def test_without_gold_on_training_records_nothing_is_said_of_labels() -> None:
    assert score_labels([label("d", "Yasadol")], [], [chart("d", None)], [DRUG], 0, 100) == {}
