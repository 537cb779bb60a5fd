"""Predictions -> counts: each checked, matched against gold (or against another arm), one row per record and task.

In: predictions of one arm, records, tasks. Out: `Counted` rows, in an order that does not depend on that of the
predictions. Must hold: a prediction that breaks the format is a wrong answer; one whose engine failed is unscored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from chartdistill.clinical.same_as import NOTHING_JUDGED, SameAs
from chartdistill.errors import InputError
from chartdistill.metrics.matching import Outcome, outcome
from chartdistill.schema import Item, Prediction, Record, Task

ALL_TASKS = "all"
"""Name under which all tasks are pooled."""

Gold = Callable[[Record, Task], Sequence[Item] | None]
"""What is taken for right: the record's gold, or another arm's items."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One prediction, counted. `outcome` is None where it could not be scored."""

    record: str
    cluster: str
    task: str
    has_gold: bool
    has_text: bool
    outcome: Outcome | None


RowsT = TypeVar("RowsT", tuple[Counted], tuple[Counted, Counted])


def gold_of(record: Record, task: Task) -> Sequence[Item] | None:
    """The record's gold for a task; None where it has none."""
    return None if record.gold is None else record.gold.get(task.name)


def count(
    predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    gold: Gold = gold_of,
    same_as: SameAs = NOTHING_JUDGED,
) -> list[Counted]:
    """Count the predictions of one arm.

    Raises:
        InputError: a prediction of an unknown record or task, a second one of the same, or one of another arm.
    """
    by_name = {task.name: task for task in tasks}
    rows = []
    for prediction in _checked(predictions, records, tasks):
        record, task = records[prediction.record], by_name[prediction.task]
        right = gold(record, task)
        found = None if prediction.completion is None else outcome(prediction, right, record, task, same_as)
        rows.append(Counted(record.id, record.cluster, task.name, right is not None, bool(record.text), found))
    return rows


def count_against(
    reference: Iterable[Prediction],
    predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    same_as: SameAs = NOTHING_JUDGED,
) -> list[Counted]:
    """Count against another arm's items; unscored where that arm gave no usable answer.

    Raises:
        InputError: as `count`, for either arm.
    """
    items = {(one.record, one.task): one.items for one in _checked(reference, records, tasks)}
    rows = count(predictions, records, tasks, lambda record, task: items.get((record.id, task.name)), same_as)
    return [row if row.has_gold else replace(row, outcome=None) for row in rows]


def of_task(rows: Sequence[RowsT], name: str) -> list[RowsT]:
    """The entries of one task; all for "all"."""
    return [row for row in rows if name in (ALL_TASKS, row[0].task)]


def paired(first: Sequence[Counted], second: Sequence[Counted]) -> list[tuple[Counted, Counted]]:
    """The predictions of two arms for the same record and task."""
    others = {(row.record, row.task): row for row in second}
    return [(row, others[row.record, row.task]) for row in first if (row.record, row.task) in others]


def _checked(
    predictions: Iterable[Prediction], records: Mapping[str, Record], tasks: Sequence[Task]
) -> list[Prediction]:
    names = {task.name for task in tasks}
    seen: dict[tuple[str, str], Prediction] = {}
    arms: set[str] = set()
    for prediction in predictions:
        where = f"prediction of arm {prediction.arm!r} for record {prediction.record!r}, task {prediction.task!r}"
        arms.add(prediction.arm)
        if prediction.record not in records:
            raise InputError(f"{where}: no such record. Predict again on the records of this run.")
        if prediction.task not in names:
            raise InputError(f"{where}: no such task; this run has {', '.join(sorted(names))}.")
        if (prediction.record, prediction.task) in seen:
            raise InputError(f"{where}: there is a second one. Delete the arm's file and predict again.")
        if len(arms) > 1:
            raise InputError(f"{where}: one arm is scored at a time, these are {', '.join(sorted(arms))}.")
        seen[prediction.record, prediction.task] = prediction
    return [seen[place] for place in sorted(seen)]
