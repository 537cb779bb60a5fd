"""A value with its interval: ratios of sums, resampled by cluster.

In: numerators and denominators per prediction, and the cluster of each. Out: an `Estimate`. Must hold: the same seed
gives the same interval whatever the order of the predictions; an undefined value is None with a reason; an interval
contains its value and never has zero width just because no event was seen.

Interval: percentile bootstrap over clusters of near-duplicate records (95%). A resample draws as many clusters as
there are, with replacement; a ratio needs only its two sums per cluster, so all resamples of all metrics are two
matrix products. Resamples in which a denominator is 0 are left out for that metric.

Zero width (no event, or nothing but events, in any cluster): resampling knows nothing of what it did not see, and
the exact binomial bound (Clopper and Pearson 1934; "rule of three") takes its place, with clusters as the trials
because items of one record are not independent. With m clusters and no event, at most 1 - 0.05^(1/m), about 3/m, of
clusters have one (one-sided 95%). Away from 0 and 1 the bound is two-sided: 1 - 0.025^(1/m) either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from chartdistill.schema import Row

FloatArray = NDArray[np.float64]

LEVEL = 0.95
"""Of all intervals."""

_CELLS_AT_ONCE = 4_000_000
"""Resamples x clusters held in memory at a time."""


class Estimate(Row):
    """A metric's value and 95% interval."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """The denominator: emitted items, gold items, records ...; `metrics.METRICS[name].unit` says of what."""
    unscored: int
    """Predictions that could not be scored because an engine failed. They are in no other number."""
    records: int | None = None
    """Where n counts the items of an F1, the records these are of."""
    reason: str | None = None
    """Why `value` is None, or why its interval is."""


def undefined(reason: str, unscored: int) -> Estimate:
    """An estimate without value."""
    return Estimate(value=None, low=None, high=None, n=0, unscored=unscored, reason=reason)


def cluster_sums(counts: FloatArray, clusters: Sequence[str]) -> FloatArray:
    """Add up the rows of `counts` (predictions x columns) by cluster; clusters in alphabetical order."""
    names, places = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    columns = [np.bincount(places, weights=column, minlength=len(names)) for column in counts.T]
    return np.stack(columns, axis=1)


def resample_weights(num_clusters: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each cluster was drawn, in blocks of resamples x clusters; each row sums to `num_clusters`."""
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS_AT_ONCE // num_clusters)
    for first in range(0, resamples, block):
        rows = min(block, resamples - first)
        draws = generator.integers(num_clusters, size=(rows, num_clusters))
        draws += np.arange(rows)[:, None] * num_clusters
        counts = np.bincount(draws.ravel(), minlength=rows * num_clusters)
        yield counts.reshape(rows, num_clusters).astype(np.float64)


def resampled_ratios(
    numerators: Sequence[FloatArray], denominators: Sequence[FloatArray], resamples: int, seed: int
) -> list[FloatArray]:
    """Ratios of resampled sums, resamples x columns, one array per pair given; NaN where a denominator is 0.

    The arrays (clusters x columns) of one call share their resamples: this is what makes a difference paired.
    """
    blocks: list[list[FloatArray]] = [[] for _ in numerators]
    for weights in resample_weights(len(numerators[0]), resamples, seed):
        for parts, numerator, denominator in zip(blocks, numerators, denominators, strict=True):
            below = weights @ denominator
            parts.append(np.divide(weights @ numerator, below, out=np.full_like(below, np.nan), where=below > 0))
    return [np.concatenate(parts) for parts in blocks]


def interval(
    value: float, draws: FloatArray, num_clusters: int, limits: tuple[float, float] | None
) -> tuple[float, float] | None:
    """The interval around `value` from its bootstrap `draws`; None where there is nothing to go by.

    `num_clusters`: those that contribute to the value. `limits`: what the metric can be at most and at least; None
    for counts, which have no binomial bound: one cluster, or equal clusters, then give no interval.
    """
    draws = draws[~np.isnan(draws)]
    if num_clusters > 1 and len(draws):
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        if high - low > 1e-12:
            return min(float(low), value), max(float(high), value)
    if limits is None:
        return None
    if num_clusters <= 1 and limits[0] < value < limits[1]:
        return limits
    at_limit = value in limits
    bound = 1 - (1 - LEVEL if at_limit else (1 - LEVEL) / 2) ** (1 / num_clusters)
    return max(limits[0], value - bound), min(limits[1], value + bound)
