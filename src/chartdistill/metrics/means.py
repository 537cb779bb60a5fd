"""What a record takes (prompts, tokens), as a mean with its interval, and the paired difference of two arms.

In: record -> amount, per arm; record -> cluster. Out: estimates. Must hold: an interval over clusters; amounts have no
limits, shares (0 or 1 each) have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from chartdistill.metrics.bootstrap import Estimate, cluster_sums, mean_intervals, undefined
from chartdistill.metrics.estimates import ALIKE
from chartdistill.metrics.intervals import FloatArray, ratios, share_intervals

Amounts = Mapping[str, float]
"""Record -> amount."""


def mean_estimate(amounts: Amounts, clusters: Mapping[str, str], seed: int, resamples: int) -> Estimate:
    """The mean over records; `clusters`: record -> cluster, for all of them."""
    if not amounts:
        return undefined("no records", 0)
    above, below = _by_cluster(amounts, clusters)
    return _estimate(above, below, len(amounts), mean_intervals(above, below, resamples, seed)[0])


def share_estimate(hits: Amounts, clusters: Mapping[str, str]) -> Estimate:
    """The mean of values that are 0 or 1."""
    if not hits:
        return undefined("no records", 0)
    above, below = _by_cluster(hits, clusters)
    low, high = share_intervals(ratios(above, below))
    return _estimate(above, below, len(hits), (float(low[0]), float(high[0])))


def mean_difference(
    first: Amounts, second: Amounts, clusters: Mapping[str, str], seed: int, resamples: int
) -> Estimate:
    """The mean of the first arm minus that of the second, over the records both have."""
    gaps = {record: amount - second[record] for record, amount in first.items() if record in second}
    found = mean_estimate(gaps, clusters, seed, resamples)
    if found.value is None:
        return found
    return found.model_copy(update={"discordant": int((_by_cluster(gaps, clusters)[0] != 0).sum())})


def _by_cluster(amounts: Amounts, clusters: Mapping[str, str]) -> tuple[FloatArray, FloatArray]:
    names = [clusters[record] for record in amounts]
    return cluster_sums(_column(list(amounts.values())), names), cluster_sums(np.ones((len(names), 1)), names)


def _estimate(above: FloatArray, below: FloatArray, n: int, span: tuple[float, float] | None) -> Estimate:
    low, high = span or (None, None)
    return Estimate(
        value=float(above.sum() / below.sum()), low=low, high=high, n=n, unscored=0,
        reason=None if span else ALIKE, clusters=len(above),
    )  # fmt: skip


def _column(values: Sequence[float]) -> FloatArray:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)
