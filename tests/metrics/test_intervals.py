"""Intervals near 0 and 1, of shares and of differences: against the binomial, and what one event more may do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chartdistill.metrics.intervals import (
    FEW,
    Shares,
    difference_intervals,
    discordant,
    is_exact,
    mean_of,
    ratios,
    share_intervals,
)


def column(above: list[float], below: list[float]) -> Shares:
    return ratios(np.array(above, float).reshape(-1, 1), np.array(below, float).reshape(-1, 1))


def span(found: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    return float(found[0][0]), float(found[1][0])


def of_share(above: list[float], below: list[float]) -> tuple[float, float]:
    return span(share_intervals(column(above, below)))


def of_gap(first: list[float], second: list[float], below: list[float], other: list[float]) -> tuple[float, float]:
    return span(difference_intervals(column(first, below), column(second, other)))


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (0, 300), (20, 20)])
def test_single_trials_without_spread_have_the_limits_of_clopper_and_pearson(hits: int, trials: int) -> None:
    exact = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert of_share([1] * hits + [0] * (trials - hits), [1] * trials) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("hits", "trials"), [(1, 60), (5, 60), (9, 300), (58, 60)])
def test_few_single_trials_have_nearly_the_limits_of_clopper_and_pearson(hits: int, trials: int) -> None:
    """Nearly: the variance is divided by m - 1. Never tighter."""
    exact = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    low, high = of_share([1] * hits + [0] * (trials - hits), [1] * trials)
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=0.004 + 0.06 * (exact.high - exact.low))
    assert high - low >= exact.high - exact.low - 1e-9


@given(st.lists(st.integers(1, 12), min_size=2, max_size=80), st.integers(0, 10**6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_one_event_never_gives_a_tighter_interval_than_none(sizes: list[int], place: int, lacking: bool) -> None:
    """Whatever the clusters' sizes; the same for one lacking against none lacking."""
    place %= len(sizes)
    none, one = [0.0] * len(sizes), [float(number == place) for number in range(len(sizes))]
    if lacking:
        none, one = ([size - event for size, event in zip(sizes, events, strict=True)] for events in (none, one))
    (low, high), (other_low, other_high) = of_share(none, sizes), of_share(one, sizes)
    assert other_high - other_low >= high - low - 1e-9
    assert (other_low <= low + 1e-9) if lacking else (other_high >= high - 1e-9)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=10, max_size=60), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_one_cluster_that_differs_never_gives_a_tighter_difference_than_none(
    sizes: list[tuple[int, int]], place: int
) -> None:
    """Both arms list what they list, and confabulate nothing, or the first once."""
    first, second = ([size[arm] for size in sizes] for arm in (0, 1))
    none, one = [0.0] * len(sizes), [float(number == place % len(sizes)) for number in range(len(sizes))]
    low, high = of_gap(none, none, first, second)
    other_low, other_high = of_gap(one, none, first, second)
    assert low == pytest.approx(-high)
    assert other_high - other_low >= high - low - 1e-9
    assert other_high >= high - 1e-9
    mirrored = of_gap(none, one, second, first)
    assert mirrored == pytest.approx((-other_high, -other_low))


@pytest.mark.parametrize("differing", [0, 1, 2, 6, 9, 30, 100])
def test_a_difference_the_other_way_round_has_the_mirrored_interval(differing: int) -> None:
    ones, more = [1.0] * 100, [1.0] * differing + [0.0] * (100 - differing)
    low, high = of_gap(more, [0.0] * 100, ones, ones)
    assert of_gap([0.0] * 100, more, ones, ones) == pytest.approx((-high, -low))
    assert (low > 0) is (differing >= 6), "what six clusters say in one direction leaves out 0, either way"


def test_more_events_move_both_ends_up_and_there_is_no_leap_where_few_ends() -> None:
    ends = np.array([of_share([1] * hits + [0] * (120 - hits), [1] * 120) for hits in range(61)])
    assert (np.diff(ends, axis=0) > -1e-12).all()
    widths = ends[:, 1] - ends[:, 0]
    assert abs(widths[FEW] / widths[FEW - 1] - 1) < 0.1


def test_events_in_few_clusters_tell_less_than_the_same_events_in_many() -> None:
    sizes = [6] * 60
    spread, heaped = [1] * 18 + [0] * 42, [6] * 3 + [0] * 57
    (low, high), (other_low, other_high) = of_share(spread, sizes), of_share(heaped, sizes)
    assert other_high - other_low > 1.8 * (high - low)


def test_one_cluster_tells_that_the_event_is_there_and_no_more() -> None:
    assert of_share([2], [4]) == (0, 1)
    assert of_share([0], [4]) == pytest.approx((0, 0.975))
    assert of_share([4], [4]) == pytest.approx((0.025, 1))


def test_a_sweep_of_the_board_leaves_room_below_one() -> None:
    low, high = of_gap([1] * 40, [0] * 40, [1] * 40, [1] * 40)
    assert high == 1
    assert 0.8 < low < 0.95


def test_clusters_that_differ_are_counted_by_what_is_counted() -> None:
    """Lists of other lengths, without an event, are no difference in a rate; an item more is one in F1."""
    assert discordant(column([0, 0, 1], [3, 5, 4]), column([0, 0, 0], [6, 2, 9]))[0] == 1
    assert discordant(column([6, 6, 6], [6, 6, 6]), column([6, 6, 6], [6, 7, 6]))[0] == 1
    assert discordant(column([0.8, 1, 1], [1, 1, 1]), column([1, 1, 1], [1, 1, 1]))[0] == 1
    assert discordant(column([2, 1, 0], [4, 4, 4]), column([2, 1, 0], [4, 4, 4]))[0] == 0


def test_exact_limits_are_for_few_clusters_at_either_edge() -> None:
    ones = [1.0] * 60
    flags = [bool(is_exact(column([1] * hits + [0] * (60 - hits), ones))[0]) for hits in (0, FEW - 1, FEW, 50, 51, 60)]
    assert flags == [True, True, False, False, True, True]


def test_a_mean_of_shares_has_the_interval_of_one_share_where_it_has_one_group() -> None:
    rng = np.random.default_rng(0)
    below = rng.integers(1, 5, (80, 2)).astype(float)
    above = rng.binomial(below.astype(int), 0.4).astype(float)
    both, single = ratios(above, below), ratios(above[:, :1], below[:, :1])
    assert span(share_intervals(mean_of(single))) == pytest.approx(span(share_intervals(single)))
    value = mean_of(both).value[0]
    assert value == pytest.approx((above.sum(0) / below.sum(0)).mean())
    low, high = span(share_intervals(mean_of(both)))
    assert low < value < high
