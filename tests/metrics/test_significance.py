"""P values: against scipy, a worked case and simulation."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from chartdistill.metrics import HEADLINE, p_values
from chartdistill.metrics.significance import holm, p_value
from four_drugs import DRUGS, note, said


def test_the_p_value_is_that_of_the_exact_permutation_test() -> None:
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.25, 0.5):
        first, second = rng.random(9) + shift, rng.random(9)
        ones = np.ones(9)
        found = p_value((first, second), (ones, ones), 20_000, seed=1)
        exact = stats.permutation_test(
            (first, second), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert found == pytest.approx(exact, abs=0.012)


def test_the_p_value_of_no_difference_is_one_and_of_nothing_is_none() -> None:
    same, zero = np.array([1.0, 0.0, 2.0]), np.zeros(3)
    assert p_value((same, same), (same + 1, same + 1), 500, seed=0) == 1
    assert p_value((same, same), (same + 1, zero), 500, seed=0) is None


def test_p_values_are_uniform_when_arms_are_alike() -> None:
    rng = np.random.default_rng(3)
    found = [
        p_value((rng.random(30), rng.random(30)), (np.ones(30), np.ones(30)), 300, seed) or 0.0 for seed in range(200)
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_holm_of_a_worked_case() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": None, "d": 0.03})
    assert found == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": None, "d": pytest.approx(0.06)}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_p_values_of_arms_and_their_reasons() -> None:
    records = {f"r{i}": note(f"r{i}", "Yasadol | stop") for i in range(20)}
    right = [said(name, "Yasadol | stop", "a") for name in records]
    wrong = [said(name, "Yasadol | hold", "b") for name in records]
    found = p_values(right, wrong, records, [DRUGS])["medication"]
    assert list(found) == list(HEADLINE)
    assert found["joint_f1"].p is not None
    assert found["joint_f1"].p < 1e-3
    assert found["joint_f1"].holm == pytest.approx(2 * found["joint_f1"].p), "of three metrics two can be tested"
    assert found["abstention_specificity"].p is None
    assert "records without gold items" in str(found["abstention_specificity"].reason)
    mirrored = p_values(wrong, right, records, [DRUGS])["medication"]
    assert mirrored["joint_f1"].p == pytest.approx(found["joint_f1"].p)


def test_memory_does_not_grow_with_the_clusters() -> None:
    ones = np.ones(40_000)
    tracemalloc.start()
    p_value((ones, 0 * ones), (ones, ones), 200, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6, "all 200 swaps at once take 128 MB"
