"""Trust gates: judged by what was configured, never passed for want of a figure, remembered with the adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.errors import TrustGateError
from chartdistill.evaluation.scores import Scores
from chartdistill.evaluation.trust_gates import GateVerdict, TrustGate, doubts, judge_gates
from chartdistill.metrics.bootstrap import Estimate, undefined
from chartdistill.reporting.report import evaluation_mark, report, require_approval
from chartdistill.runtime.run_folder import read_manifest, write_text
from report_run import TASKS, invent_scores, write_run
from test_cli import chartdistill
from test_config import written

JOINT = TrustGate(metric="joint_f1", at_least=0.9, of="teacher")
CONFABULATION = TrustGate(metric="confabulation_rate", at_most=0.05, by="bound")
STOPPED = TrustGate(metric="stop_as_continue_rate", at_most=0)


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
    assert sentence.startswith(
        "Passed: stopped, called continued (all tasks) must be at most 0.0%; the student has none"
    )
    assert "n 40 (few); n: gold items with status stop" in sentence
    assert "a true rate of up to 7.2% (95% upper bound)" in sentence


def test_a_near_miss_is_not_hidden_by_rounding() -> None:
    sentence = judged(TrustGate(metric="invented_rate", at_most=0.05), figure(0.05001, 0.0, 0.1)).sentence
    assert sentence.endswith("(unrounded: 0.05001, limit 0.05).")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_the_adapter_and_all_reports_say_what_became_of_the_gates(run: Path) -> None:
    before = read_manifest(run / "adapter")
    gates = [JOINT, CONFABULATION, STOPPED]
    made = report(run, TASKS, "Gated", gates)
    manifest = read_manifest(run / "adapter") or {}
    approval = manifest.pop("approval")
    assert manifest == before, "all else of the adapter's manifest is kept, its fingerprint too"
    assert (run / "adapter" / "manifest.json").stat().st_mode & 0o777 == 0o600
    assert approval["status"] == "not-approved"
    assert approval["missed"] == 2
    figures = json.loads((run / "report" / "report.json").read_text())["trust_gates"]
    assert figures["status"] == "not-approved"
    assert [one["state"] for one in figures["verdicts"]] == ["passed", "missed", "missed"]
    scores = invent_scores(gold=True)["arms"]
    teacher, student = (scores[arm]["all"]["joint_f1"]["value"] for arm in ("teacher", "student"))
    assert figures["verdicts"][0]["limit"] == pytest.approx(0.9 * teacher)
    assert figures["verdicts"][0]["estimate"]["value"] == student
    text, page = ((run / "report" / name).read_text() for name in ("report.md", "report.html"))
    first_screen = page.partition('<section id="headline">')[0].replace("&#39;", "'")
    for sentence in approval["gates"]:
        assert sentence in text
        assert sentence in first_screen
    assert "Not approved: 2 of 3 trust gates not passed." in first_screen
    with pytest.raises(TrustGateError, match=r"^2 of 3 trust gates not passed:\n  - Missed: confabulation") as stop:
        require_approval(made)
    assert "Passed" not in str(stop.value)


def test_a_report_that_is_done_is_not_made_again_and_still_stops(run: Path) -> None:
    first = report(run, TASKS, "Gated", [STOPPED])
    stamps = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    again = report(run, TASKS, "Gated", [STOPPED])
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == stamps
    assert again == first
    with pytest.raises(TrustGateError):
        require_approval(again)


def test_gates_are_judged_anew_when_they_change_and_forgotten_when_they_go(run: Path) -> None:
    report(run, TASKS, "Gated", [STOPPED])
    easy = TrustGate(metric="joint_f1", at_least=0.1)
    require_approval(report(run, TASKS, "Gated", [easy]))
    approval = (read_manifest(run / "adapter") or {})["approval"]
    assert (approval["status"], approval["missed"]) == ("approved", 0)
    page = (run / "report" / "report.html").read_text()
    assert "Approved: 1 of 1 trust gates passed." in page
    require_approval(report(run, TASKS, "Gated"))
    assert "approval" not in (read_manifest(run / "adapter") or {})
    assert "what would be good enough was not decided" in (run / "report" / "report.html").read_text()


def test_an_approval_without_gold_says_nothing_of_correctness(tmp_path: Path) -> None:
    run = write_run(tmp_path, gold=False)
    report(run, TASKS, "No gold", [TrustGate(metric="invented_rate", at_most=0.9)])
    assert "Approved: 1 of 1 trust gates passed, none about correctness." in (run / "report" / "report.md").read_text()
    made = report(run, TASKS, "No gold", [JOINT])
    with pytest.raises(TrustGateError, match="Cannot be judged, so not passed: joint F1"):
        require_approval(made)


def test_who_predicts_is_told_when_the_adapter_is_not_approved(run: Path) -> None:
    def said(*gates: TrustGate) -> list[str]:
        return doubts(gates, read_manifest(run / "adapter") or {}, evaluation_mark(run))

    assert said() == []
    assert said(STOPPED)[0].startswith("the adapter has not been judged yet by the trust gates of this config")
    report(run, TASKS, "Gated", [STOPPED])
    first, second = said(STOPPED)
    assert first.startswith("the adapter is NOT APPROVED")
    assert second.startswith("Missed: stopped, called continued")
    easy = TrustGate(metric="joint_f1", at_least=0.1)
    assert "not been judged yet by these trust gates" in said(easy)[0], "an approval by other gates does not count"
    report(run, TASKS, "Gated", [easy])
    assert said(easy) == []
    write_text(run / "predictions" / "manifest.json", json.dumps({"fingerprint": "evaluated anew", "seconds": 1.0}))
    assert "not been judged yet by these trust gates and scores" in said(easy)[0]


def test_report_on_the_command_line_ends_with_its_own_exit_code_each_time(run: Path, tmp_path: Path) -> None:
    def with_gate(values: dict[str, Any]) -> None:
        values["gates"] = [{"metric": "stop_as_continue_rate", "at_most": 0}]

    config = written(tmp_path, with_gate)
    for _ in range(2):
        answer = chartdistill("report", str(config), "--run-dir", str(run))
        assert answer.returncode == 10, answer.stderr
        assert "1 of 1 trust gates not passed" in answer.stderr
        assert "Missed: stopped, called continued" in answer.stderr
        assert "Traceback" not in answer.stderr
        assert "trust gates: NOT-APPROVED" in answer.stdout
        assert (run / "report" / "report.html").exists()
        assert (read_manifest(run / "report") or {})["trust_gates"]["status"] == "not-approved"
    values = yaml.safe_load(config.read_text())
    values["gates"] = [{"metric": "joint_f1", "at_least": 0.9, "of": "teacher"}]
    config.write_text(yaml.safe_dump(values))
    assert chartdistill("report", str(config), "--run-dir", str(run), "--quiet").returncode == 0
