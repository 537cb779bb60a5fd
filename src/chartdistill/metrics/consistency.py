"""Does an arm give the same answer to the same chart, and is it the right one?

In: per record and task, the arm's answer to the record as it is, and to the same record in forms that must not change
the answer. Out: estimates. Must hold: consistency never stands alone: it is crossed with whether the first answer is
right, because an arm that always says the same wrong thing is perfectly consistent.

- `share_identical`: records on which all answers are the same set of items with the same statuses.
- `alpha`: Krippendorff's alpha for nominal data (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"):
  the units are the items that any of a record's answers names, the observers are the answers, the values are an
  item's status, "present" or "absent". 1: always the same; 0: no more alike than the values drawn at random.
- `consistent_right`, `consistent_wrong`, `inconsistent_right`, `inconsistent_wrong`: shares of records with gold; right
  when the answer to the record as it is has exactly the gold items and statuses. They sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chartdistill.metrics.bootstrap import (
    Estimate,
    FloatArray,
    cluster_sums,
    interval,
    resample_weights,
    resampled_ratios,
    undefined,
)

ItemSet = frozenset[tuple[str, str | None]]
"""(key, status) of each item of an answer."""
BROKEN: ItemSet = frozenset({("", "broken format")})
"""Stands for an answer that does not follow the format: the same as another such, different from all others."""
ABSENT, PRESENT = "absent", "present"


@dataclass(frozen=True, slots=True)
class AnswerSet:
    """The answers to one record and task."""

    cluster: str
    answers: tuple[ItemSet, ...]
    """The answer to the record as it is, then the others; at least two."""
    right: bool | None
    """Whether the first is right; None without gold."""

    @property
    def identical(self) -> bool:
        """Whether all answers are the same."""
        return len(set(self.answers)) == 1


Counts = dict[str, tuple[str, list[tuple[float, float]]]]
"""Name -> (what the denominator counts, (numerator, denominator) of each row)."""


def _counts(sets: Sequence[AnswerSet]) -> Counts:
    return {
        "share_identical": ("records", [(one.identical, 1) for one in sets]),
        **{
            f"{'' if same else 'in'}consistent_{'right' if right else 'wrong'}": (
                "records with gold",
                [(0, 0) if one.right is None else (one.identical is same and one.right is right, 1) for one in sets],
            )
            for same in (True, False)
            for right in (True, False)
        },
    }


def consistency(sets: Sequence[AnswerSet], unscored: int, seed: int, resamples: int) -> dict[str, Estimate]:
    """All figures of consistency. `unscored`: records left out because an engine failed."""
    ratios = share_estimates([one.cluster for one in sets], _counts(sets), unscored, seed, resamples)
    return {"alpha": alpha(sets, unscored, seed, resamples), **ratios}


def consistency_difference(
    pairs: Sequence[tuple[AnswerSet, AnswerSet]], unscored: int, seed: int, resamples: int
) -> dict[str, Estimate]:
    """The shares of the first arm minus those of the second, with one set of resamples for both.

    `pairs`: both arms' answers to the same record and task. Alpha is left out: its units are the items that an arm
    names, so two arms have different ones.
    """
    firsts, seconds = _counts([one for one, _ in pairs]), _counts([two for _, two in pairs])
    if not pairs:
        return {name: undefined(f"no {unit} that both arms have", unscored) for name, (unit, _) in firsts.items()}
    clusters = [one.cluster for one, _ in pairs]
    arrays = [np.asarray([rows for _, rows in counts.values()], dtype=np.float64) for counts in (firsts, seconds)]
    above, below = ([cluster_sums(array[:, :, side].T, clusters) for array in arrays] for side in (0, 1))
    draws = resampled_ratios(above, below, resamples, seed)
    found = {}
    for column, (name, (unit, _)) in enumerate(firsts.items()):
        total = float(below[0][:, column].sum())  # the same in both arms: gold is the record's
        if total == 0:
            found[name] = undefined(f"no {unit}", unscored)
            continue
        value = float(above[0][:, column].sum() - above[1][:, column].sum()) / total
        gaps = draws[0][:, column] - draws[1][:, column]
        low, high = interval(value, gaps, int((below[0][:, column] > 0).sum()), (-1.0, 1.0)) or (None, None)
        found[name] = Estimate(value=value, low=low, high=high, n=round(total), unscored=unscored)
    return found


def share_estimates(
    clusters: Sequence[str],
    counts: Mapping[str, tuple[str, Sequence[tuple[float, float]]]],
    unscored: int,
    seed: int,
    resamples: int,
) -> dict[str, Estimate]:
    """Ratios of sums with intervals. `counts`: name -> (what the denominator counts, (numerator, denominator) of each
    row); `clusters`: of each row."""
    if not clusters:
        return {name: undefined(f"no {unit}", unscored) for name, (unit, _) in counts.items()}
    array = np.asarray([rows for _, rows in counts.values()], dtype=np.float64)
    above, below = cluster_sums(array[:, :, 0].T, clusters), cluster_sums(array[:, :, 1].T, clusters)
    draws = resampled_ratios([above], [below], resamples, seed)[0]
    found = {}
    for column, (name, (unit, _)) in enumerate(counts.items()):
        total = float(below[:, column].sum())
        if total == 0:
            found[name] = undefined(f"no {unit}", unscored)
            continue
        value = float(above[:, column].sum()) / total
        span = interval(value, draws[:, column], int((below[:, column] > 0).sum()), (0.0, 1.0))
        low, high = span or (None, None)
        found[name] = Estimate(value=value, low=low, high=high, n=round(total), unscored=unscored)
    return found


def share_gap(
    clusters: Sequence[str],
    first: Sequence[tuple[float, float]],
    second: Sequence[tuple[float, float]],
    unscored: int,
    seed: int,
    resamples: int,
) -> Estimate:
    """One ratio of sums minus another, with one set of resamples; n counts the clusters that have a part in either.

    `first`, `second`: (numerator, denominator) of each row; `clusters`: of each row.
    """
    sums = (
        cluster_sums(np.asarray([(*a, *b) for a, b in zip(first, second, strict=True)]), clusters) if clusters else None
    )
    for side, place in (("first", 1), ("second", 3)):
        if sums is None or sums[:, place].sum() == 0:
            return undefined(f"the {side} of the two rates is not defined", unscored)
    assert sums is not None
    values = sums.sum(axis=0)
    value = float(values[0] / values[1] - values[2] / values[3])
    draws = resampled_ratios([sums[:, [0]], sums[:, [2]]], [sums[:, [1]], sums[:, [3]]], resamples, seed)
    taking_part = int(((sums[:, 1] > 0) | (sums[:, 3] > 0)).sum())
    low, high = interval(value, (draws[0] - draws[1])[:, 0], taking_part, (-1.0, 1.0)) or (None, None)
    return Estimate(value=value, low=low, high=high, n=taking_part, unscored=unscored)


def alpha(sets: Sequence[AnswerSet], unscored: int, seed: int, resamples: int) -> Estimate:
    """Krippendorff's alpha over items, with a bootstrap over clusters; n counts items."""
    units = [(one.cluster, unit) for one in sets for unit in item_units(one.answers)]
    if not units:
        return undefined("no items: no answer names any", unscored)
    values = sorted({value for _, unit in units for value in unit})
    tables = np.stack([coincidences(unit, values).ravel() for _, unit in units])
    sums = cluster_sums(tables, [cluster for cluster, _ in units])
    value = float(_alphas(sums.sum(axis=0, keepdims=True), len(values))[0])
    if np.isnan(value):
        same = f"all items are {values[0]} in all answers: without variation alpha is not defined"
        return undefined(same, unscored).model_copy(update={"n": len(units)})
    draws = np.concatenate(
        [_alphas(weights @ sums, len(values)) for weights in resample_weights(len(sums), resamples, seed)]
    )
    low, high = interval(value, draws, len(sums), None) or (None, None)
    reason = None if low is not None else "no interval: one cluster, or all clusters alike"
    return Estimate(value=value, low=low, high=high, n=len(units), unscored=unscored, reason=reason)


def item_units(answers: Sequence[ItemSet]) -> list[list[str]]:
    """One unit per item that any answer names: its value in each answer, statuses joined where an answer has two."""
    keys = sorted({key for answer in answers for key, _ in answer})
    return [
        ["+".join(sorted(status or PRESENT for name, status in answer if name == key)) or ABSENT for answer in answers]
        for key in keys
    ]


def coincidences(unit: Sequence[str], values: Sequence[str]) -> FloatArray:
    """The coincidence matrix of one unit: pairs of its values from different observers, over observers minus one."""
    counts = np.array([unit.count(value) for value in values], dtype=np.float64)
    if len(unit) < 2:
        return np.zeros((len(values), len(values)))
    pairs: FloatArray = (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    return pairs


def _alphas(tables: FloatArray, size: int) -> FloatArray:
    """Alpha of each coincidence matrix (rows x size^2): 1 - (n - 1) * disagreements seen / expected; NaN for 0 / 0."""
    matrices = tables.reshape(-1, size, size)
    totals = matrices.sum(axis=2)
    n = totals.sum(axis=1)
    seen = n - np.trace(matrices, axis1=1, axis2=2)
    expected = n**2 - (totals**2).sum(axis=1)
    found: FloatArray = 1 - (n - 1) * np.divide(seen, expected, out=np.full_like(seen, np.nan), where=expected > 1e-9)
    return found
