"""Means over records with their intervals: against the closed form, and paired."""

from __future__ import annotations

import random

import numpy as np
import pytest

from chartdistill.metrics.means import mean_difference, mean_estimate

CLUSTERS = {f"r{i}": f"c{i}" for i in range(200)}


def test_a_mean_has_the_interval_of_its_standard_error() -> None:
    rng = random.Random(1)
    amounts = {name: rng.gauss(100, 20) for name in CLUSTERS}
    found = mean_estimate(amounts, CLUSTERS, 0, 4000)
    values = np.array(list(amounts.values()))
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)
    assert found.n == 200


def test_a_difference_is_paired_and_leaves_out_what_one_arm_lacks() -> None:
    rng = random.Random(2)
    first = {name: rng.gauss(100, 20) for name in CLUSTERS}
    second = {name: amount - 5 + rng.gauss(0, 1) for name, amount in first.items() if name != "r0"}
    found = mean_difference(first, second, CLUSTERS, 0, 2000)
    assert found.n == 199
    assert found.value == pytest.approx(5, abs=0.3)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.5, "unpaired it would be about 8 wide"


def test_records_of_one_cluster_count_once_in_the_width() -> None:
    amounts = {name: float(int(name[1:]) // 20) for name in CLUSTERS}
    apart = mean_estimate(amounts, CLUSTERS, 0, 2000)
    together = mean_estimate(amounts, {name: str(int(name[1:]) // 20) for name in CLUSTERS}, 0, 2000)
    assert apart.low is not None
    assert apart.high is not None
    assert together.low is not None
    assert together.high is not None
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_what_has_no_spread_or_no_records_has_no_interval() -> None:
    alike = mean_estimate({"r1": 4.0, "r2": 4.0}, CLUSTERS, 0, 100)
    assert (alike.value, alike.low, alike.high) == (4, None, None)
    assert "all clusters alike" in str(alike.reason)
    assert mean_estimate({}, CLUSTERS, 0, 100).value is None
