"""A value with its interval: what an estimate is, and intervals from resampled clusters for what has no limits.

In: numerators and denominators per prediction, and the cluster of each. Out: an `Estimate`. Must hold: the same seed
gives the same interval whatever the order of the predictions; an undefined value is None with a reason; an interval
contains its value.

Clusters of near-duplicate records are what is resampled, with replacement, as many as there are; since a ratio needs
only its two sums per cluster, all resamples of all figures are matrix products.

- Amounts (tokens, items per record), which are often skewed: the studentised bootstrap (Efron and Tibshirani 1993, An
  Introduction to the Bootstrap, 12.5). Under ten clusters Student's t.
- What has no variance in closed form (alpha): percentiles, set wider by the factor that Student's t with m - 1 degrees
  of freedom is wider than the normal distribution, since the plain ones are too narrow for few clusters (Hesterberg
  2015, The American Statistician 69, 371-386, section 3.3).

Shares and F1, which lie between 0 and 1, have intervals in closed form: see `intervals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy  # `scipy.stats` is loaded by its first use: most verbs need none of it

from chartdistill.metrics.intervals import FEW, LEVEL, FloatArray
from chartdistill.schema import Row

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
    clusters: int | None = None
    """Clusters of near-duplicate records that take part: what the interval is made from. None: not recorded."""
    discordant: int | None = None
    """Of a difference: clusters in which the two arms differ. None: no difference, or not recorded."""


def undefined(reason: str, unscored: int) -> Estimate:
    """An estimate without value."""
    return Estimate(value=None, low=None, high=None, n=0, unscored=unscored, reason=reason, clusters=0)


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


def mean_intervals(above: FloatArray, below: FloatArray, resamples: int, seed: int) -> list[tuple[float, float] | None]:
    """Studentised intervals of ratios of sums, one per column; None for one cluster, or where all are alike.

    `above`, `below`: clusters x columns; no column of `below` sums to 0. The error of a ratio p is that of the mean of
    a - p b over clusters; in each resample both are computed anew.
    """
    clusters = len(above)
    if clusters == 1:
        return [None] * above.shape[1]
    value = above.sum(axis=0) / below.sum(axis=0)
    scale = clusters / (clusters - 1)
    error = np.sqrt(scale * ((above - value * below) ** 2).sum(axis=0)) / below.sum(axis=0)
    student = float(scipy.stats.t.ppf((1 + LEVEL) / 2, clusters - 1))
    low, high = value - student * error, value + student * error
    spread = error > 1e-12 * np.maximum(1.0, np.abs(value))
    if clusters >= FEW:
        drawn = [
            _studentised(weights, above, below, value, scale) for weights in resample_weights(clusters, resamples, seed)
        ]
        ends = np.quantile(np.concatenate(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        low, high = np.minimum(value, value - ends[1] * error), np.maximum(value, value - ends[0] * error)
    return [(float(a), float(b)) if some else None for a, b, some in zip(low, high, spread, strict=True)]


def _studentised(
    weights: FloatArray, above: FloatArray, below: FloatArray, value: FloatArray, scale: float
) -> FloatArray:
    """How many of its own standard errors each resampled ratio lies from the value; 0 where it has none."""
    sums = weights @ below
    drawn = np.divide(weights @ above, sums, out=np.broadcast_to(value, sums.shape).copy(), where=sums > 0)
    squares = (
        weights @ (above * above) - 2 * drawn * (weights @ (above * below)) + drawn**2 * (weights @ (below * below))
    )
    some = squares > 1e-12 * (weights @ (above * above))  # below, all clusters drawn are alike: rounding is left
    error = np.sqrt(scale * np.where(some, squares, 1.0))
    found: FloatArray = np.divide((drawn - value) * sums, error, out=np.zeros_like(drawn), where=some)
    return found


def percentile_interval(value: float, draws: FloatArray, clusters: int) -> tuple[float, float] | None:
    """The interval around `value` from its bootstrap `draws`; None where there is nothing to go by."""
    draws = draws[~np.isnan(draws)]
    if clusters < 2 or not len(draws):
        return None
    wider = np.sqrt(clusters / (clusters - 1)) * scipy.stats.t.ppf((1 + LEVEL) / 2, clusters - 1)
    tail = float(scipy.stats.norm.cdf(-wider))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return (min(float(low), value), max(float(high), value)) if high - low > 1e-12 else None
