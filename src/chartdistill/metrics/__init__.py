"""The drawer of metrics, and the scoring of arms.

In: predictions of one arm, the records they are about, the tasks. Out: task -> metric -> `Estimate`, where the task
"all" pools every task. Must hold: no engine, no network; a prediction that breaks the format is a wrong answer; one
whose engine failed is unscored and counted; metrics that need gold use only records with gold for the task.

To add a metric: one `Ratio` in the file it belongs to. It then has a value, an interval and a paired difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from chartdistill.errors import InputError
from chartdistill.metrics import abstention, confabulation, extraction, formatting
from chartdistill.metrics.intervals import (
    Estimate,
    FloatArray,
    cluster_sums,
    interval,
    resampled_ratios,
    undefined,
)
from chartdistill.metrics.matching import Outcome, Ratio, outcome
from chartdistill.schema import Item, Prediction, Record, Task

ALL_TASKS = "all"
"""Name under which all tasks are pooled."""

METRICS: dict[str, Ratio] = {
    **extraction.METRICS,
    **confabulation.METRICS,
    **abstention.METRICS,
    **formatting.METRICS,
}
"""Metric name -> ratio, in the order of a report."""

AGREEMENT: dict[str, Ratio] = {
    "teacher_f1": extraction.METRICS["f1"],
    "teacher_joint_f1": extraction.METRICS["joint_f1"],
}
"""The same ratios with the teacher's items in the place of gold: agreement, not correctness."""

Scores = dict[str, dict[str, Estimate]]
"""Task name -> metric name -> estimate."""

_Gold = Callable[[Record, Task], Sequence[Item] | None]


@dataclass(frozen=True, slots=True)
class _Scored:
    """One prediction, counted. `outcome` is None where it could not be scored."""

    record: str
    cluster: str
    task: str
    has_gold: bool
    outcome: Outcome | None


_RowsT = TypeVar("_RowsT", tuple[_Scored], tuple[_Scored, _Scored])


def score_arm(
    predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    resamples: int = 2000,
) -> Scores:
    """Score one arm with every metric of `METRICS`.

    `records`: record id -> record, for all predictions (more do no harm). Metrics that need gold are None, with the
    reason, for tasks without gold.

    Raises:
        InputError: a prediction of an unknown record or task, a second one of the same, or one of another arm.
    """
    scored = [(row,) for row in _score(predictions, records, tasks, _gold_of)]
    return _by_task(tasks, lambda name: _estimates(_of_task(scored, name), METRICS, seed, resamples))


def agreement(
    predictions: Iterable[Prediction],
    reference_predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    resamples: int = 2000,
) -> Scores:
    """Agreement with a reference arm (the teacher): `AGREEMENT`, with the reference's items in the place of gold.

    Where the reference gave no answer in the format there is nothing to agree with: unscored, and counted.

    Raises:
        InputError: as `score_arm`, for either arm.
    """
    reference = _reference_of(reference_predictions, records, tasks)
    scored = [(row,) for row in _score_by(reference, predictions, records, tasks)]
    return _by_task(tasks, lambda name: _estimates(_of_task(scored, name), AGREEMENT, seed, resamples))


def difference(
    predictions: Iterable[Prediction],
    other_predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    resamples: int = 2000,
    reference_predictions: Iterable[Prediction] | None = None,
) -> Scores:
    """Every metric of `METRICS`, first arm minus second, with a paired bootstrap over the clusters they share.

    With `reference_predictions` (the teacher's) also those of `AGREEMENT`. Only predictions that both arms have a
    score for take part, so the value can differ from the difference of the arms' own values. `n` counts the records
    (under "all": record-task pairs) on which at least one of the two has something in the metric's denominator;
    `unscored` the shared ones on which either could not be scored.

    Raises:
        InputError: as `score_arm`, for each arm.
    """
    arms = (list(predictions), list(other_predictions))
    pairs = _paired(*(_score(arm, records, tasks, _gold_of) for arm in arms))
    by_reference: list[tuple[_Scored, _Scored]] | None = None
    if reference_predictions is not None:
        reference = _reference_of(reference_predictions, records, tasks)
        by_reference = _paired(*(_score_by(reference, arm, records, tasks) for arm in arms))

    def of_task(name: str) -> dict[str, Estimate]:
        found = _differences(_of_task(pairs, name), METRICS, seed, resamples)
        if by_reference is not None:
            found |= _differences(_of_task(by_reference, name), AGREEMENT, seed, resamples)
        return found

    return _by_task(tasks, of_task)


def _by_task(tasks: Sequence[Task], scores: Callable[[str], dict[str, Estimate]]) -> Scores:
    return {name: scores(name) for name in (*(task.name for task in tasks), ALL_TASKS)}


def _of_task(scored: Sequence[_RowsT], name: str) -> list[_RowsT]:
    """The entries of one task; all for "all"."""
    return [rows for rows in scored if name in (ALL_TASKS, rows[0].task)]


def _paired(first: Sequence[_Scored], second: Sequence[_Scored]) -> list[tuple[_Scored, _Scored]]:
    """The predictions of two arms for the same record and task."""
    others = {(row.record, row.task): row for row in second}
    return [(row, others[row.record, row.task]) for row in first if (row.record, row.task) in others]


def _gold_of(record: Record, task: Task) -> Sequence[Item] | None:
    return None if record.gold is None else record.gold.get(task.name)


def _reference_of(predictions: Iterable[Prediction], records: Mapping[str, Record], tasks: Sequence[Task]) -> _Gold:
    checked = _checked(predictions, records, tasks)
    items = {(prediction.record, prediction.task): prediction.items for prediction in checked}
    return lambda record, task: items.get((record.id, task.name))


def _checked(
    predictions: Iterable[Prediction], records: Mapping[str, Record], tasks: Sequence[Task]
) -> list[Prediction]:
    """The predictions, in an order that does not depend on theirs."""
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


def _score(
    predictions: Iterable[Prediction], records: Mapping[str, Record], tasks: Sequence[Task], gold_of: _Gold
) -> list[_Scored]:
    by_name = {task.name: task for task in tasks}
    scored = []
    for prediction in _checked(predictions, records, tasks):
        record, task = records[prediction.record], by_name[prediction.task]
        gold = gold_of(record, task)
        counted = None if prediction.completion is None else outcome(prediction, gold, record, task)
        scored.append(_Scored(record.id, record.cluster, task.name, gold is not None, counted))
    return scored


def _score_by(
    reference: _Gold, predictions: Iterable[Prediction], records: Mapping[str, Record], tasks: Sequence[Task]
) -> list[_Scored]:
    """Score against a reference arm; unscored where that arm gave no usable answer."""
    scored = _score(predictions, records, tasks, reference)
    return [row if row.has_gold else replace(row, outcome=None) for row in scored]


def _counts(outcomes: Sequence[Outcome], metrics: Mapping[str, Ratio]) -> tuple[FloatArray, FloatArray]:
    """Numerators and denominators, predictions x metrics; 0 over 0 where a prediction has no part in a metric."""
    pairs = [[ratio.count(one) or (0.0, 0.0) for ratio in metrics.values()] for one in outcomes]
    array = np.asarray(pairs, dtype=np.float64).reshape(len(outcomes), len(metrics), 2)
    return array[:, :, 0], array[:, :, 1]


def _why_undefined(rows: Sequence[tuple[bool, bool]], unit: str) -> str:
    """Why a denominator is 0. `rows`: (has gold, was scored) of each prediction."""
    if not rows:
        return "no predictions"
    if not any(scored for _, scored in rows):
        return "no prediction could be scored"
    if not any(has_gold for has_gold, _ in rows):
        return f"no {unit}; the records have no gold for this task"
    return f"no {unit}"


def _estimates(
    rows: Sequence[tuple[_Scored]], metrics: Mapping[str, Ratio], seed: int, resamples: int
) -> dict[str, Estimate]:
    """The metrics of one arm."""
    done = [(row.cluster, row.outcome) for (row,) in rows if row.outcome is not None]
    unscored = len(rows) - len(done)
    facts = [(row.has_gold, row.outcome is not None) for (row,) in rows]
    if not done:
        return {name: undefined(_why_undefined(facts, ratio.unit), unscored) for name, ratio in metrics.items()}
    clusters = [cluster for cluster, _ in done]
    above, below = (cluster_sums(counts, clusters) for counts in _counts([one for _, one in done], metrics))
    draws = resampled_ratios([above], [below], resamples, seed)[0]
    estimates = {}
    for column, (name, ratio) in enumerate(metrics.items()):
        total = float(below[:, column].sum())
        if total == 0:
            estimates[name] = undefined(_why_undefined(facts, ratio.unit), unscored)
            continue
        value = float(above[:, column].sum()) / total
        num_clusters = int((below[:, column] > 0).sum())
        found = interval(value, draws[:, column], num_clusters, (0.0, 1.0) if ratio.bounded else None)
        estimates[name] = _estimate(value, found, round(total), unscored)
    return estimates


def _differences(
    pairs: Sequence[tuple[_Scored, _Scored]], metrics: Mapping[str, Ratio], seed: int, resamples: int
) -> dict[str, Estimate]:
    """The metrics of the first arm minus those of the second."""
    done = [(a.cluster, a.outcome, b.outcome) for a, b in pairs if a.outcome is not None and b.outcome is not None]
    unscored = len(pairs) - len(done)
    facts = [(a.has_gold, a.outcome is not None and b.outcome is not None) for a, b in pairs]
    if not done:
        return {name: undefined(_why_undefined(facts, ratio.unit), unscored) for name, ratio in metrics.items()}
    clusters = [cluster for cluster, _, _ in done]
    counts = [_counts([one for _, one, _ in done], metrics), _counts([one for _, _, one in done], metrics)]
    above = [cluster_sums(numerators, clusters) for numerators, _ in counts]
    below = [cluster_sums(denominators, clusters) for _, denominators in counts]
    taking_part = ((counts[0][1] > 0) | (counts[1][1] > 0)).sum(axis=0)
    clusters_taking_part = ((below[0] > 0) | (below[1] > 0)).sum(axis=0)
    first, second = resampled_ratios(above, below, resamples, seed)
    estimates = {}
    for column, (name, ratio) in enumerate(metrics.items()):
        totals = [float(sums[:, column].sum()) for sums in below]
        if 0 in totals:
            where = "" if totals[0] == totals[1] else f" in the {'first' if totals[0] == 0 else 'second'} arm"
            estimates[name] = undefined(_why_undefined(facts, ratio.unit) + where, unscored)
            continue
        values = [float(sums[:, column].sum()) / total for sums, total in zip(above, totals, strict=True)]
        limits = (-1.0, 1.0) if ratio.bounded else None
        draws = first[:, column] - second[:, column]
        value = values[0] - values[1]
        found = interval(value, draws, int(clusters_taking_part[column]), limits)
        estimates[name] = _estimate(value, found, int(taking_part[column]), unscored)
    return estimates


def _estimate(value: float, found: tuple[float, float] | None, n: int, unscored: int) -> Estimate:
    low, high = found or (None, None)
    reason = None if found else "no interval: one cluster, or all clusters alike"
    return Estimate(value=value, low=low, high=high, n=n, unscored=unscored, reason=reason)
