"""Whether probabilities mean what they say: calibration error, Brier score, and what remains at a wanted precision.

In: of each item its probability, whether it is right, and the cluster of its record. Out: a `Reliability`, with
intervals by clusters. What must hold: bins and thresholds are set before the interval is made; items that are equally
likely are never told apart.

- Calibration error (ECE): the mean of |share right - mean probability| over bins, weighted by their items (Naeini,
  Cooper and Hauskrecht 2015, Obtaining well calibrated probabilities using Bayesian binning), in bins of equal mass,
  not of equal width (Nixon et al. 2019, Measuring calibration in deep learning): answers pile up near 1. It is above 0
  by chance alone; `ece_by_chance` says what it would be on average if every probability were the true one (after
  Broecker and Smith 2007, Increasing the reliability of reliability diagrams). Its interval is the percentile
  bootstrap's, which leans upwards for the same reason.
- Brier score: the mean of (probability - right)^2 (Brier 1950), with the interval of a share.
- Risk and coverage (El-Yaniv and Wiener 2010, On the foundations of noise-free selective classification): of the items
  from a probability on, the share of all, and the share of them that is right. The threshold for a wanted precision is
  the lowest from which on Clopper and Pearson's one-sided 95% limit of that share is not below it (a bound, as Geifman
  and El-Yaniv 2017, Selective classification for deep neural networks): the lowest where the share itself reaches it
  is one of many that were looked at, and on other items mostly below (`tests/metrics/test_reliability.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # `scipy.stats` is loaded by its first use: most verbs need none of it
from numpy.typing import NDArray

from chartdistill.metrics.bootstrap import (
    Estimate,
    cluster_sums,
    percentile_interval,
    resample_weights,
    undefined,
)
from chartdistill.metrics.estimates import ALIKE
from chartdistill.metrics.intervals import LEVEL, FloatArray, ratios, share_intervals
from chartdistill.schema import Row

BINS = 10
LEAST_IN_BIN = 10
"""With fewer items than `BINS` times this there are fewer bins."""
MOST_POINTS = 200
"""Of a curve that is stored."""
_CHANCE_DRAWS = 400


class Bin(Row):
    """Items whose probabilities lie beside each other."""

    items: int
    probability: float
    """Their mean."""
    right: float
    """The share of them that is right."""


class Reliability(Row):
    """How probabilities held, of the items of one task (or of all)."""

    items: int
    right: int
    bins: tuple[Bin, ...]
    ece: Estimate
    ece_by_chance: float | None
    """What it would be on average if each item were right with its probability."""
    ece_before: Estimate
    """Of the model's own probabilities, in as many bins."""
    brier: Estimate
    brier_before: Estimate
    coverage: Estimate | None
    """Share of the items at or above the threshold; None where there is no threshold."""
    precision: Estimate | None
    """Of those, the share that is right."""
    curve: tuple[tuple[float, float], ...]
    """(coverage, precision) from the likeliest item to all."""


@dataclass(frozen=True)
class JudgedItems:
    """Items with their probabilities, one entry each."""

    probabilities: FloatArray
    right: NDArray[np.bool_]
    clusters: Sequence[str]


def reliability(
    items: JudgedItems, before: FloatArray, threshold: float | None, seed: int = 0, resamples: int = 2000
) -> Reliability:
    """`before`: the model's own probabilities of the same items."""
    own = JudgedItems(before, items.right, items.clusters)
    above = None if threshold is None else items.probabilities >= threshold
    return Reliability(
        items=len(items.right),
        right=int(items.right.sum()),
        bins=_bins(items),
        ece=calibration_error(items, seed, resamples),
        ece_by_chance=_by_chance(items.probabilities, seed),
        ece_before=calibration_error(own, seed, resamples),
        brier=brier_score(items),
        brier_before=brier_score(own),
        coverage=None if above is None else _share(above, np.ones_like(above), items.clusters),
        precision=None if above is None else _share(above & items.right, above, items.clusters),
        curve=_thinned(coverage_curve(items)),
    )


def bin_places(probabilities: FloatArray) -> NDArray[np.int64]:
    """The bin of each item, by quantiles: equal ones share a bin, so bins can be fewer, or unequal."""
    number = max(1, min(BINS, len(probabilities) // LEAST_IN_BIN))
    inner = np.unique(np.quantile(probabilities, np.arange(1, number) / number, method="lower"))
    places = np.searchsorted(inner, probabilities, side="left")
    return np.unique(places, return_inverse=True)[1]


def _bins(items: JudgedItems) -> tuple[Bin, ...]:
    if not len(items.right):
        return ()
    places = bin_places(items.probabilities)
    number = np.bincount(places)
    probability = np.bincount(places, items.probabilities) / number
    right = np.bincount(places, items.right.astype(np.float64)) / number
    found = zip(number.tolist(), probability.tolist(), right.tolist(), strict=True)
    return tuple(Bin(items=n, probability=p, right=share) for n, p, share in found)


def calibration_error(items: JudgedItems, seed: int = 0, resamples: int = 2000) -> Estimate:
    """ECE, with the percentile bootstrap over clusters."""
    n = len(items.right)
    if not n:
        return undefined("no items", 0)
    places = bin_places(items.probabilities)
    gaps = items.right - items.probabilities
    by_bin = np.zeros((n, int(places.max()) + 1))
    by_bin[np.arange(n), places] = gaps
    sums = cluster_sums(np.column_stack([by_bin, np.ones(n)]), items.clusters)
    value = float(np.abs(sums[:, :-1].sum(axis=0)).sum() / n)
    drawn = [weights @ sums for weights in resample_weights(len(sums), resamples, seed)]
    totals = np.concatenate(drawn)
    span = percentile_interval(value, np.abs(totals[:, :-1]).sum(axis=1) / np.maximum(totals[:, -1], 1), len(sums))
    return _estimate(value, span, n, len(sums))


def brier_score(items: JudgedItems) -> Estimate:
    """Mean squared error of the probabilities."""
    squares = (items.right - items.probabilities) ** 2
    return _share(squares, np.ones(len(squares)), items.clusters)


def coverage_curve(items: JudgedItems) -> list[tuple[float, float]]:
    """(coverage, precision) at each probability that occurs, from the highest on."""
    kept, right, _ = _kept(items)
    return list(zip((kept / max(1, len(items.right))).tolist(), (right / kept).tolist(), strict=True))


def threshold_for(items: JudgedItems, precision: float) -> float | None:
    """The lowest probability from which on a precision is shown (see the module); None where none is."""
    kept, right, at = _kept(items)
    shown = scipy.stats.beta.ppf(1 - LEVEL, right, kept - right + 1) >= precision
    return float(at[shown].min()) if shown.any() else None


def _kept(items: JudgedItems) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """At each probability that occurs, from the highest on: items at or above it, those of them that are right, and the
    probability."""
    order = np.argsort(-items.probabilities, kind="stable")
    falling = items.probabilities[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(falling) else np.zeros(0, dtype=np.int64)
    return last + 1, np.cumsum(items.right[order].astype(np.int64))[last], falling[last]


def _by_chance(probabilities: FloatArray, seed: int) -> float | None:
    n = len(probabilities)
    if not n:
        return None
    places = bin_places(probabilities)
    member = np.zeros((n, int(places.max()) + 1))
    member[np.arange(n), places] = 1
    generator = np.random.default_rng(seed)
    drawn = [
        float(np.abs(((generator.random(n) < probabilities) - probabilities) @ member).sum() / n)
        for _ in range(_CHANCE_DRAWS)
    ]
    return float(np.mean(drawn))


def _share(above: NDArray[Any], below: NDArray[Any], clusters: Sequence[str]) -> Estimate:
    """A ratio of sums of what lies between 0 and 1, with the interval of a share."""
    sums = cluster_sums(np.column_stack([above, below]).astype(np.float64), clusters)
    sums = sums[sums[:, 1] > 0]
    if not len(sums):
        return undefined("no such item", 0)
    shares = ratios(sums[:, :1], sums[:, 1:])
    low, high = share_intervals(shares)
    return _estimate(float(shares.value[0]), (float(low[0]), float(high[0])), int(sums[:, 1].sum()), len(sums))


def _estimate(value: float, span: tuple[float, float] | None, n: int, clusters: int) -> Estimate:
    low, high = span or (None, None)
    return Estimate(value=value, low=low, high=high, n=n, unscored=0, reason=None if span else ALIKE, clusters=clusters)


def _thinned(curve: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    stride = -(-len(curve) // MOST_POINTS)
    kept = curve if stride <= 1 else [*curve[:-1:stride], curve[-1]]
    return tuple((round(coverage, 5), round(precision, 5)) for coverage, precision in kept)
