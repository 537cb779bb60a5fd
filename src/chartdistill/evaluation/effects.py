"""Does an answer follow an edit, and only what the edit concerns?

In: variants, an arm's answers to the records as they are and to the variants. Out: per task the rate of each effect,
the rate of its placebo, and the one minus the other, with intervals over clusters.

- `vanish_rate`: of deleted items that the arm named before, those it names no more. `vanish_placebo_rate`: another
  sentence deleted, the same item gone or its status another.
- `appear_rate`: of inserted items, those it names now, with their status. `appear_placebo_rate`: a sentence inserted
  that says nothing, and an item named that was not before.
- `flip_rate`: of flipped items that it had right before, those it has right after. `flip_placebo_rate`: the same edit,
  of all other items of the answer those that are gone or have another status.

`vanish_effect`, `appear_effect`, `flip_effect`: rate minus placebo rate. An arm that answers anything to any change has
rates as high as its placebo's. Must hold: an answer that breaks the format has neither lost nor found an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.evaluation.variant import EFFECTS, PLACEBOS, Kind, Variant
from chartdistill.metrics.consistency import share_estimates, share_gap
from chartdistill.schema import Item, Prediction, Record, Task

Answers = Mapping[tuple[str, str], Prediction]
"""(record or variant id, task) -> an arm's answer."""
Count = tuple[float, float]
"""(had the effect, could have had it)."""

UNITS = {
    "vanish_rate": "deleted items that the arm named before",
    "vanish_placebo_rate": "items that the arm named before, in charts with another sentence deleted",
    "appear_rate": "inserted items",
    "appear_placebo_rate": "charts with a sentence inserted that says nothing",
    "flip_rate": "flipped items that the arm had right before",
    "flip_placebo_rate": "other items that the arm named before, in charts with a flipped item",
}
"""Rate -> what its denominator counts."""
EFFECT_OF = {"vanish_effect": "vanish", "appear_effect": "appear", "flip_effect": "flip"}
_RATES_OF: dict[Kind, tuple[str, ...]] = {
    "deleted": ("vanish_rate",),
    "deleted_elsewhere": ("vanish_placebo_rate",),
    "inserted": ("appear_rate",),
    "inserted_elsewhere": ("appear_placebo_rate",),
    "flipped": ("flip_rate", "flip_placebo_rate"),
}


def score_effects(
    variants: Sequence[Variant],
    before: Answers,
    after: Answers,
    records: Mapping[str, Record],
    tasks: Sequence[Task],
) -> dict[str, Any]:
    """{rate or effect: Estimate} over the variants of these tasks."""
    by_name = {task.name: task for task in tasks}
    clusters: list[str] = []
    counts: dict[str, list[Count]] = {rate: [] for rate in UNITS}
    unscored = dict.fromkeys(UNITS, 0)
    for variant in variants:
        if variant.kind not in (*EFFECTS, *PLACEBOS) or variant.task not in by_name:
            continue
        task = by_name[variant.task]
        first, second = before.get((variant.record, task.name)), after.get((variant.id, task.name))
        own = _RATES_OF[variant.kind]
        if first is None or second is None or first.completion is None or second.completion is None:
            for rate in own:
                unscored[rate] += 1
            continue
        clusters.append(records[variant.record].cluster)
        for rate in UNITS:
            counts[rate].append(_count(rate, variant, first, second, task) if rate in own else (0, 0))
    found = {
        rate: share_estimates(clusters, {"rate": (unit, counts[rate])}, unscored[rate])["rate"]
        for rate, unit in UNITS.items()
    }
    for effect, name in EFFECT_OF.items():
        rate, placebo = f"{name}_rate", f"{name}_placebo_rate"
        not_scored = unscored[rate] + unscored[placebo]
        found[effect] = share_gap(clusters, counts[rate], counts[placebo], not_scored)
    return {name: estimate.model_dump() for name, estimate in found.items()}


def _count(rate: str, variant: Variant, before: Prediction, after: Prediction, task: Task) -> Count:
    if rate == "appear_placebo_rate":
        new = _keys(after, task) - _keys(before, task)
        return (0, 0) if before.items is None else (bool(new), 1)
    assert variant.item is not None
    was, now = statuses(variant.item, before, task), statuses(variant.item, after, task)
    match rate:
        case "vanish_rate":
            return (after.items is not None and not now, 1) if was else (0, 0)
        case "vanish_placebo_rate":
            return (after.items is not None and now != was, 1) if was else (0, 0)
        case "appear_rate":
            return (0, 0) if was else ((variant.status in now) if task.statuses else bool(now), 1)
        case "flip_rate":
            return (now == {variant.status}, 1) if was == {variant.item.status} else (0, 0)
    others = {item.text: item for item in before.items or () if not _is_same(variant.item, item, task)}
    changed = [item for item in others.values() if statuses(item, after, task) != statuses(item, before, task)]
    return (len(changed) if after.items is not None else 0, len(others))


def _keys(answer: Prediction, task: Task) -> set[str]:
    return {entity_of(task).match_key(item.text) for item in answer.items or ()}


def _is_same(item: Item, said: Item, task: Task) -> bool:
    entity = entity_of(task)
    same = entity.same(said.text, item.text)
    return same or next(occurrences(item.text, said.text), None) is not None


def statuses(item: Item, answer: Prediction, task: Task) -> set[str | None]:
    """The statuses an answer gives an item; empty where it does not name it."""
    return {said.status for said in answer.items or () if _is_same(item, said, task)}
