"""Synthetic charts with gold for a further kind of finding, and what the filters say to an answer about one."""

from __future__ import annotations

import random

from chartdistill.curation.curate import judge
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.demo.charts import write_chart
from chartdistill.evaluation.rule_baseline import read
from chartdistill.metrics import score_arm
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records import clean
from chartdistill.schema import Item, Label, Prediction, Record, Task


def charts(task: Task, count: int) -> dict[str, Record]:
    """So many charts, with gold for the task among others."""
    found = {}
    for index in range(count):
        rng = random.Random(f"{task.name} {index}")
        chart = write_chart(rng, "heldout", also=(task.name,))
        gold = {name: tuple(Item(text=text, status=status) for text, status in of) for name, of in chart.gold.items()}
        found[str(index)] = Record(
            id=str(index), source=f"synthetic:{index}", text=clean(chart.as_filed(rng)).text, cluster=str(index),
            split="test", segments=(), gold=gold,
        )  # fmt: skip
    return found


def gold_of(record: Record, task: Task) -> list[tuple[str, str]]:
    """(text, status) of the record's gold."""
    return [(item.text, str(item.status)) for item in (record.gold or {})[task.name]]


def reasons(record: Record, task: Task, *items: tuple[str, str]) -> set[str]:
    """The reason codes against an answer with these items."""
    said = [Item(text=text, status=status) for text, status in items]
    label = Label(key="k", record=record.id, task=task.name, strategy="direct", completion=format_answer(said),
                  finish_reason="stop")  # fmt: skip
    return {one.reason for one in judge(label, record, task, DEFAULT_FILTERS).rejections}


def joint_f1_of_rules(records: dict[str, Record], task: Task) -> float:
    """Of the rule baseline without any name from training."""
    rows = [
        Prediction(key="", record=r.id, task=task.name, arm="rules", completion="-", items=read(r.text, task, ()))
        for r in records.values()
    ]  # fmt: skip
    return score_arm(rows, records, [task], resamples=100)[task.name]["joint_f1"].value or 0.0
