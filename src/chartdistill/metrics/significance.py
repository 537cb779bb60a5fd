"""How easily a difference between two arms arises when it does not matter which arm said what.

Approximate randomisation (Noreen 1989; Yeh, COLING 2000, for F1): per cluster of records the two arms' counts are
swapped with probability one half, and the share of swaps whose difference is at least as large, either way, as the one
seen is the p value, (1 + hits) / (1 + swaps). Whole clusters are swapped, since records of one cluster are not
independent. Holm (1979, Scandinavian Journal of Statistics 6, 65-70) corrects over a family of k tests that is declared
before any data are seen: the smallest p is multiplied by k, the next by k - 1, and a corrected p is never below one
before it. The family is what a page gives verdicts on ("better", "worse"): the chance that any of them is wrong is at
most 5%.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from chartdistill.metrics.intervals import FloatArray
from chartdistill.schema import Row

HEADLINE = ("joint_f1", "confabulation_rate", "abstention_specificity")
"""The three metrics that arms are tested on; fixed before any data are seen."""
LEAST_DISCORDANT = 6
"""No verdict rests on fewer clusters in which the arms differ: of five that all speak for the same arm the sign test
has p 2 / 2^5 = 0.06, so no test of theirs can show anything."""
SWAPS = 10_000
_CELLS_AT_ONCE = 4_000_000
"""Swaps x clusters held in memory at a time."""
_TIE = 1e-12


class PValue(Row):
    """Of one difference."""

    p: float | None
    """Two-sided; None where the difference is not defined."""
    holm: float | None
    """Corrected over the family it was tested in; None where it is in none, and so is no ground for a verdict."""
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
    block = max(1, min(2_000, _CELLS_AT_ONCE // len(above[0])))
    for first in range(0, swaps, block):
        swapped = generator.integers(2, size=(min(block, swaps - first), len(above[0]))).astype(np.float64)
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


def correct_family(tests: Mapping[str, Mapping[str, dict[str, Any]]], family: Collection[tuple[str, str]]) -> int:
    """Correct p values over a family, in place; those outside of it lose their correction.

    `tests`: pair of arms -> metric -> `PValue` as plain values. `family`: (pair, metric).

    Returns:
        How many tests of the family have a p value: what the correction is over.
    """
    names = {f"{pair} {metric}": tests[pair][metric] for pair, metric in family if metric in tests.get(pair, {})}
    corrected = holm({name: test["p"] for name, test in names.items()})
    for of in tests.values():
        for test in of.values():
            test["holm"] = None
    for name, test in names.items():
        test["holm"] = corrected[name]
    return sum(value is not None for value in corrected.values())
