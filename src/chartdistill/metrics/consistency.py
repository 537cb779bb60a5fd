"""Does an arm give the same answer to the same chart, and is it the right one?

In: per record and task, the arm's answer to the record as it is, and to the same record in forms that must not change
the answer. Out: estimates. Must hold: consistency never stands alone: it is crossed with whether the first answer is
right, because an arm that always says the same wrong thing is perfectly consistent.

- `share_identical`: records on which all answers are the same set of items with the same statuses.
- `alpha`: Krippendorff's alpha for nominal data (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"):
  the units are the items that any of a record's answers names, the observers are the answers, the values are an
  item's status, "present" or "absent". 1: always the same; 0: no more alike than the values drawn at random.
- `consistent_right`, `consistent_wrong`, `inconsistent_right`, `inconsistent_wrong`: shares of records with gold; right
  when the answer to the record as it is has exactly the gold items and statuses (`record_exact`). They sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chartdistill.metrics.bootstrap import (
    Estimate,
    cluster_sums,
    percentile_interval,
    resample_weights,
    undefined,
)
from chartdistill.metrics.intervals import (
    FloatArray,
    Shares,
    difference_intervals,
    discordant,
    ratios,
    share_intervals,
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
    shares = share_estimates([one.cluster for one in sets], _counts(sets), unscored)
    return {"alpha": alpha(sets, unscored, seed, resamples), **shares}


def consistency_difference(pairs: Sequence[tuple[AnswerSet, AnswerSet]], unscored: int) -> dict[str, Estimate]:
    """The shares of the first arm minus those of the second, paired by cluster.

    `pairs`: both arms' answers to the same record and task. Alpha is left out: its units are the items that an arm
    names, so two arms have different ones.
    """
    firsts, seconds = _counts([one for one, _ in pairs]), _counts([two for _, two in pairs])
    if not pairs:
        return {name: undefined(f"no {unit} that both arms have", unscored) for name, (unit, _) in firsts.items()}
    clusters = [one.cluster for one, _ in pairs]
    arrays = [np.asarray([rows for _, rows in counts.values()], dtype=np.float64) for counts in (firsts, seconds)]
    above, below = ([cluster_sums(array[:, :, side].T, clusters) for array in arrays] for side in (0, 1))
    found = {}
    for column, (name, (unit, _)) in enumerate(firsts.items()):
        # The denominators are the same in both arms: gold is the record's.
        used = below[0][:, column] > 0
        if not used.any():
            found[name] = undefined(f"no {unit}", unscored)
            continue
        one, two = (_column(above[arm], below[0], column, used) for arm in (0, 1))
        low, high = difference_intervals(one, two)
        found[name] = Estimate(
            value=float(one.value[0] - two.value[0]), low=float(low[0]), high=float(high[0]),
            n=round(float(below[0][:, column].sum())), unscored=unscored, clusters=int(used.sum()),
            discordant=int(discordant(one, two)[0]),
        )  # fmt: skip
    return found


def _column(above: FloatArray, below: FloatArray, column: int, used: NDArray[np.bool_]) -> Shares:
    return ratios(above[used, column : column + 1], below[used, column : column + 1])


def share_estimates(
    clusters: Sequence[str], counts: Mapping[str, tuple[str, Sequence[tuple[float, float]]]], unscored: int
) -> dict[str, Estimate]:
    """Ratios of sums with intervals. `counts`: name -> (what the denominator counts, (numerator, denominator) of each
    row); `clusters`: of each row."""
    if not clusters:
        return {name: undefined(f"no {unit}", unscored) for name, (unit, _) in counts.items()}
    array = np.asarray([rows for _, rows in counts.values()], dtype=np.float64)
    above, below = cluster_sums(array[:, :, 0].T, clusters), cluster_sums(array[:, :, 1].T, clusters)
    found = {}
    for column, (name, (unit, _)) in enumerate(counts.items()):
        used = below[:, column] > 0
        if not used.any():
            found[name] = undefined(f"no {unit}", unscored)
            continue
        shares = _column(above, below, column, used)
        low, high = share_intervals(shares)
        found[name] = Estimate(
            value=float(shares.value[0]), low=float(low[0]), high=float(high[0]), n=round(float(shares.size[0])),
            unscored=unscored, clusters=int(used.sum()),
        )  # fmt: skip
    return found


def share_gap(
    clusters: Sequence[str],
    first: Sequence[tuple[float, float]],
    second: Sequence[tuple[float, float]],
    unscored: int,
) -> Estimate:
    """One ratio of sums minus another, paired by cluster; n counts the clusters that have a part in either.

    `first`, `second`: (numerator, denominator) of each row; `clusters`: of each row.
    """
    sums = (
        cluster_sums(np.asarray([(*a, *b) for a, b in zip(first, second, strict=True)]), clusters) if clusters else None
    )
    for side, place in (("first", 1), ("second", 3)):
        if sums is None or sums[:, place].sum() == 0:
            return undefined(f"the {side} of the two rates is not defined", unscored)
    assert sums is not None
    sums = sums[(sums[:, 1] > 0) | (sums[:, 3] > 0)]
    one, two = ratios(sums[:, [0]], sums[:, [1]]), ratios(sums[:, [2]], sums[:, [3]])
    low, high = difference_intervals(one, two)
    return Estimate(
        value=float(one.value[0] - two.value[0]), low=float(low[0]), high=float(high[0]), n=len(sums),
        unscored=unscored, clusters=len(sums), discordant=int(discordant(one, two)[0]),
    )  # fmt: skip


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
    low, high = percentile_interval(value, draws, len(sums)) or (None, None)
    reason = None if low is not None else "no interval: one cluster, or all clusters alike"
    return Estimate(value=value, low=low, high=high, n=len(units), unscored=unscored, reason=reason, clusters=len(sums))


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
