"""Intervals and paired differences of answers, against exact binomial bounds and scipy's bootstrap."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import stats

from chartdistill.metrics import difference, score_arm
from chartdistill.metrics.bootstrap import Estimate
from metrics_cases import DRUGS, by_id, make_world, record, said


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_no_event_has_the_exact_two_sided_bound() -> None:
    notes = by_id(*(record(f"r{number}", medication="Yasadol | stop") for number in range(100)))
    answers = [said(name, "Yasadol | stop") for name in notes]
    found = score_arm(answers, notes, [DRUGS])["medication"]
    exact = stats.binomtest(0, 100).proportion_ci(0.95, method="exact").high
    assert found["invented_rate"].high == pytest.approx(exact)
    assert found["recall"].low == pytest.approx(1 - exact)
    assert (found["recall"].clusters, found["recall"].discordant) == (100, None)


def test_one_cluster_tells_nothing_of_others() -> None:
    notes = by_id(*(record(name, cluster="c", medication="Yasadol | stop") for name in "ab"))
    found = score_arm([said("a", "Yasadol | stop"), said("b", "None found")], notes, [DRUGS])["medication"]
    assert (found["recall"].value, found["recall"].low, found["recall"].high) == (0.5, 0, 1)
    assert (found["items_per_record"].value, found["items_per_record"].low) == (0.5, None)
    assert "one cluster" in str(found["items_per_record"].reason)


def test_an_amount_has_no_interval_below_zero_but_a_difference_has() -> None:
    notes = by_id(*(record(name, cluster=name, medication="Yasadol | stop") for name in "ab"))
    one = [said("a", "Yasadol | stop"), said("b", "Yasadol | stop\nQuavolex | stop")]
    other = [said("a", "Yasadol | stop\nQuavolex | stop"), said("b", "Yasadol | stop\nQuavolex | stop")]
    found = score_arm(one, notes, [DRUGS])["medication"]["items_per_record"]
    assert (found.value, found.low) == (1.5, 0)
    assert found.high == pytest.approx(1.5 + stats.t.ppf(0.975, 1) * 0.5)
    apart = difference(one, other, notes, [DRUGS])["medication"]["items_per_record"]
    assert apart.value == -0.5
    assert apart.low == pytest.approx(-0.5 - stats.t.ppf(0.975, 1) * 0.5)


def test_the_interval_agrees_with_scipy_and_the_binomial_for_one_record_clusters() -> None:
    rng = random.Random(4)
    right = [rng.random() < 0.7 for _ in range(150)]
    notes = by_id(*(record(f"r{number}", medication="Yasadol | stop") for number in range(150)))
    answers = [said(f"r{number}", "Yasadol | stop" if hit else "None found") for number, hit in enumerate(right)]
    found = score_arm(answers, notes, [DRUGS])["medication"]["recall"]
    by_scipy = stats.bootstrap(
        (np.array(right, float),), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    by_binomial = stats.binomtest(sum(right), 150).proportion_ci(0.95, method="exact")
    for theirs, tolerance in ((by_scipy, 0.015), (by_binomial, 0.03)):
        assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=tolerance)


def test_clusters_of_copies_widen_the_interval() -> None:
    notes, answers = make_world(60, 3, 0.6)
    alone = {name: one.model_copy(update={"cluster": name}) for name, one in notes.items()}
    copies = {
        f"{name}-{copy}": one.model_copy(update={"id": f"{name}-{copy}"})
        for name, one in alone.items()
        for copy in range(4)
    }
    apart = {name: one.model_copy(update={"cluster": name}) for name, one in copies.items()}
    more = [one.model_copy(update={"record": f"{one.record}-{copy}"}) for one in answers for copy in range(4)]
    clustered, naive = (score_arm(more, world, [DRUGS])["medication"]["f1"] for world in (copies, apart))
    assert clustered.value == naive.value
    assert width(clustered) == pytest.approx(2 * width(naive), rel=0.15), "four copies hold one record's information"


def test_the_seed_decides_the_interval_of_an_amount_and_shares_need_none() -> None:
    notes, answers = make_world(40, 5, 0.6)
    first, again, other = (score_arm(answers, notes, [DRUGS], seed=seed)["medication"] for seed in (1, 1, 2))
    assert first["items_per_record"] == again["items_per_record"] != other["items_per_record"]
    assert first["f1"] == other["f1"]


def test_a_paired_difference_is_tighter_than_two_intervals_and_signed() -> None:
    notes, base = make_world(80, 6, 0.5)
    _, perfect = make_world(80, 6, 1.0)
    student = [two if number % 8 == 0 else one for number, (one, two) in enumerate(zip(base, perfect, strict=True))]
    found = difference(student, base, notes, [DRUGS])["medication"]["joint_f1"]
    arms = [score_arm(arm, notes, [DRUGS])["medication"]["joint_f1"] for arm in (student, base)]
    assert found.value == pytest.approx((arms[0].value or 0) - (arms[1].value or 0))
    assert found.n == sum(bool(one.items) or bool(two.items) for one, two in zip(student, base, strict=True))
    assert (found.low or 0) > 0
    assert width(found) < 0.7 * math.hypot(*map(width, arms)), "as wide as of arms that were not asked the same"
    mirrored = difference(base, student, notes, [DRUGS])["medication"]["joint_f1"]
    assert (mirrored.value, mirrored.low) == (pytest.approx(-(found.value or 0)), pytest.approx(-(found.high or 0)))


def test_a_difference_uses_only_what_both_arms_answered() -> None:
    notes = by_id(*(record(name, medication="Yasadol | stop") for name in "abcd"))
    first = [said("a", "Yasadol | stop"), said("b", "None found"), said("c", "Yasadol | stop")]
    second = [said("a", "None found"), said("b", None), said("d", "Yasadol | stop")]
    found = difference(first, second, notes, [DRUGS])["medication"]
    assert (found["recall"].value, found["recall"].n, found["recall"].unscored) == (1, 1, 1)
    assert found["precision"].reason == "no emitted items in the second arm"
