"""What each filter is worth: what it alone rejects, and how right the kept labels are with and without it.

In: labels with every filter's objections, and gold where a record has it. Out: one dictionary for the manifest. No
label is judged again: a filter is left out by leaving out its objections. Must hold: numbers over the same labels in
every row; without gold no number that claims correctness.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from chartdistill.clinical.entities import entity_of
from chartdistill.curation.label_statistics import LabelStatistics, survey
from chartdistill.schema import Item, Label, Record, Rejection, Task

_ALL, _NONE = "all", "none"
ALL_DROPPED = "all_dropped"
"""Reason of a label of which every item was dropped: what came of the objections, and none of a filter."""


def left_of(items: tuple[Item, ...] | None, rejections: Iterable[Rejection]) -> tuple[Item, ...] | None:
    """What is left of an answer: None when the label is rejected, or when every one of its items was dropped."""
    if items is None:
        return None
    rejections = list(rejections)
    if any(rejection.item is None for rejection in rejections):
        return None
    dropped = {rejection.item for rejection in rejections}
    left = tuple(item for item in items if item not in dropped)
    return left if left or not items else None


class Ablation:
    """Counts over the judged labels of a run, for all filters, for none, and for all but one."""

    def __init__(self, filters: Sequence[str]) -> None:
        self._filters = filters
        self._labels_alone: Counter[str] = Counter()
        self._items_alone: Counter[str] = Counter()
        self._scores: dict[str, Counter[str]] = {name: Counter() for name in (_ALL, _NONE, *filters)}
        self._with_gold = 0

    def add(
        self,
        items: tuple[Item, ...] | None,
        rejections: Sequence[Rejection],
        gold: Sequence[Item] | None,
        task: Task,
    ) -> None:
        """Count one label that parsed; `items` is its whole answer, `rejections` every objection to it."""
        if items is None:
            return
        rejections = [rejection for rejection in rejections if rejection.reason != ALL_DROPPED]
        kept = left_of(items, rejections)
        against: dict[Item, set[str]] = {}
        for rejection in rejections:
            if rejection.item is not None:
                against.setdefault(rejection.item, set()).add(rejection.filter)
        self._items_alone.update(name for names in against.values() if len(names) == 1 for name in names)
        arms = {_ALL: kept, _NONE: items}
        for name in self._filters:
            arms[name] = left_of(items, [rejection for rejection in rejections if rejection.filter != name])
            self._labels_alone[name] += kept is None and arms[name] is not None
        if gold is None:
            return
        self._with_gold += 1
        entity = entity_of(task)
        wanted = Counter((entity.key(item.text), item.status) for item in gold if not item.optional)
        may_be = {entity.key(item.text) for item in gold if item.optional} - {key for key, _ in wanted}
        for name, answer in arms.items():
            if answer is not None:
                keys = ((entity.key(item.text), item.status) for item in answer)
                said = Counter(key for key in keys if key[0] not in may_be)
                right = (said & wanted).total()
                self._scores[name].update(
                    labels=1, exact=int(said == wanted), items=said.total(), right=right, wanted=wanted.total()
                )

    def summary(self) -> dict[str, Any]:
        """`filters.<name>`: labels and items it alone rejects; with gold also the quality of what is kept with all
        filters, with none, and without this one."""
        filters: dict[str, dict[str, Any]] = {
            name: {"labels_alone": self._labels_alone[name], "items_alone": self._items_alone[name]}
            for name in self._filters
        }
        if not self._with_gold:
            return {"labels_with_gold": 0, "filters": filters}
        for name in self._filters:
            filters[name]["kept_without_it"] = _quality(self._scores[name])
        return {
            "labels_with_gold": self._with_gold,
            "kept_with_all": _quality(self._scores[_ALL]),
            "kept_with_none": _quality(self._scores[_NONE]),
            "filters": filters,
        }


def ablation(
    labels: Iterable[tuple[Label, tuple[Item, ...] | None]],
    records: dict[str, Record],
    tasks: Sequence[Task],
    filters: Sequence[Any],
) -> dict[str, Any]:
    """The ablation of some filters over parsed labels; `curate` counts the same while it writes."""
    by_name = {task.name: task for task in tasks}
    pairs = list(labels)
    facts: LabelStatistics = survey((label.record, label.task, items) for label, items in pairs)
    counts = Ablation([one.type for one in filters])
    for label, items in pairs:
        record, task = records[label.record], by_name[label.task]
        rejections = [found for one in filters for found in one.check(label, items, record, task, facts)]
        counts.add(items, rejections, (record.gold or {}).get(task.name), task)
    return counts.summary()


def _quality(scores: Counter[str]) -> dict[str, Any]:
    """Item precision and recall, status included, and the share of labels that are right as a whole."""
    return {
        "labels": scores["labels"],
        "items": scores["items"],
        "precision": _share(scores["right"], scores["items"]),
        "recall": _share(scores["right"], scores["wanted"]),
        "labels_exact": _share(scores["exact"], scores["labels"]),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
