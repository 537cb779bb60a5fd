"""From a score to a probability: a curve fitted on items of which it is known whether they are right.

In: scores, one per item, and whether each item is right. Out: a `Curve` of plain numbers, which needs no library to be
applied. What must hold: a higher score never gives a lower probability; none is 0 or 1, since no number of items shows
that; fewer than `LEAST_ITEMS` make no curve.

- Under `MANY_ITEMS` items a logistic curve with Platt's targets, (N+ + 1) / (N+ + 2) for what is right and 1 / (N- + 2)
  for what is wrong (Platt 1999, Probabilistic outputs for support vector machines, section 2.2). Items that are all
  right, or all wrong, are no special case: the curve is flat then, at (n + 1) / (n + 2) or 1 / (n + 2).
- From there on an isotonic one, by pool-adjacent-violators (Zadrozny and Elkan 2002, Transforming classifier scores
  into accurate multiclass probability estimates). With fewer it follows the noise: Niculescu-Mizil and Caruana 2005,
  Predicting good probabilities with supervised learning, section 5, see it fall behind Platt's below about 1,000, and
  so says scikit-learn's user guide, "Probability calibration".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from chartdistill.metrics.intervals import FloatArray
from chartdistill.schema import Row

LEAST_ITEMS = 30
"""Fewer say next to nothing: of 30 that are all right the true share may be 0.88."""
MANY_ITEMS = 1000

BoolArray = NDArray[np.bool_]


class PlattCurve(Row):
    """1 / (1 + exp(-(slope * score + intercept)))."""

    kind: Literal["platt"] = "platt"
    slope: float = Field(ge=0, allow_inf_nan=False)
    intercept: float = Field(allow_inf_nan=False)
    items: int
    right: int
    """Of the items that it was fitted on."""

    def probabilities(self, scores: Sequence[float] | FloatArray) -> FloatArray:
        """Of each score."""
        lines = -(self.slope * np.asarray(scores, dtype=np.float64) + self.intercept)
        found: FloatArray = 1 / (1 + np.exp(np.minimum(lines, 700.0)))  # beyond 700 the exponential has no number
        return found


class IsotonicCurve(Row):
    """Straight lines between knots, flat beyond the first and the last."""

    kind: Literal["isotonic"] = "isotonic"
    knots: tuple[tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(ge=0, le=1)]], ...] = Field(
        min_length=1
    )
    """(score, probability), neither ever falling."""
    items: int
    right: int

    def probabilities(self, scores: Sequence[float] | FloatArray) -> FloatArray:
        """Of each score."""
        at, value = zip(*self.knots, strict=True)
        found: FloatArray = np.interp(np.asarray(scores, dtype=np.float64), at, value)
        return found


Curve = Annotated[PlattCurve | IsotonicCurve, Field(discriminator="kind")]


def fit_curve(scores: Sequence[float] | FloatArray, right: Sequence[bool] | BoolArray) -> PlattCurve | IsotonicCurve:
    """The curve of items with these scores, any finite numbers.

    Raises:
        ValueError: fewer than `LEAST_ITEMS` items.
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=bool)
    if len(x) < LEAST_ITEMS:
        raise ValueError(f"{len(x)} items; a curve needs {LEAST_ITEMS}")
    return fit_isotonic(x, y) if len(x) >= MANY_ITEMS else fit_platt(x, y)


def fit_platt(x: FloatArray, y: BoolArray) -> PlattCurve:
    """By maximum likelihood, as a logistic regression of each item in both classes, weighted by its target."""
    from sklearn.linear_model import LogisticRegression

    n, right = len(y), int(y.sum())
    target = np.where(y, (right + 1) / (right + 2), 1 / (n - right + 2))
    centre, spread = float(x.mean()), float(x.std())
    slope = 0.0
    if spread > 0:
        model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
        both = np.concatenate([x, x])[:, None]
        classes = np.repeat([1, 0], n)
        model.fit((both - centre) / spread, classes, sample_weight=np.concatenate([target, 1 - target]))
        slope, intercept = float(model.coef_[0, 0]) / spread, float(model.intercept_[0])
    if slope <= 0:  # what is likelier is wrong more often: the score tells nothing that can be used
        share = float(target.mean())
        return PlattCurve(slope=0.0, intercept=float(np.log(share / (1 - share))), items=n, right=right)
    return PlattCurve(slope=slope, intercept=intercept - slope * centre, items=n, right=right)


def fit_isotonic(x: FloatArray, y: BoolArray) -> IsotonicCurve:
    """By least squares among the curves that never fall; its ends are kept off 0 and 1 by one item in n + 2."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(out_of_bounds="clip").fit(x, y.astype(np.float64))
    least = 1 / (len(y) + 2)
    knots = zip(model.X_thresholds_.tolist(), np.clip(model.y_thresholds_, least, 1 - least).tolist(), strict=True)
    return IsotonicCurve(knots=tuple(knots), items=len(y), right=int(y.sum()))


def log_loss(probabilities: FloatArray, right: BoolArray) -> float:
    """Mean negative log-likelihood, natural log."""
    return float(-np.log(np.where(right, probabilities, 1 - probabilities)).mean())
