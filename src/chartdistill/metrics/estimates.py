"""Counts -> values with intervals: of one arm, and of the paired difference of two.

In: `Counted` rows and metrics. Out: metric -> `Estimate`. Must hold: an undefined value is None with the reason; a
difference uses only predictions that both arms have a score for, and is paired by cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chartdistill.metrics.bootstrap import Estimate, cluster_sums, mean_intervals, undefined
from chartdistill.metrics.counting import Counted
from chartdistill.metrics.intervals import (
    FloatArray,
    Shares,
    difference_intervals,
    discordant,
    mean_of,
    ratios,
    share_intervals,
)
from chartdistill.metrics.matching import Mean, Metric, Outcome

Metrics = Mapping[str, Metric]
ALIKE = "no interval: one cluster, or all clusters alike"


@dataclass(frozen=True)
class _Columns:
    """Numerators and denominators, predictions x columns. A `Ratio` has one column, a `Mean` one per group."""

    above: FloatArray
    below: FloatArray
    of: Mapping[str, slice]
    """Metric -> its columns."""


def _layout(metrics: Metrics, outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Metric -> its groups, one unnamed for a ratio."""
    return {
        name: sorted({group for one in outcomes for group in metric.groups(one)}) if isinstance(metric, Mean) else [""]
        for name, metric in metrics.items()
    }


def _columns(outcomes: Sequence[Outcome], metrics: Metrics, layout: Mapping[str, Sequence[str]]) -> _Columns:
    """0 over 0 where a prediction has no part in a metric."""
    parts: list[list[tuple[float, float]]] = []
    for one in outcomes:
        row: list[tuple[float, float]] = []
        for name, metric in metrics.items():
            if isinstance(metric, Mean):
                found = metric.groups(one)
                row += [found.get(group, (0.0, 0.0)) for group in layout[name]]
            else:
                row.append(metric.count(one) or (0.0, 0.0))
        parts.append(row)
    width = sum(len(groups) for groups in layout.values())
    array = np.asarray(parts, dtype=np.float64).reshape(len(outcomes), width, 2)
    places, start = {}, 0
    for name, groups in layout.items():
        places[name] = slice(start, start + len(groups))
        start += len(groups)
    return _Columns(array[:, :, 0], array[:, :, 1], places)


def _shares(above: FloatArray, below: FloatArray) -> Shares | None:
    """Clusters x groups of a metric as one column: the mean over groups with a denominator; None when none has one."""
    used = below.sum(axis=0) > 0
    return mean_of(ratios(above[:, used], below[:, used])) if used.any() else None


def why_undefined(rows: Sequence[Counted], scored: Sequence[bool], metric: Metric) -> str:
    """Why a denominator is 0; `scored` says of each row whether it took part."""
    if not rows:
        return "no predictions"
    if not any(scored):
        return "no prediction could be scored"
    if metric.needs_text and not any(row.has_text for row in rows):
        return f"no {metric.unit}; the text of the records was not given"
    if not any(row.has_gold for row in rows):
        return f"no {metric.unit}; the records have no gold for this task"
    return f"no {metric.unit}"


def estimates(rows: Sequence[tuple[Counted]], metrics: Metrics, seed: int, resamples: int) -> dict[str, Estimate]:
    """The metrics of one arm, with intervals."""
    flat = [row for (row,) in rows]
    done = [(row.cluster, row.outcome) for row in flat if row.outcome is not None]
    unscored, scored = len(flat) - len(done), [row.outcome is not None for row in flat]
    if not done:
        return {name: undefined(why_undefined(flat, scored, metric), unscored) for name, metric in metrics.items()}
    clusters, outcomes = [cluster for cluster, _ in done], [one for _, one in done]
    columns = _columns(outcomes, metrics, _layout(metrics, outcomes))
    above, below = cluster_sums(columns.above, clusters), cluster_sums(columns.below, clusters)
    found = {}
    for name, metric in metrics.items():
        own = columns.of[name]
        shares = _shares(above[:, own], below[:, own])
        if shares is None:
            found[name] = undefined(why_undefined(flat, scored, metric), unscored)
            continue
        taking_part = np.any(below[:, own] > 0, axis=1)
        shares = _only(shares, taking_part)
        span = _from_zero(_span(shares, seed, resamples)) if not metric.bounded else _first(share_intervals(shares))
        found[name] = Estimate(
            value=float(shares.value[0]), low=span and span[0], high=span and span[1],
            n=round(float(below[:, own].sum())), unscored=unscored, reason=None if span else ALIKE,
            clusters=int(taking_part.sum()),
        )  # fmt: skip
        if metric.size is not None:
            found[name] = _of_items(found[name], flat, metric.size)
    return found


def _of_items(estimate: Estimate, rows: Sequence[Counted], size: Callable[[Outcome], float]) -> Estimate:
    """With n as `size` counts it, and the records that have any."""
    sizes = [(row.record, size(row.outcome)) for row in rows if row.outcome is not None]
    records = {record for record, number in sizes if number}
    return estimate.model_copy(update={"n": round(sum(number for _, number in sizes)), "records": len(records)})


def differences(
    pairs: Sequence[tuple[Counted, Counted]], metrics: Metrics, seed: int, resamples: int
) -> dict[str, Estimate]:
    """The metrics of the first arm minus those of the second, with intervals from one set of resamples."""
    firsts = [first for first, _ in pairs]
    done = [(a.cluster, a.outcome, b.outcome) for a, b in pairs if a.outcome is not None and b.outcome is not None]
    scored = [a.outcome is not None and b.outcome is not None for a, b in pairs]
    unscored = len(pairs) - len(done)
    if not done:
        return {name: undefined(why_undefined(firsts, scored, metric), unscored) for name, metric in metrics.items()}
    clusters = [cluster for cluster, _, _ in done]
    layout = _layout(metrics, [one for _, *both in done for one in both])
    arms = [_columns([row[place] for row in done], metrics, layout) for place in (1, 2)]  # type: ignore[misc]
    above, below = ([cluster_sums(counts, clusters) for counts in side] for side in _sides(arms))
    found = {}
    for name, metric in metrics.items():
        own = arms[0].of[name]
        both = [_shares(above[arm][:, own], below[arm][:, own]) for arm in (0, 1)]
        if both[0] is None or both[1] is None:
            where = "" if both[0] is both[1] else f" in the {'first' if both[0] is None else 'second'} arm"
            found[name] = undefined(why_undefined(firsts, scored, metric) + where, unscored)
            continue
        taking_part = np.any(((below[0] > 0) | (below[1] > 0))[:, own], axis=1)
        one, two = _only(both[0], taking_part), _only(both[1], taking_part)
        span = (
            _span(_minus(one, two), seed, resamples) if not metric.bounded else _first(difference_intervals(one, two))
        )
        found[name] = Estimate(
            value=float(one.value[0] - two.value[0]), low=span and span[0], high=span and span[1],
            n=int(((arms[0].below > 0) | (arms[1].below > 0))[:, own].any(axis=1).sum()), unscored=unscored,
            reason=None if span else ALIKE, clusters=int(taking_part.sum()), discordant=int(discordant(one, two)[0]),
        )  # fmt: skip
    return found


def _sides(arms: Sequence[_Columns]) -> tuple[list[FloatArray], list[FloatArray]]:
    return [arm.above for arm in arms], [arm.below for arm in arms]


def _only(shares: Shares, taking_part: NDArray[np.bool_]) -> Shares:
    """The clusters that take part: those without denominator in either arm are no evidence."""
    return Shares(
        shares.above[taking_part], shares.below[taking_part], shares.residuals[taking_part], shares.value, shares.size
    )


def _minus(one: Shares, two: Shares) -> Shares:
    return Shares(
        one.above - two.above,
        (one.below + two.below) / 2,
        one.residuals - two.residuals,
        one.value - two.value,
        one.size,
    )


def _span(amounts: Shares, seed: int, resamples: int) -> tuple[float, float] | None:
    return mean_intervals(amounts.above, amounts.below, resamples, seed)[0]


def _from_zero(span: tuple[float, float] | None) -> tuple[float, float] | None:
    """Of an amount, which is never negative: Student's t of two clusters reaches far below 0."""
    return span and (max(0.0, span[0]), span[1])


def _first(ends: tuple[FloatArray, FloatArray]) -> tuple[float, float]:
    return float(ends[0][0]), float(ends[1][0])


def paired_sums(
    pairs: Sequence[tuple[Counted, Counted]], metrics: Metrics
) -> tuple[dict[str, tuple[FloatArray, FloatArray, FloatArray, FloatArray]], int]:
    """Per metric (ratios only) the sums by cluster: first above, first below, second above, second below.

    Returns them with the number of clusters.
    """
    done = [(a.cluster, a.outcome, b.outcome) for a, b in pairs if a.outcome is not None and b.outcome is not None]
    if not done:
        return {}, 0
    clusters = [cluster for cluster, _, _ in done]
    layout = _layout(metrics, [])
    first = _columns([one for _, one, _ in done], metrics, layout)
    second = _columns([two for _, _, two in done], metrics, layout)
    sums = [cluster_sums(part, clusters) for part in (first.above, first.below, second.above, second.below)]
    named = {
        name: (sums[0][:, own.start], sums[1][:, own.start], sums[2][:, own.start], sums[3][:, own.start])
        for name, own in first.of.items()
    }
    return named, len(sums[0])
