"""How right the labels are that the student learns from: the teacher's, on training records, against their gold.

In: labels, curated labels, training records. Out: figures of three arms, for predictions/scores.json. What must hold:
the same metrics, intervals and matching as of the arms on held-out records; nothing where no training record has gold.

- `raw`: the teacher's labels as they came, before any filter.
- `kept`: what curation kept of them. Its recall asks only for the gold of records whose label was kept.
- `kept_of_all`: the same with a rejected label as an answer that names nothing, so that its recall is of all gold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chartdistill.metrics import METRICS, score_arm
from chartdistill.schema import CuratedLabel, Item, Prediction, Record, Task

LABEL_METRICS = ("precision", "recall", "joint_f1", "confabulation_rate")
RAW, KEPT, KEPT_OF_ALL = "raw", "kept", "kept_of_all"


def score_labels(
    raw: Iterable[Prediction],
    curated: Iterable[CuratedLabel],
    records: Sequence[Record],
    tasks: Sequence[Task],
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Arm -> task -> metric -> Estimate. `raw`, `curated`: labels of any records; those of `records` count."""
    by_id = {record.id: record for record in records if record.gold is not None}
    names = {task.name for task in tasks}
    kept: dict[tuple[str, str], tuple[Item, ...]] = {}
    for label in curated:
        if label.record in by_id and label.task in names and label.items is not None:
            kept.setdefault((label.record, label.task), label.items)  # of several samples the first is learned from
    answers = [row for row in raw if row.record in by_id]
    if not answers:
        return {}
    arms = {
        RAW: answers,
        KEPT: [_answer(*place, items) for place, items in kept.items()],
        KEPT_OF_ALL: [_answer(row.record, row.task, kept.get((row.record, row.task), ())) for row in answers],
    }
    metrics = {name: METRICS[name] for name in LABEL_METRICS}
    return {
        arm: {
            task: {name: estimate.model_dump() for name, estimate in found.items()}
            for task, found in score_arm(rows, by_id, tasks, seed, resamples, metrics).items()
        }
        for arm, rows in arms.items()
    }


def _answer(record: str, task: str, items: tuple[Item, ...]) -> Prediction:
    return Prediction(key="", record=record, task=task, arm=KEPT, completion="-", items=items)
