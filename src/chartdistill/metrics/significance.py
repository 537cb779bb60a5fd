"""How easily a difference between two arms arises when it does not matter which arm said what.

Approximate randomisation (Noreen 1989; Yeh, COLING 2000, for F1): per cluster of records the two arms' counts are
swapped with probability one half, and the share of swaps whose difference is at least as large, either way, as the
one seen is the p value, (1 + hits) / (1 + swaps). Whole clusters are swapped, since records of one cluster are not
independent. Holm (1979) corrects for the three headline metrics of a pair of arms: the smallest p is multiplied by
three, the next by two, and a corrected p is never below one before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from chartdistill.metrics.bootstrap import FloatArray
from chartdistill.schema import Row

HEADLINE = ("joint_f1", "confabulation_rate", "abstention_specificity")
"""The three metrics that arms are tested on; fixed before any data are seen."""
SWAPS = 10_000
_BLOCK = 2_000
_TIE = 1e-12


class PValue(Row):
    """Of one difference."""

    p: float | None
    """Two-sided; None where the difference is not defined."""
    holm: float | None
    """Corrected for the headline metrics of the same pair and task that have a p value."""
    clusters: int
    """What was swapped."""
    reason: str | None = None
    """Why there is no p value."""


def p_value(
    above: tuple[FloatArray, FloatArray], below: tuple[FloatArray, FloatArray], swaps: int, seed: int
) -> float | None:
    """Two-sided p of the difference of two ratios of sums; None where a denominator is 0.

    `above` and `below`: numerators and denominators by cluster, of the first and of the second arm.
    """
    seen = _gap(*(np.array([part.sum()]) for pair in (above, below) for part in pair))[0]
    if np.isnan(seen):
        return None
    generator = np.random.default_rng(seed)
    hits = total = 0
    for first in range(0, swaps, _BLOCK):
        swapped = generator.integers(2, size=(min(_BLOCK, swaps - first), len(above[0]))).astype(np.float64)
        sums = [
            kept.sum() + swapped @ (other - kept)
            for one, two in (above, below)
            for kept, other in ((one, two), (two, one))
        ]
        gaps = _gap(*sums)
        gaps = gaps[~np.isnan(gaps)]
        hits += int((np.abs(gaps) >= abs(seen) - _TIE).sum())
        total += len(gaps)
    return (1 + hits) / (1 + total)


def _gap(above: FloatArray, other_above: FloatArray, below: FloatArray, other_below: FloatArray) -> FloatArray:
    """Difference of two ratios; NaN where a denominator is 0."""
    ratios = [
        np.divide(top, bottom, out=np.full_like(bottom, np.nan), where=bottom > 0)
        for top, bottom in ((above, below), (other_above, other_below))
    ]
    gap: FloatArray = ratios[0] - ratios[1]
    return gap


def holm(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's correction over the values that are there."""
    ordered = sorted((value, name) for name, value in values.items() if value is not None)
    corrected: dict[str, float | None] = dict.fromkeys(values)
    highest = 0.0
    for place, (value, name) in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - place) * value))
        corrected[name] = highest
    return corrected
