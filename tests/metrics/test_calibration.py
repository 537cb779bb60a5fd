"""Curves from scores to probabilities: they find a known truth, never fall, and claim no more than they saw."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from chartdistill.metrics.calibration import (
    LEAST_ITEMS,
    MANY_ITEMS,
    IsotonicCurve,
    PlattCurve,
    fit_curve,
    fit_isotonic,
    fit_platt,
)

Floats = NDArray[np.float64]


def made(n: int, seed: int, slope: float = 0.8, intercept: float = 2.0) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Scores like sums of log-probabilities, whether each item is right, and its true probability."""
    generator = np.random.default_rng(seed)
    scores = -generator.exponential(2.0, n)
    true = 1 / (1 + np.exp(-(slope * scores + intercept)))
    return scores, generator.random(n) < true, true


@pytest.mark.parametrize(("n", "kind", "off"), [(300, PlattCurve, 0.05), (3000, IsotonicCurve, 0.04)])
def test_a_known_truth_is_found(n: int, kind: type, off: float) -> None:
    errors = []
    for seed in range(20):
        scores, right, true = made(n, seed)
        curve = fit_curve(scores, right)
        assert isinstance(curve, kind)
        errors.append(float(np.abs(curve.probabilities(scores) - true).mean()))
    assert np.mean(errors) < off


def test_the_number_of_items_decides_which_curve() -> None:
    scores, right, _ = made(MANY_ITEMS, 1)
    assert fit_curve(scores, right).kind == "isotonic"
    assert fit_curve(scores[:-1], right[:-1]).kind == "platt"
    with pytest.raises(ValueError, match=f"3 items; a curve needs {LEAST_ITEMS}"):
        fit_curve([-1.0, -2.0, -3.0], [True, True, False])


@pytest.mark.parametrize("n", [30, 60, 999, 1000, 2500])
@pytest.mark.parametrize("slope", [0.8, 0.0, -0.8])
def test_surer_is_never_less_likely_and_nothing_is_certain(n: int, slope: float) -> None:
    for seed in range(5):
        scores, right, _ = made(n, seed, slope)
        curve = fit_curve(scores, right)
        found = curve.probabilities(np.linspace(-40, 1, 500))
        assert (np.diff(found) >= 0).all()
        assert (found > 0).all() and (found < 1).all()


def test_a_score_that_tells_nothing_gives_all_items_one_probability() -> None:
    scores = np.arange(40.0)
    curve = fit_platt(scores, scores < 20)  # the surest are wrong
    assert curve.slope == 0
    assert curve.probabilities([0.0, 100.0]).tolist() == pytest.approx([0.5, 0.5])
    assert fit_platt(np.zeros(30), np.arange(30) < 27).probabilities([0.0])[0] == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(("right", "expected"), [(True, 51 / 52), (False, 1 / 52)])
@pytest.mark.parametrize("scores", [np.zeros(50), np.arange(50.0)])
def test_one_class_alone_is_the_rule_of_succession(scores: Floats, right: bool, expected: float) -> None:
    found = fit_curve(scores, [right] * 50).probabilities(scores)
    assert found.tolist() == pytest.approx([expected] * 50, abs=1e-3)


def test_platts_curve_is_the_maximum_of_its_likelihood() -> None:
    """Held against a direct search with the same targets."""
    from scipy.optimize import minimize

    scores, right, _ = made(80, 4)
    n, k = len(right), int(right.sum())
    target = np.where(right, (k + 1) / (k + 2), 1 / (n - k + 2))

    def loss(at: Floats) -> float:
        z = at[0] * scores + at[1]
        return float((np.logaddexp(0, z) - target * z).sum())

    best = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})
    curve = fit_platt(scores, right)
    assert (curve.slope, curve.intercept) == pytest.approx(tuple(best.x), rel=1e-3)


def test_stored_knots_say_what_the_library_said() -> None:
    from sklearn.isotonic import IsotonicRegression

    scores, right, _ = made(1500, 2)
    curve = IsotonicCurve.model_validate_json(fit_isotonic(scores, right).model_dump_json())
    own = IsotonicRegression(out_of_bounds="clip").fit(scores, right.astype(float))
    at = np.linspace(-30, 1, 400)
    assert curve.probabilities(at) == pytest.approx(np.clip(own.predict(at), 1 / 1502, 1 - 1 / 1502), abs=1e-12)
    assert PlattCurve.model_validate_json(fit_platt(scores, right).model_dump_json()) == fit_platt(scores, right)
