"""95% intervals of shares and of their paired differences, from sums by cluster, in closed form.

In: numerators and denominators, clusters x columns; a column is one figure. Out: the lower and the upper end of each
column. Must hold: two-sided throughout, 2.5% at either end; a figure without spread has an interval too; one event
never gives a tighter interval than none; what the simulation in tests/metrics/test_coverage.py says of coverage.

Share (also F1, precision, recall): p = sum a / sum b. Its variance is that of the ratio estimator over m clusters
(Taylor series; Cochran 1977, Sampling Techniques, chapter 6), v = m / (m - 1) * sum (a - p b)^2 / (sum b)^2, and what
the clusters tell is worth n* = p (1 - p) / v * (z / t[m - 1])^2 independent trials (the effective sample size of Korn
and Graubard 1998, Survey Methodology 24, 193-201, corrected for degrees of freedom as there, with those of the items
unbounded, so that copies of a record in its cluster change nothing). With x* = p n*:

- under `FEW` clusters that have the event, or that lack it: Clopper and Pearson's limits of x* of n* (Korn and
  Graubard), Beta(0.025; x*, n* - x* + 1) and Beta(0.975; x* + 1, n* - x*). They never cover less than 95% where trials
  are independent, and so more than 95% near 0 and 1;
- otherwise Jeffreys' limits, Beta(0.025 and 0.975; x* + 1/2, n* - x* + 1/2) (Brown, Cai and DasGupta 2001, Statistical
  Science 16, 101-133).

No event at all says nothing of how events would cluster, so the clusters themselves are the trials: n* = (sum b)^2 /
sum b^2, which is m for clusters of one size and less for others (Kish 1965, Survey Sampling, chapter 11.7), at most 1 -
0.025^(1/n*), about 3.7 / n*. One event knows no better, so the upper end is never below this; the bound counts less
with every further cluster that has the event, down to nothing at `FEW`. The same holds for the lower end, with what is
lacking.

Difference of two shares on the same clusters: p1 - p2 = sum e / sum b~ exactly, with b~ = (b1 + b2) / 2 and
e = (a1 - a2) - (p1 + p2) / 2 * (b1 - b2); clusters in which the arms are alike have e = 0.

- under `FEW` clusters that speak for either arm, or that do not: the gains (e > 0) and the losses (e < 0) are two
  shares, each with Korn and Graubard's limits, put together by the square-and-add of Newcombe (1998, Statistics in
  Medicine 17, 2635-2650, method 10, with the correlation of the two; Zou and Donner 2008, Statistics in Medicine 27,
  1693-1702). The bound of no event is for gains or losses as large as the mean of those seen, and for ever larger ones,
  up to whole clusters, the fewer were seen;
- otherwise Jeffreys' limits of (d + 1) / 2, with n* from the variance of d, so that the interval leans as it must
  towards -1 and 1 and is Student's t around 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # `scipy.stats` is loaded by its first use: most verbs need none of it
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEVEL = 0.95
"""Of all intervals."""
FEW = 10
"""Under so many clusters with (or without) an event the exact limits are taken."""
ENOUGH = 6
"""Clusters that differ, from which on their own differences tell how large others may be."""
_TAIL = (1 - LEVEL) / 2
_HALF_AN_EVENT = 0.5
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares as the sums of their clusters (clusters x columns); each column of `below` sums to 1.

    A ratio of sums divides both by the sum of its denominators; a mean of ratios adds those of its groups.
    """

    above: FloatArray
    below: FloatArray
    residuals: FloatArray
    """What each cluster adds to the error of the value; each column sums to 0."""
    value: FloatArray
    """The shares themselves: sums of `above`, without its rounding."""
    size: FloatArray
    """Of each column: the sum of its denominators as counted (items, records)."""


def ratios(above: FloatArray, below: FloatArray) -> Shares:
    """Ratios of sums. `above`, `below`: clusters x columns; no column of `below` sums to 0."""
    size = below.sum(axis=0)
    value = above.sum(axis=0) / size
    above, below = above / size, below / size
    return Shares(above, below, above - value * below, value, size)


def mean_of(shares: Shares) -> Shares:
    """The unweighted mean of all columns, as one column."""
    parts = (shares.above, shares.below, shares.residuals)
    above, below, residuals = (part.mean(axis=1, keepdims=True) for part in parts)
    return Shares(above, below, residuals, shares.value.mean(keepdims=True), shares.size.sum(keepdims=True))


def share_intervals(shares: Shares) -> tuple[FloatArray, FloatArray]:
    """The ends of the intervals of shares; see the module."""
    has, lacks = _counts(shares)
    return _limits(shares, _doubt(has), _doubt(lacks), _are_few(has, lacks))


def difference_intervals(first: Shares, second: Shares) -> tuple[FloatArray, FloatArray]:
    """The ends of the intervals of paired differences, first minus second; see the module."""
    parts = _parts(first, second)
    few = _differ_in_few(parts)
    exact = np.ones_like(few)
    differ = parts[0][1] + parts[1][1]
    unseen = _unseen(first, second, differ)
    (low_gain, high_gain), (low_loss, high_loss) = (
        _limits(one, unseen, _doubt(lacks), exact) for one, _, lacks in parts
    )
    gains, losses = parts[0][0], parts[1][0]
    value = first.value - second.value
    spread = np.sqrt((gains.residuals**2).sum(axis=0) * (losses.residuals**2).sum(axis=0))
    joint = (gains.residuals * losses.residuals).sum(axis=0)
    correlation = np.minimum(np.divide(joint, spread, out=np.zeros_like(joint), where=spread > 0), 0)
    down, up = gains.value - low_gain, high_loss - losses.value
    low = value - np.sqrt(down**2 + up**2 - 2 * correlation * down * up)
    down, up = losses.value - low_loss, high_gain - gains.value
    high = value + np.sqrt(down**2 + up**2 - 2 * correlation * down * up)
    none = np.minimum(high_gain, high_loss)  # what no cluster that differs would leave open
    low = np.minimum(low, np.where(differ <= 1, -none, low))
    high = np.maximum(high, np.where(differ <= 1, none, high))
    leaning = _leaning_limits(value, first.residuals - second.residuals)
    return (
        np.clip(np.where(few, low, np.minimum(leaning[0], value)), -1, value),
        np.clip(np.where(few, high, np.maximum(leaning[1], value)), value, 1),
    )


def is_exact(first: Shares, second: Shares | None = None) -> NDArray[np.bool_]:
    """Of each column, whether its interval (of a difference, with `second`) is the exact one for few clusters, which
    near 0, 1 and -1 covers more than 95%."""
    if second is None:
        return _are_few(*_counts(first))
    return _differ_in_few(_parts(first, second))


def discordant(first: Shares, second: Shares) -> NDArray[np.int64]:
    """Of each column, the clusters in which the two differ: where both count the same, in what they count; where they
    count different numbers, by half an event or more, so that a rare event is not seen to differ wherever one of the
    two merely lists more."""
    return _speaks(first, second, 1) + _speaks(first, second, -1)


def _events(first: Shares, second: Shares) -> FloatArray:
    """e / sum b~, clusters x columns: what each cluster adds to the difference."""
    # With sums of denominators S1, S2 and counts a = above * S: e / ((S1 + S2) / 2), written in shares.
    weights = 2 * first.size / (first.size + second.size), 2 * second.size / (first.size + second.size)
    middle = (first.value + second.value) / 2
    found: FloatArray = weights[0] * (first.above - middle * first.below) - weights[1] * (
        second.above - middle * second.below
    )
    return np.where(np.abs(found) > _TINY, found, 0.0)


def _speaks(first: Shares, second: Shares, sign: int) -> NDArray[np.int64]:
    events = sign * _events(first, second)
    size = (first.size + second.size) / 2
    alike = np.isclose(first.below * first.size, second.below * second.size)
    counted: NDArray[np.int64] = ((events > 0) & (alike | (events * size >= _HALF_AN_EVENT))).sum(axis=0)
    return counted


_Part = tuple[Shares, NDArray[np.int64], NDArray[np.int64]]
"""Gains or losses, the clusters that have any, and those that could have more."""


def _parts(first: Shares, second: Shares) -> tuple[_Part, _Part]:
    gains, losses = _gains(first, second), _gains(second, first)
    return (
        (gains, _speaks(first, second, 1), _counts(gains)[1]),
        (losses, _speaks(first, second, -1), _counts(losses)[1]),
    )


def _counts(shares: Shares) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clusters that have the event, and that lack it."""
    has: NDArray[np.int64] = (shares.above > 0).sum(axis=0)
    lacks: NDArray[np.int64] = (shares.above < shares.below - _TINY).sum(axis=0)
    return has, lacks


def _are_few(has: NDArray[np.int64], lacks: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.minimum(has, lacks) < FEW


def _differ_in_few(parts: tuple[_Part, _Part]) -> NDArray[np.bool_]:
    (_, gained, may_gain), (_, lost, may_lose) = parts
    found: NDArray[np.bool_] = np.minimum(np.minimum(gained + lost, may_gain), may_lose) < FEW
    return found


def _gains(first: Shares, second: Shares) -> Shares:
    above = np.maximum(_events(first, second), 0)
    size = (first.size + second.size) / 2
    below = (first.below * first.size + second.below * second.size) / (2 * size)
    value = above.sum(axis=0)
    return Shares(above, below, above - value * below, value, size)


def _unseen(first: Shares, second: Shares, differ: NDArray[np.int64]) -> FloatArray:
    """How large a gain or loss is to be expected where none was seen, as a share of a whole cluster: the mean of those
    that were seen, and more the fewer these are."""
    events = np.abs(_events(first, second))
    seen = np.minimum(1.0, events.sum(axis=0) / np.maximum(differ, 1) * len(events))
    doubt = np.clip((ENOUGH - differ) / (ENOUGH - 1), 0, 1)
    found: FloatArray = doubt + (1 - doubt) * seen
    return found


def _limits(
    shares: Shares, unseen: FloatArray, unseen_lack: FloatArray, exact: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Korn and Graubard's limits where `exact`, else Jeffreys'. `unseen`: how much the bound of no event counts, at the
    upper end; `unseen_lack`: at the lower."""
    clusters = len(shares.above)
    value = np.clip(shares.value, 0, 1)
    if clusters == 1:  # tells nothing of other clusters, but that the event can be there, or lack
        bound = 1 - _TAIL
        return np.where(value < 1, 0.0, 1 - bound), np.where(value > 0, 1.0, bound)
    variance = clusters / (clusters - 1) * (shares.residuals**2).sum(axis=0)
    squares = (shares.below**2).sum(axis=0)
    equal = shares.below.sum(axis=0) ** 2 / squares
    spread = variance > _TINY**2
    student = scipy.stats.norm.ppf(1 - _TAIL) / _student(clusters)
    trials = np.divide(value * (1 - value) * student**2, variance, out=equal.copy(), where=spread)
    events = value * trials
    near, far = np.where(exact, 0.0, 0.5), np.where(exact, 1.0, 0.5)
    low = np.where(
        events > 0, scipy.stats.beta.ppf(_TAIL, np.maximum(events + near, _TINY), trials - events + far), 0.0
    )
    high = np.where(
        events < trials, scipy.stats.beta.ppf(1 - _TAIL, events + far, np.maximum(trials - events + near, _TINY)), 1.0
    )
    none = 1 - _TAIL ** (1 / equal)
    high = np.where(value > 0, np.maximum(high, value), 0.0)
    low = np.where(value < 1, np.minimum(low, value), 1.0)
    return np.maximum(np.minimum(low, high - none * unseen_lack), 0), np.minimum(
        np.maximum(high, low + none * unseen), 1
    )


def _doubt(count: NDArray[np.int64]) -> FloatArray:
    """How much the bound of no event counts where `count` clusters have one: wholly up to one, not at all from
    `FEW`."""
    found: FloatArray = np.clip((FEW - count) / (FEW - 1), 0, 1)
    return found


def _leaning_limits(value: FloatArray, residuals: FloatArray) -> tuple[FloatArray, FloatArray]:
    clusters = len(residuals)
    variance = np.maximum(clusters / max(clusters - 1, 1) * (residuals**2).sum(axis=0), _TINY)
    middle = (value + 1) / 2
    normal = scipy.stats.norm.ppf(1 - _TAIL) / _student(max(clusters, 2))
    trials = np.maximum(4 * middle * (1 - middle) / variance * normal**2, _TINY)
    events = middle * trials
    low, high = (2 * scipy.stats.beta.ppf(end, events + 0.5, trials - events + 0.5) - 1 for end in (_TAIL, 1 - _TAIL))
    return low, high


def _student(number: int) -> float:
    """The quantile of Student's t for `number` observations."""
    return float(scipy.stats.t.ppf(1 - _TAIL, number - 1))
