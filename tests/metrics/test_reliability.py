"""Calibration error, Brier score, coverage at a precision: against counts by hand, and against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from chartdistill.metrics.reliability import (
    JudgedItems,
    brier_score,
    calibration_error,
    coverage_curve,
    reliability,
    threshold_for,
)


def items(probabilities: list[float], right: list[bool], per_cluster: int = 1) -> JudgedItems:
    clusters = [f"c{place // per_cluster:04d}" for place in range(len(right))]
    return JudgedItems(np.array(probabilities), np.array(right, dtype=bool), clusters)


def drawn(n: int, seed: int, shift: float = 0.0, per_cluster: int = 3) -> JudgedItems:
    """Items that are right with their probability, less `shift`."""
    generator = np.random.default_rng(seed)
    probabilities = generator.beta(6, 1.5, n)
    right = generator.random(n) < np.clip(probabilities - shift, 0, 1)
    return items(probabilities.tolist(), right.tolist(), per_cluster)


def test_the_error_is_the_mean_gap_of_the_bins() -> None:
    # 20 items make two bins: 0.6 with 4 of 10 right, 0.9 with 10 of 10.
    found = items([0.6] * 10 + [0.9] * 10, [True] * 4 + [False] * 6 + [True] * 10)
    assert calibration_error(found, resamples=200).value == pytest.approx((10 * 0.2 + 10 * 0.1) / 20)
    figures = reliability(found, found.probabilities, None, resamples=200)
    assert [one.items for one in figures.bins] == [10, 10]
    assert [of for one in figures.bins for of in (one.probability, one.right)] == pytest.approx([0.6, 0.4, 0.9, 1.0])
    assert brier_score(found).value == pytest.approx((4 * 0.16 + 6 * 0.36 + 10 * 0.01) / 20)


def test_equal_probabilities_are_never_told_apart() -> None:
    """Whatever the order of the items: 90 of 100 are as likely as each other."""
    probabilities, right = [0.8] * 90 + [0.95] * 10, [True] * 72 + [False] * 18 + [True] * 10
    order = np.random.default_rng(0).permutation(100)
    shuffled = items(np.array(probabilities)[order].tolist(), np.array(right)[order].tolist())
    for one in (items(probabilities, right), shuffled):
        assert calibration_error(one, resamples=200).value == pytest.approx(0.1 * 0.05)
        assert coverage_curve(one) == [(0.1, 1.0), (1.0, 0.82)]


def test_true_probabilities_have_the_error_of_chance_and_wrong_ones_more() -> None:
    true, off = [], []
    for seed in range(40):
        one, other = drawn(300, seed), drawn(300, seed, shift=0.2)
        figures = reliability(one, one.probabilities, None, seed, 200)
        assert figures.ece.value is not None and figures.ece_by_chance is not None
        true.append(figures.ece.value - figures.ece_by_chance)
        off.append(calibration_error(other, resamples=200).value or 0.0)
    assert abs(np.mean(true)) < 0.006
    assert np.mean(off) == pytest.approx(0.2, abs=0.02)


def test_the_interval_of_a_large_error_holds_the_truth() -> None:
    """Where the error is well above chance, the percentile interval by clusters covers it."""
    held = 0
    for seed in range(100):
        found = calibration_error(drawn(400, seed, shift=0.15, per_cluster=4), seed, 400)
        assert found.low is not None and found.high is not None and found.value is not None
        assert found.low <= found.value <= found.high
        held += found.low <= 0.15 <= found.high
    assert held >= 88


def test_the_brier_score_of_true_probabilities_is_held_by_its_interval() -> None:
    true = float(np.mean([brier_score(drawn(5000, 999 + seed)).value or 0 for seed in range(5)]))
    found = [brier_score(drawn(240, seed)) for seed in range(100)]
    assert sum(one.low is not None and one.high is not None and one.low <= true <= one.high for one in found) >= 88


def test_one_wrong_item_leaves_the_brier_score_an_interval_that_says_something() -> None:
    found = brier_score(items([0.99] * 200, [True] * 199 + [False]))
    assert found.value == pytest.approx(0.005, abs=1e-4) and found.low is not None and found.high is not None
    assert 0 < found.low < 0.005 < found.high < 0.04


def test_coverage_counts_from_the_surest_item_on() -> None:
    found = items([0.9, 0.7, 0.8, 0.6], [True, False, True, True])
    assert coverage_curve(found) == [(0.25, 1.0), (0.5, 1.0), (0.75, pytest.approx(2 / 3)), (1.0, 0.75)]


def test_a_threshold_needs_items_enough_to_show_the_precision() -> None:
    """Of 59 that are all right the limit is 0.05^(1/59) = 0.9505, of 58 it is 0.9497."""
    sure = items([0.99] * 59 + [0.5] * 20, [True] * 59 + [False] * 20)
    assert threshold_for(sure, 0.95) == 0.99
    assert threshold_for(items([0.99] * 58 + [0.5] * 20, [True] * 58 + [False] * 20), 0.95) is None
    assert threshold_for(items([0.9] * 50, [True] * 40 + [False] * 10), 0.95) is None
    assert threshold_for(items([], []), 0.95) is None


def certain(n: int, seed: int, top: float) -> JudgedItems:
    generator = np.random.default_rng(seed)
    probabilities = generator.beta(9, 1, n) * top
    return items(probabilities.tolist(), (generator.random(n) < probabilities).tolist())


@pytest.mark.parametrize("n", [190, 600])
def test_a_threshold_holds_on_other_items_and_is_not_found_where_none_does(n: int) -> None:
    found = [threshold_for(certain(n, seed, 1.0), 0.95) for seed in range(100)]
    reached = []
    for threshold in (one for one in found if one is not None):
        other = certain(20_000, 7, 1.0)
        reached.append(float(other.right[other.probabilities >= threshold].mean()))
    assert len(reached) > 30
    assert sum(one < 0.95 for one in reached) <= 12, "of 100"
    assert min(reached) > 0.92
    assert sum(threshold_for(certain(n, seed, 0.93), 0.95) is not None for seed in range(100)) <= 8


def test_no_items_are_no_figures() -> None:
    none = items([], [])
    figures = reliability(none, none.probabilities, 0.9)
    assert figures.ece.value is figures.brier.value is figures.ece_by_chance is None
    assert figures.coverage is not None and figures.coverage.value is None and figures.bins == ()
    all_below = reliability(items([0.5] * 40, [True] * 40), np.full(40, 0.5), 0.9, resamples=200)
    assert all_below.coverage is not None and all_below.coverage.value == 0
    assert all_below.precision is not None and all_below.precision.value is None


def test_one_cluster_has_no_interval_of_the_error() -> None:
    found = items([0.8] * 40, [True] * 30 + [False] * 10, per_cluster=40)
    error = calibration_error(found, resamples=200)
    assert error.value == pytest.approx(0.05) and error.low is None and error.reason
