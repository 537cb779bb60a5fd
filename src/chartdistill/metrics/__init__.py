"""The drawer of metrics, and the scoring of arms.

In: predictions of one arm, the records they are about, the tasks. Out: task -> metric -> `Estimate`, where the task
"all" pools every task. Must hold: no engine, no network; a prediction that breaks the format is a wrong answer; one
whose engine failed is unscored and counted; metrics that need gold use only records with gold for the task.

To add a metric: one `Ratio` (or `Mean`) in the file it belongs to. It then has a value, an interval and a paired
difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from chartdistill.clinical.same_as import NOTHING_JUDGED, SameAs
from chartdistill.metrics import abstention, confabulation, dosage, extraction, formatting, status
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.counting import ALL_TASKS, Counted, count, count_against, of_task, paired
from chartdistill.metrics.estimates import differences, estimates, paired_sums, why_undefined
from chartdistill.metrics.matching import Metric
from chartdistill.metrics.significance import HEADLINE, SWAPS, PValue, holm, p_value
from chartdistill.schema import Prediction, Record, Task

__all__ = [
    "AGREEMENT", "ALL_TASKS", "HEADLINE", "METRICS", "PValues", "Scores", "agreement", "difference", "p_values",
    "score_arm",
]  # fmt: skip

METRICS: dict[str, Metric] = {
    **extraction.METRICS,
    **status.METRICS,
    **confabulation.METRICS,
    **dosage.METRICS,
    **abstention.METRICS,
    **formatting.METRICS,
}
"""Metric name -> metric, in the order of a report."""

AGREEMENT: dict[str, Metric] = {
    "teacher_recall": extraction.METRICS["recall"],
    "teacher_f1": extraction.METRICS["f1"],
    "teacher_joint_f1": extraction.METRICS["joint_f1"],
}
"""The same with the teacher's items in the place of gold: agreement, not correctness."""

Scores = dict[str, dict[str, Estimate]]
"""Task name -> metric name -> estimate."""
PValues = dict[str, dict[str, PValue]]
"""Task name -> headline metric -> p value."""

_FoundT = TypeVar("_FoundT")


def score_arm(
    predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    resamples: int = 2000,
    metrics: Mapping[str, Metric] = METRICS,
    same_as: SameAs = NOTHING_JUDGED,
) -> Scores:
    """Score one arm with every metric of `metrics`.

    `records`: record id -> record, for all predictions (more do no harm). `same_as`: names judged to be the same.
    Metrics that need gold are None, with the reason, for tasks without gold.

    Raises:
        InputError: a prediction of an unknown record or task, a second one of the same, or one of another arm.
    """
    rows = [(row,) for row in count(predictions, records, tasks, same_as=same_as)]
    return _by_task(tasks, lambda name: estimates(of_task(rows, name), metrics, seed, resamples))


def agreement(
    predictions: Iterable[Prediction],
    reference_predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    resamples: int = 2000,
    same_as: SameAs = NOTHING_JUDGED,
) -> Scores:
    """Agreement with a reference arm (the teacher): `AGREEMENT`, with the reference's items in the place of gold.

    Where the reference gave no answer in the format there is nothing to agree with: unscored, and counted.

    Raises:
        InputError: as `score_arm`, for either arm.
    """
    rows = [(row,) for row in count_against(reference_predictions, predictions, records, tasks, same_as)]
    return _by_task(tasks, lambda name: estimates(of_task(rows, name), AGREEMENT, seed, resamples))


def difference(
    predictions: Iterable[Prediction],
    other_predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    resamples: int = 2000,
    reference_predictions: Iterable[Prediction] | None = None,
    same_as: SameAs = NOTHING_JUDGED,
) -> Scores:
    """Every metric of `METRICS`, first arm minus second, with a paired bootstrap over the clusters they share.

    With `reference_predictions` (the teacher's) also those of `AGREEMENT`. Only predictions that both arms have a
    score for take part, so the value can differ from the difference of the arms' own values. `n` counts the records
    (under "all": record-task pairs) on which at least one of the two has something in the metric's denominator;
    `unscored` the shared ones on which either could not be scored.

    Raises:
        InputError: as `score_arm`, for each arm.
    """
    first, second = list(predictions), list(other_predictions)
    pairs = paired(*(count(arm, records, tasks, same_as=same_as) for arm in (first, second)))
    by_reference: list[tuple[Counted, Counted]] | None = None
    if reference_predictions is not None:
        reference = list(reference_predictions)
        by_reference = paired(*(count_against(reference, arm, records, tasks, same_as) for arm in (first, second)))

    def found(name: str) -> dict[str, Estimate]:
        values = differences(of_task(pairs, name), METRICS, seed, resamples)
        if by_reference is not None:
            values |= differences(of_task(by_reference, name), AGREEMENT, seed, resamples)
        return values

    return _by_task(tasks, found)


def p_values(
    predictions: Iterable[Prediction],
    other_predictions: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int = 0,
    swaps: int = SWAPS,
    same_as: SameAs = NOTHING_JUDGED,
) -> PValues:
    """Approximate-randomisation p values of the headline metrics, first arm against second, corrected by Holm.

    Raises:
        InputError: as `score_arm`, for each arm.
    """
    pairs = paired(*(count(arm, records, tasks, same_as=same_as) for arm in (predictions, other_predictions)))
    return _by_task(tasks, lambda name: _tested(of_task(pairs, name), seed, swaps))


def _tested(pairs: Sequence[tuple[Counted, Counted]], seed: int, swaps: int) -> dict[str, PValue]:
    metrics = {name: METRICS[name] for name in HEADLINE}
    sums, num_clusters = paired_sums(pairs, metrics)
    raw = {
        name: p_value((above, other_above), (below, other_below), swaps, seed)
        for name, (above, below, other_above, other_below) in sums.items()
    }
    values = {name: raw.get(name) for name in HEADLINE}
    firsts = [first for first, _ in pairs]
    scored = [a.outcome is not None and b.outcome is not None for a, b in pairs]
    return {
        name: PValue(
            p=values[name],
            holm=corrected,
            clusters=num_clusters,
            reason=why_undefined(firsts, scored, metrics[name]) + " in one of the arms" if corrected is None else None,
        )
        for name, corrected in holm(values).items()
    }


def _by_task(tasks: Sequence[Task], found: Callable[[str], _FoundT]) -> dict[str, _FoundT]:
    return {name: found(name) for name in (*(task.name for task in tasks), ALL_TASKS)}
