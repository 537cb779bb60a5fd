"""What a record takes (prompts, tokens), as a mean with its interval, and the paired difference of two arms.

In: record -> amount, per arm; record -> cluster. Out: estimates. Must hold: an interval over clusters, one set of
resamples for both arms of a difference; no binomial bound, since amounts have no upper limit. Shares (0 or 1 each)
have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from chartdistill.metrics.bootstrap import (
    Estimate,
    FloatArray,
    cluster_sums,
    interval,
    resampled_ratios,
    undefined,
)

Amounts = Mapping[str, float]
"""Record -> amount."""


def mean_estimate(amounts: Amounts, clusters: Mapping[str, str], seed: int, resamples: int) -> Estimate:
    """The mean over records; `clusters`: record -> cluster, for all of them."""
    return _estimate([amounts], list(amounts), clusters, seed, resamples)


def share_estimate(hits: Amounts, clusters: Mapping[str, str], seed: int, resamples: int) -> Estimate:
    """The mean of values that are 0 or 1; where all are alike, with the exact binomial bound over clusters."""
    return _estimate([hits], list(hits), clusters, seed, resamples, (0.0, 1.0))


def mean_difference(
    first: Amounts, second: Amounts, clusters: Mapping[str, str], seed: int, resamples: int
) -> Estimate:
    """The mean of the first arm minus that of the second, over the records both have."""
    shared = [record for record in first if record in second]
    return _estimate([first, second], shared, clusters, seed, resamples)


def _estimate(
    arms: Sequence[Amounts],
    records: Sequence[str],
    clusters: Mapping[str, str],
    seed: int,
    resamples: int,
    limits: tuple[float, float] | None = None,
) -> Estimate:
    """The mean of one arm, or of the first minus the second."""
    if not records:
        return undefined("no records", 0)
    names = [clusters[record] for record in records]
    above = [cluster_sums(_column([amounts[record] for record in records]), names) for amounts in arms]
    below = cluster_sums(np.ones((len(records), 1)), names)
    draws = resampled_ratios(above, [below] * len(arms), resamples, seed)
    signs = (1, -1)
    value = sum(sign * float(part.sum()) for sign, part in zip(signs, above, strict=False)) / len(records)
    drawn: FloatArray = np.sum([sign * part[:, 0] for sign, part in zip(signs, draws, strict=False)], axis=0)
    span = interval(value, drawn, len(below), limits)
    low, high = span or (None, None)
    reason = None if span else "no interval: one cluster, or all clusters alike"
    return Estimate(value=value, low=low, high=high, n=len(records), unscored=0, reason=reason)


def _column(values: Sequence[float]) -> FloatArray:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)
