"""All figures of several arms on the same records, as one JSON object: what `evaluate` stores and `score` prints.

{"gold": {task: bool}, "matching": {...}, "arms": {arm: {task: {metric: Estimate}}},
 "differences": {"a-b": {task: {metric: Estimate}}}, "p_values": {"a-b": {task: {metric: PValue}}},
 "verdicts": n, "gates": {arm: {task: {condition: {"records": n, metric: Estimate}}}}}
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from chartdistill.clinical.lexica.ingredients import lexicon_used
from chartdistill.clinical.same_as import NOTHING_JUDGED, SameAs
from chartdistill.clinical.vocabulary import mark_of
from chartdistill.errors import InputError
from chartdistill.metrics import METRICS, Scores, agreement, difference, p_values, score_arm
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.metrics.pairing import RULES
from chartdistill.metrics.significance import HEADLINE, correct_family
from chartdistill.schema import Prediction, Record, Row, Task

AFTER_GATE = (
    "precision", "invented_rate", "wrong_kind_rate", "contradicted_rate", "confabulation_rate", "items_per_record",
)  # fmt: skip
"""What is reported apart for answers after a right and after a wrong gate."""

Gates = Mapping[tuple[str, str], str]
"""(record, task) -> the gate's answer: yes, no or unclear."""


def compare_arms(
    arms: Mapping[str, Sequence[Prediction]],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    pairs: Iterable[tuple[str, str]],
    seed: int = 0,
    resamples: int = 2000,
    reference: str | None = None,
    gates: Mapping[str, Gates] | None = None,
    same_as: SameAs = NOTHING_JUDGED,
) -> dict[str, Any]:
    """Score arms, the differences of `pairs` (first minus second), and what followed right and wrong gates.

    `reference`: the arm the others' agreement is measured with; None: no agreement. `gates`: arm -> its gates.
    `same_as`: names judged to be the same.

    Raises:
        InputError: an arm of `pairs` or `reference` that is not among `arms`; two pairs of one name; and as
            `metrics.score_arm`.
    """
    pairs = list(pairs)
    for arm in {*(arm for pair in pairs for arm in pair), *(gates or {}), *([reference] if reference else [])}:
        if arm not in arms:
            raise InputError(f"there are no predictions of an arm {arm!r}; there are those of {', '.join(arms)}.")
    known = None if reference is None else arms[reference]
    found: dict[str, Any] = {
        "gold": {},
        "matching": {"rules": RULES, "drug_lexicon": lexicon_used(), "pairs_judged_same": str(same_as.pairs)},
        "arms": {},
    }
    if (vocabulary := mark_of(tasks)) is not None:
        found["matching"]["vocabulary"] = vocabulary["hash"]
    for task in tasks:
        found["gold"][task.name] = any(task.name in (record.gold or {}) for record in records.values())
    for arm, rows in arms.items():
        scores = score_arm(rows, records, tasks, seed, resamples, same_as=same_as)
        if known is not None:
            for task_name, values in agreement(rows, known, records, tasks, seed, resamples, same_as).items():
                scores[task_name] |= values
        found["arms"][arm] = as_json(scores)
    named = {f"{first}-{second}": (arms[first], arms[second]) for first, second in pairs}
    if len(named) < len(set(pairs)):
        raise InputError(
            f"of the arms {', '.join(arms)} two pairs have the same name, first-second; give one of them a name "
            "without `-`."
        )
    found["differences"] = {
        name: as_json(difference(*both, records, tasks, seed, resamples, known, same_as))
        for name, both in named.items()
    }
    found["p_values"] = {
        name: as_json(p_values(*both, records, tasks, seed, same_as=same_as)) for name, both in named.items()
    }
    found["verdicts"] = correct(found["p_values"], [(pair, metric) for pair in named for metric in HEADLINE])
    found["gates"] = {
        arm: by_gate(arms[arm], answers, records, tasks, seed, resamples, same_as)
        for arm, answers in (gates or {}).items()
    }
    return found


def correct(p_values: Mapping[str, Mapping[str, Any]], family: Collection[tuple[str, str]]) -> int:
    """Correct the p values of a comparison over the family of its verdicts (all tasks pooled), in place.

    What is not in the family, also every single task, is left with its p value and without correction.

    Returns:
        How many tests that was over.
    """
    for of in p_values.values():
        for task, tests in of.items():
            if task != ALL_TASKS:
                correct_family({task: tests}, ())
    return correct_family({pair: of[ALL_TASKS] for pair, of in p_values.items()}, family)


def by_gate(
    predictions: Sequence[Prediction],
    gates: Gates,
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    resamples: int = 2000,
    same_as: SameAs = NOTHING_JUDGED,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Confabulation after a right and after a wrong gate: task -> condition -> {"records": n, metric: Estimate}.

    Conditions: `wrong yes` (gate yes, gold has none: the question that follows presupposes a yes), `right yes`,
    `wrong no`, `right no`, `unclear`. Left out are conditions that never occur, and records without gold or gate, or
    whose gold is all optional.
    """
    groups: dict[str, dict[str, list[Prediction]]] = {}
    for prediction in predictions:
        answer = gates.get((prediction.record, prediction.task))
        gold = (records[prediction.record].gold or {}).get(prediction.task)
        if answer is None or gold is None or (gold and all(item.optional for item in gold)):
            continue
        right = answer == ("yes" if gold else "no")
        condition = "unclear" if answer == "unclear" else f"{'right' if right else 'wrong'} {answer}"
        for name in (prediction.task, ALL_TASKS):
            groups.setdefault(name, {}).setdefault(condition, []).append(prediction)
    metrics = {name: METRICS[name] for name in AFTER_GATE}
    names = [name for name in (*(task.name for task in tasks), ALL_TASKS) if name in groups]
    return {
        name: {
            condition: {
                "records": len(rows),
                **as_json(score_arm(rows, records, tasks, seed, resamples, metrics, same_as))[name],
            }
            for condition, rows in sorted(groups[name].items())
        }
        for name in names
    }


def as_json(found: Scores | Mapping[str, Mapping[str, Row]]) -> dict[str, dict[str, Any]]:
    """Estimates or p values as plain values."""
    return {task: {metric: row.model_dump() for metric, row in rows.items()} for task, rows in found.items()}
