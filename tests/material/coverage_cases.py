"""Worlds whose true figures are known, to see how often a 95% interval holds them: clusters x repetitions.

In: number of clusters, repetitions, a generator. Out: sums by cluster and the truth. An item's chance of being an event
varies from cluster to cluster (beta distributed, intraclass correlation `icc`), and of two arms the same clusters are
hard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from chartdistill.metrics.bootstrap import mean_intervals
from chartdistill.metrics.intervals import FloatArray, Shares, difference_intervals, is_exact, ratios, share_intervals

SIZES = (20, 60, 300)
"""Clusters."""
RESAMPLES = 1000

Ends = tuple[FloatArray, FloatArray, float]
"""Lower and upper ends, and the share of repetitions in which few clusters had, or lacked, what is counted."""


def _of_share(shares: Shares) -> Ends:
    return (*share_intervals(shares), float(np.mean(is_exact(shares))))


def _of_difference(first: Shares, second: Shares) -> Ends:
    return (*difference_intervals(first, second), float(np.mean(is_exact(first, second))))


@dataclass(frozen=True)
class World:
    """One setting: what it is called, its truth, and the intervals of so many repetitions of so many clusters."""

    kind: str
    setting: str
    truth: float
    intervals: Callable[[int, int, np.random.Generator], Ends]


@dataclass(frozen=True)
class Coverage:
    """How often the interval held the truth, and how often it lay wholly above or below."""

    held: float
    above: float
    below: float
    width: float
    """Of the median interval."""
    few: float
    """Share of repetitions in which under ten clusters had, or lacked, what is counted."""


def measure(world: World, clusters: int, repetitions: int, seed: int) -> Coverage:
    """Simulate."""
    low, high, few = world.intervals(clusters, repetitions, np.random.default_rng([seed, clusters]))
    above, below = float(np.mean(low > world.truth)), float(np.mean(high < world.truth))
    return Coverage(1 - above - below, above, below, float(np.median(high - low)), few)


def _chances(p: float, icc: float, easy: FloatArray) -> FloatArray:
    """The chance of an event in each cluster, p in the mean; `easy`: where each cluster stands among all, 0 to 1."""
    if icc == 0:
        return np.full_like(easy, p)
    spread = (1 - icc) / icc
    grid = np.linspace(0.0005, 0.9995, 1000)
    found: FloatArray = np.interp(easy, grid, stats.beta.ppf(grid, p * spread, (1 - p) * spread))
    return found


def share(p: float, icc: float = 0.0, more: float = 0.0) -> World:
    """A share of items; each cluster has 1 + Poisson(`more`) of them."""

    def intervals(clusters: int, repetitions: int, rng: np.random.Generator) -> Ends:
        shape = (clusters, repetitions)
        items = 1 + rng.poisson(more, shape)
        events = rng.binomial(items, _true_chances(p, icc, rng, shape))
        return _of_share(ratios(events.astype(float), items.astype(float)))

    return World("share", f"p {p}, icc {icc}, {1 + more:g} items", p, intervals)


def _true_chances(p: float, icc: float, rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    if icc == 0:
        return np.full(shape, p)
    spread = (1 - icc) / icc
    return rng.beta(p * spread, (1 - p) * spread, shape)


_GOLD, _EXTRA = 3.0, 1.5


def _f1_truth(p: float) -> float:
    return 2 * _GOLD * p / (_GOLD + _GOLD * p + _EXTRA * (1 - p))


def _f1_sums(
    p: float, gold: FloatArray, chances: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """2 x matched, emitted + gold: each gold item is found by its chance, and others are listed beside."""
    matched = rng.binomial(gold.astype(int), chances)
    listed = matched + rng.poisson(_EXTRA * (1 - p), gold.shape)
    return 2.0 * matched, gold + listed


def f1(p: float, icc: float = 0.3) -> World:
    """F1 of an arm that finds a share p of the gold items."""

    def intervals(clusters: int, repetitions: int, rng: np.random.Generator) -> Ends:
        shape = (clusters, repetitions)
        gold = rng.poisson(_GOLD, shape).astype(float)
        return _of_share(ratios(*_f1_sums(p, gold, _true_chances(p, icc, rng, shape), rng)))

    return World("F1", f"finds {p}, icc {icc}", _f1_truth(p), intervals)


def paired_shares(p: float, q: float, icc: float = 0.3, more: float = 0.0, own: bool = False) -> World:
    """A share of one arm minus that of another; with `own`, each arm lists items of its own number."""

    def intervals(clusters: int, repetitions: int, rng: np.random.Generator) -> Ends:
        shape = (clusters, repetitions)
        easy, items = rng.random(shape), 1 + rng.poisson(more, shape)
        others = 1 + rng.poisson(1.5 * more, shape) if own else items
        first, second = rng.binomial(items, _chances(p, icc, easy)), rng.binomial(others, _chances(q, icc, easy))
        return _of_difference(
            ratios(first.astype(float), items.astype(float)), ratios(second.astype(float), others.astype(float))
        )

    each = "items of its own" if own else "items"
    return World("difference of shares", f"p {p} - {q}, icc {icc}, {1 + more:g} {each}", p - q, intervals)


def paired_verdicts(gains: float, losses: float, both: float) -> World:
    """One item per cluster: right in the first arm alone, in the second alone, in both."""

    def intervals(clusters: int, repetitions: int, rng: np.random.Generator) -> Ends:
        drawn = rng.random((clusters, repetitions))
        first = (drawn < gains) | (drawn >= 1 - both)
        second = ((drawn >= gains) & (drawn < gains + losses)) | (drawn >= 1 - both)
        ones = np.ones(drawn.shape)
        return _of_difference(ratios(first.astype(float), ones), ratios(second.astype(float), ones))

    return World("difference of shares", f"gains {gains}, losses {losses}", gains - losses, intervals)


def paired_f1(p: float, q: float, icc: float = 0.3) -> World:
    """F1 of one arm minus that of another, on the same gold."""

    def intervals(clusters: int, repetitions: int, rng: np.random.Generator) -> Ends:
        shape = (clusters, repetitions)
        easy, gold = rng.random(shape), rng.poisson(_GOLD, shape).astype(float)
        first, second = (ratios(*_f1_sums(one, gold, _chances(one, icc, easy), rng)) for one in (p, q))
        return _of_difference(first, second)

    return World("difference of F1", f"finds {p} - {q}, icc {icc}", _f1_truth(p) - _f1_truth(q), intervals)


def mean(name: str, truth: float, draw: Callable[[np.random.Generator, tuple[int, int]], FloatArray]) -> World:
    """The mean of amounts, one per cluster."""

    def intervals(clusters: int, repetitions: int, rng: np.random.Generator) -> Ends:
        amounts = draw(rng, (clusters, repetitions))
        found = mean_intervals(amounts, np.ones_like(amounts), RESAMPLES, 0)
        low, high = np.array([ends or (np.nan, np.nan) for ends in found]).T
        return low, high, 0.0

    return World("mean", name, truth, intervals)


def worlds() -> Iterator[World]:
    """All settings."""
    for p in (0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99):
        for icc in (0.0, 0.3, 0.6):
            yield share(p, icc, 4)
        yield share(p)
    for p in (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
        yield f1(p)
        yield f1(p, 0.6)
    for gains, losses, both in (
        (0.01, 0, 0.98), (0.02, 0.02, 0.9), (0.05, 0.01, 0.9), (0.15, 0.05, 0.6), (0.3, 0.3, 0.3), (0.3, 0.05, 0.5),
        (0.9, 0, 0.1), (0.9, 0.05, 0.05), (0.99, 0, 0.01),
    ):  # fmt: skip
        yield paired_verdicts(gains, losses, both)
    for p, q in ((0.02, 0.02), (0.05, 0.02), (0.97, 0.93), (0.5, 0.4), (0.9, 0.1)):
        yield paired_shares(p, q, more=4)
        yield paired_shares(p, q, more=4, own=True)
        yield paired_f1(p, q)
    for p, q in ((0.97, 0.97), (0.9, 0.9), (0.9, 0.85), (0.1, 0.1), (0.1, 0.5)):
        yield paired_f1(p, q)
    yield mean("normal", 10, lambda rng, shape: rng.normal(10, 3, shape))
    yield mean("gamma, shape 4", 4, lambda rng, shape: rng.gamma(4, 1, shape))
    yield mean("lognormal, sigma 0.5", float(np.exp(0.125)), lambda rng, shape: rng.lognormal(0, 0.5, shape))
    yield mean("exponential", 1.44, lambda rng, shape: rng.exponential(1.44, shape))
