"""Trust gates: judged by what was configured, never passed for want of a figure."""

from __future__ import annotations

from typing import Any

import pytest

from chartdistill.evaluation.scores import Scores
from chartdistill.evaluation.trust_gates import GateVerdict, TrustGate, judge_gates
from chartdistill.metrics.bootstrap import Estimate, undefined

JOINT = TrustGate(metric="joint_f1", at_least=0.9, of="teacher")
CONFABULATION = TrustGate(metric="confabulation_rate", at_most=0.05, by="bound")
STOPPED = TrustGate(metric="stop_as_continue_rate", at_most=0, least_n=20)


def figure(value: float, low: float | None, high: float | None, n: int = 80) -> Estimate:
    reason = "no interval: one cluster, or all clusters alike" if low is None else None
    return Estimate(value=value, low=low, high=high, n=n, unscored=0, reason=reason)


def judged(
    gate: TrustGate, student: Estimate, other: Estimate | None = None, gap: Estimate | None = None
) -> GateVerdict:
    arms = {"student": {gate.task: {gate.metric: student}}}
    if other is not None:
        arms["teacher"] = {gate.task: {gate.metric: other}}
    gaps = {} if gap is None else {"student-teacher": {gate.task: {gate.metric: gap}}}
    (verdict,) = judge_gates([gate], Scores(gold={"tests": True}, arms=arms, costs={}, differences=gaps))
    return verdict


@pytest.mark.parametrize(
    ("options", "student", "state"),
    [
        ({"metric": "joint_f1", "at_least": 0.8}, figure(0.8, 0.7, 0.9), "passed"),
        ({"metric": "joint_f1", "at_least": 0.8}, figure(0.7999, 0.7, 0.9), "missed"),
        ({"metric": "joint_f1", "at_least": 0.8, "by": "bound"}, figure(0.9, 0.79, 0.95), "missed"),
        ({"metric": "joint_f1", "at_least": 0.8, "by": "bound"}, figure(0.9, 0.81, 0.95), "passed"),
        ({"metric": "invented_rate", "at_most": 0.05}, figure(0.05, 0.01, 0.2), "passed"),
        ({"metric": "invented_rate", "at_most": 0.05, "by": "bound"}, figure(0.04, 0.0, 0.051), "missed"),
        ({"metric": "invented_rate", "at_most": 0.05, "by": "bound"}, figure(0.04, 0.0, 0.049), "passed"),
        ({"metric": "invented_rate", "at_most": 0.05, "by": "bound"}, figure(0.0, None, None), "cannot be judged"),
        ({"metric": "joint_f1", "at_least": 0.8}, undefined("no gold items", 3), "cannot be judged"),
        ({"metric": "joint_f1", "at_least": 0.8, "task": "tests"}, figure(0.9, 0.8, 0.95), "passed"),
    ],
)
def test_a_gate_on_the_students_own_figure(options: dict[str, Any], student: Estimate, state: str) -> None:
    verdict = judged(TrustGate(**options), student)
    assert verdict.state == state
    assert verdict.passed == (state == "passed")


@pytest.mark.parametrize(
    ("metric", "limit", "own", "state"),
    [("joint_f1", {"at_least": 0.9}, 0.72, "passed"), ("joint_f1", {"at_least": 0.9}, 0.7199, "missed"),
     ("confabulation_rate", {"at_most": 1.5}, 1.2, "passed"), ("confabulation_rate", {"at_most": 1.5}, 1.21, "missed")],
)  # fmt: skip
def test_a_gate_on_a_share_of_the_teachers_value(metric: str, limit: dict[str, float], own: float, state: str) -> None:
    # 0.9 x 0.8 = 0.72, and 1.5 x 0.8 = 1.2: reached exactly, in spite of rounding
    gate = TrustGate(metric=metric, of="teacher", **limit)  # type: ignore[arg-type]
    assert judged(gate, figure(own, 0.0, 1.0), figure(0.8, 0.7, 0.9)).state == state


@pytest.mark.parametrize(
    ("metric", "limit", "low", "high", "state"),
    [
        # low + (1 - 0.9) * 0.8 = low + 0.08 >= 0
        ("joint_f1", {"at_least": 0.9}, -0.079, 0.02, "passed"),
        ("joint_f1", {"at_least": 0.9}, -0.081, 0.02, "missed"),
        # high + (1 - 1.5) * 0.8 = high - 0.4 <= 0
        ("confabulation_rate", {"at_most": 1.5}, -0.2, 0.399, "passed"),
        ("confabulation_rate", {"at_most": 1.5}, -0.2, 0.401, "missed"),
    ],
)
def test_a_bound_against_the_teacher_is_of_the_paired_difference(
    metric: str, limit: dict[str, float], low: float, high: float, state: str
) -> None:
    gate = TrustGate(metric=metric, of="teacher", by="bound", **limit)  # type: ignore[arg-type]
    # The student's own interval is wide, and plays no part.
    verdict = judged(gate, figure(0.8, 0.0, 1.0), figure(0.8, 0.0, 1.0), figure(0.0, low, high))
    assert verdict.state == state
    assert "student minus teacher is" in verdict.sentence
    assert f"the student is 0.{'001' if metric == 'joint_f1' else '1 pp'}" in verdict.sentence


def test_what_is_undefined_is_not_passed_and_says_why() -> None:
    student = figure(0.9, 0.8, 1.0)
    assert "the teacher has no such figure in this run" in judged(JOINT, student).sentence
    assert "(no gold)" in judged(JOINT, student, undefined("no gold", 0)).sentence
    bound = JOINT.model_copy(update={"by": "bound"})
    assert "was not computed" in judged(bound, student, student).sentence
    assert "has no interval (one cluster)" in judged(
        bound, student, student, Estimate(value=0.1, low=None, high=None, n=3, unscored=0, reason="one cluster")
    ).sentence  # fmt: skip
    (unscored,) = judge_gates([JOINT], None)
    assert unscored.sentence == (
        "Cannot be judged, so not passed: joint F1 (all tasks) must be at least 0.9 times the teacher's; no arm has "
        "been scored."
    )


def test_a_rate_of_zero_is_said_with_what_it_does_not_rule_out() -> None:
    sentence = judged(STOPPED, figure(0.0, 0.0, 0.072, n=40)).sentence
    assert sentence.startswith("Passed: stopped, called taken (all tasks) must be at most 0.0%; the student has none")
    assert "n 40 (few); n: gold items with status stop" in sentence
    assert "a true rate of up to 7.2% (95% upper bound)" in sentence


def test_a_near_miss_is_not_hidden_by_rounding() -> None:
    sentence = judged(TrustGate(metric="invented_rate", at_most=0.05), figure(0.05001, 0.0, 0.1)).sentence
    assert sentence.endswith("(unrounded: 0.05001, limit 0.05).")


@pytest.mark.parametrize(
    ("options", "student", "state", "told"),
    [
        ({"metric": "stop_as_continue_rate", "at_most": 0, "least_n": 60}, figure(0.0, 0.0, 0.05, n=60), "passed", ""),
        (
            {"metric": "stop_as_continue_rate", "at_most": 0, "least_n": 60},
            figure(0.0, 0.0, 0.06, n=59), "cannot be judged", "its n is 59, below the least n of 60",
        ),
        ({"metric": "stop_as_continue_rate", "at_most": 0, "least_n": 60}, figure(0.01, 0.0, 0.05, n=90), "missed", ""),
        ({"metric": "joint_f1", "at_least": 0.5, "least_n": 60}, figure(0.9, 0.8, 1.0, n=20), "cannot be judged", "20"),
        # by value, and none of 19 is all that 5% of 19 leaves: a gate on zero in other words
        ({"metric": "invented_rate", "at_most": 0.05}, figure(0.0, 0.0, 0.15, n=19), "cannot be judged", "only none"),
        ({"metric": "invented_rate", "at_most": 0.05}, figure(0.0, 0.0, 0.14, n=20), "passed", ""),
        ({"metric": "invented_rate", "at_most": 0.05}, figure(0.1, 0.0, 0.3, n=10), "missed", ""),
        ({"metric": "invented_rate", "at_most": 0.05, "least_n": 5}, figure(0.0, 0.0, 0.3, n=10), "passed", ""),
        ({"metric": "invented_rate", "at_most": 0.05, "by": "bound"}, figure(0.0, 0.0, 0.04, n=19), "passed", ""),
        ({"metric": "format_valid_rate", "at_least": 0.99}, figure(1.0, 0.9, 1.0, n=50), "cannot be judged", "least_n"),
    ],
)  # fmt: skip
def test_none_among_few_passes_no_gate(options: dict[str, Any], student: Estimate, state: str, told: str) -> None:
    verdict = judged(TrustGate(**options), student)
    assert verdict.state == state
    assert told in verdict.sentence


def test_a_teacher_without_errors_makes_no_gate_on_zero() -> None:
    gate = TrustGate(metric="stop_as_continue_rate", at_most=1.2, of="teacher")
    none = figure(0.0, 0.0, 0.3, n=9)
    assert judged(gate, none, none).state == "cannot be judged"
    assert judged(gate.model_copy(update={"least_n": 9}), none, none).state == "passed"


@pytest.mark.parametrize(("named", "harm", "state"), [(0, 0.0, "cannot be judged"), (19, 0.0, "cannot be judged"),
                                                       (20, 0.0, "passed"), (5, 0.1, "missed")])  # fmt: skip
def test_silence_passes_no_gate_on_harm(named: int, harm: float, state: str) -> None:
    """A student of broken answers alone, or that says "None found" throughout, calls no stopped drug taken."""
    of_named = figure(0.0, 0.0, 0.1, named) if named else undefined("no gold items", 0)
    figures = {STOPPED.metric: figure(harm, 0.0, 0.2), STOPPED.metric + "_of_named": of_named}
    scores = Scores(gold={"tests": True}, arms={"student": {"all": figures}}, costs={}, differences={})
    (verdict,) = judge_gates([STOPPED], scores)
    assert verdict.state == state, verdict.sentence
    assert (f"only {named} of these" in verdict.sentence) == (state == "cannot be judged")


@pytest.mark.parametrize(("named", "state"), [(5, "cannot be judged"), (60, "passed")])
@pytest.mark.parametrize("of", [None, "teacher"])
def test_silence_passes_no_gate_on_harm_by_its_bound(named: int, state: str, of: Any) -> None:
    """None of 100 has an upper end of 4%, whether the student listed these drugs or not."""
    gate = TrustGate(metric=STOPPED.metric, at_most=1 if of else 0.05, by="bound", least_n=60, of=of)
    figures = {gate.metric: figure(0.0, 0.0, 0.04, 100), f"{gate.metric}_of_named": figure(0.0, 0.0, 0.5, named)}
    arms = {"student": {"all": figures}, "teacher": {"all": {gate.metric: figure(0.1, 0.05, 0.2, 100)}}}
    gaps = {"student-teacher": {"all": {gate.metric: figure(-0.1, -0.2, -0.05, 100)}}}
    (verdict,) = judge_gates([gate], Scores(gold={"tests": True}, arms=arms, costs={}, differences=gaps))
    assert verdict.state == state, verdict.sentence
    assert (f"only {named} of these" in verdict.sentence) == (state == "cannot be judged")


@pytest.mark.parametrize(("named", "state"), [(0, "cannot be judged"), (1, "passed")])
@pytest.mark.parametrize("by", ["value", "bound"])
def test_who_lists_none_of_the_drugs_passes_no_gate_on_harm_without_a_least_n(named: int, state: str, by: Any) -> None:
    gate = TrustGate(metric=STOPPED.metric, at_most=0.05, by=by)
    of_named = figure(0.0, 0.0, 0.9, named) if named else undefined("no gold items", 0)
    figures = {gate.metric: figure(0.0, 0.0, 0.04, 100), f"{gate.metric}_of_named": of_named}
    scores = Scores(gold={"tests": True}, arms={"student": {"all": figures}}, costs={}, differences={})
    (verdict,) = judge_gates([gate], scores)
    assert verdict.state == state, verdict.sentence
    assert ("lists the drug of none" in verdict.sentence) == (named == 0)
