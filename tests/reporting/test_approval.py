"""What became of the trust gates: said in every report, remembered with the adapter, and an exit code of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.errors import TrustGateError
from chartdistill.evaluation import REGISTRATIONS
from chartdistill.evaluation.judgement import student_warnings
from chartdistill.evaluation.trust_gates import TrustGate
from chartdistill.reporting.report import evaluation_mark, report, require_approval
from chartdistill.runtime.run_folder import read_manifest, write_text
from command_line import forked
from demo_config import written
from report_run import TASKS, invent_scores, set_in_time, write_manifest, write_run

JOINT = TrustGate(metric="joint_f1", at_least=0.9, of="teacher")
CONFABULATION = TrustGate(metric="confabulation_rate", at_most=0.05, by="bound")
STOPPED = TrustGate(metric="stop_as_continue_rate", at_most=0, least_n=20)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_the_adapter_and_all_reports_say_what_became_of_the_gates(run: Path) -> None:
    before = read_manifest(run / "adapter")
    gates = [JOINT, CONFABULATION, STOPPED]
    set_in_time(run, *gates)
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
    first_screen = page.partition('<section id="run"')[0].replace("&#39;", "'")
    for sentence in approval["gates"]:
        assert sentence in text
        assert sentence in first_screen
    assert "Not approved: 2 of 3 limits of the config not passed." in first_screen
    with pytest.raises(TrustGateError, match=r"^2 of 3 trust gates not passed:\n  - Missed: confabulation") as stop:
        require_approval(made)
    assert "Passed" not in str(stop.value)


def test_a_report_that_is_done_is_not_made_again_and_still_stops(run: Path) -> None:
    set_in_time(run, STOPPED)
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
    set_in_time(run, easy)
    require_approval(report(run, TASKS, "Gated", [easy]))
    approval = (read_manifest(run / "adapter") or {})["approval"]
    assert (approval["status"], approval["missed"]) == ("approved", 0)
    page = (run / "report" / "report.html").read_text()
    assert "Passed the one limit of the config (not a clinical approval)." in page
    (run / REGISTRATIONS).unlink()
    require_approval(report(run, TASKS, "Gated"))
    assert "approval" not in (read_manifest(run / "adapter") or {})
    assert "what would be good enough was not decided" in (run / "report" / "report.html").read_text()


def test_an_approval_without_gold_says_nothing_of_correctness(tmp_path: Path) -> None:
    run, gate = write_run(tmp_path, gold=False), TrustGate(metric="invented_rate", at_most=0.9)
    set_in_time(run, gate)
    report(run, TASKS, "No gold", [gate])
    said = "Passed the one limit of the config (not about correctness; not a clinical approval)."
    assert said in (run / "report" / "report.md").read_text()
    made = report(run, TASKS, "No gold", [JOINT])
    with pytest.raises(TrustGateError, match="Cannot be judged, so not passed: joint F1"):
        require_approval(made)


def test_who_predicts_is_told_when_the_adapter_is_not_approved(run: Path) -> None:
    def said(*gates: TrustGate) -> list[str]:
        return student_warnings(gates, read_manifest(run / "adapter") or {}, evaluation_mark(run))

    assert said() == []
    assert said(STOPPED)[0].startswith("the adapter has not been judged yet by the trust gates of this config")
    set_in_time(run, STOPPED)
    report(run, TASKS, "Gated", [STOPPED])
    first, second = said(STOPPED)
    assert first.startswith("the adapter is NOT APPROVED")
    assert second.startswith("Missed: stopped, called taken")
    easy = TrustGate(metric="joint_f1", at_least=0.1)
    assert "not been judged yet by these trust gates" in said(easy)[0], "an approval by other gates does not count"
    report(run, TASKS, "Gated", [easy])
    assert [words.partition(":")[0] for words in said(easy)[1:]] == ["Gates changed after evaluation"]
    set_in_time(run, easy)
    report(run, TASKS, "Gated", [easy])
    assert said(easy) == []
    write_text(run / "predictions" / "manifest.json", json.dumps({"fingerprint": "evaluated anew", "seconds": 1.0}))
    assert "not been judged yet by these trust gates and scores" in said(easy)[0]


@pytest.mark.slow
def test_report_on_the_command_line_ends_with_its_own_exit_code_each_time(run: Path, tmp_path: Path) -> None:
    def with_gate(values: dict[str, Any]) -> None:
        values["gates"] = [{"metric": "stop_as_continue_rate", "at_most": 0, "least_n": 20}]

    set_in_time(run, STOPPED)
    config = written(tmp_path, with_gate)
    for _ in range(2):
        answer = forked("report", str(config), "--run-dir", str(run))
        assert answer.returncode == 10, answer.stderr
        assert "1 of 1 trust gates not passed" in answer.stderr
        assert "Missed: stopped, called taken" in answer.stderr
        assert "Traceback" not in answer.stderr
        assert "Not approved: 1 of 1 limit of the config not passed." in answer.stdout
        assert "format_valid" in answer.stdout, "broken answers stand beside confabulation"
        assert (run / "report" / "report.html").exists()
        assert (read_manifest(run / "report") or {})["trust_gates"]["status"] == "not-approved"
    values = yaml.safe_load(config.read_text())
    values["gates"] = [{"metric": "joint_f1", "at_least": 0.9, "of": "teacher"}]
    config.write_text(yaml.safe_dump(values))
    late = forked("report", str(config), "--run-dir", str(run))
    assert late.returncode == 10, late.stderr
    assert "approval withheld:\n  - Gates changed after evaluation" in late.stderr
    assert "Gates changed after evaluation" in late.stdout
    set_in_time(run, JOINT)
    assert forked("report", str(config), "--run-dir", str(run), "--quiet").returncode == 0


def test_advice_after_a_missed_gate_is_not_given_where_approval_is_withheld() -> None:
    sentence = {"sentence": "Missed: joint F1.", "state": "missed"}
    with pytest.raises(TrustGateError, match="Better labels, more records"):
        require_approval({"trust_gates": {"verdicts": [sentence]}})
    late = {"verdicts": [sentence | {"state": "passed"}], "withheld": ["gates changed"], "warnings": ["Gates changed."]}
    with pytest.raises(TrustGateError, match=r"^approval withheld:\n  - Gates changed\.") as stop:
        require_approval({"trust_gates": late})
    assert "Better labels" not in str(stop.value)


def test_limits_passed_on_synthetic_charts_are_no_clinical_approval_anywhere(run: Path) -> None:
    records = run / "records" / "records.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    write_text(records, "".join(json.dumps(row | {"source": "synthetic:train:1:0"}) + "\n" for row in rows))
    gates = [TrustGate(metric="joint_f1", at_least=0.1), TrustGate(metric="recall", at_least=0.1)]
    set_in_time(run, *gates)
    report(run, TASKS, "Gated", gates)
    said = "Passed the 2 limits of the config (synthetic charts; not a clinical approval)."
    for path in ("report/report.md", "report/report.html", "adapter/README.md"):
        assert said in (run / path).read_text(), path
        assert "Approved" not in (run / path).read_text(), path
    assert json.loads((run / "report" / "report.json").read_text())["trust_gates"]["sentence"] == said
    (told,) = student_warnings(gates, read_manifest(run / "adapter") or {}, evaluation_mark(run))
    assert told.startswith("the adapter was approved on synthetic charts only")


def test_scores_of_an_evaluation_that_did_not_finish_or_of_an_earlier_student_approve_nothing(run: Path) -> None:
    easy = TrustGate(metric="joint_f1", at_least=0.1)
    set_in_time(run, easy)

    def why_not() -> str:
        made = report(run, TASKS, "Gated", [easy])
        with pytest.raises(TrustGateError, match="no arm has been scored"):
            require_approval(made)
        assert (read_manifest(run / "adapter") or {})["approval"]["status"] == "not-approved"
        figures = json.loads((run / "report" / "report.json").read_text())
        assert figures["arms"] == {}
        return " ".join(figures["limits"])

    of_this = {"records": "records", "labels": "labels", "curated": "curated", "adapter": "adapter"}
    write_manifest(run / "predictions", seconds=41.0, made_from=of_this)
    require_approval(report(run, TASKS, "Gated", [easy]))
    write_manifest(run / "adapter", seconds=88.5, fingerprint="trained anew")
    assert "older than what is in adapter/ now. Run `chartdistill evaluate CONFIG`." in why_not()
    (run / "predictions" / "manifest.json").unlink()  # `evaluate` began, and was killed
    assert "the last one did not finish" in why_not()
    write_manifest(run / "predictions", seconds=41.0, made_from=of_this | {"adapter": "trained anew"})
    require_approval(report(run, TASKS, "Gated", [easy]))


@pytest.mark.slow
def test_a_run_folder_is_named_as_it_is_called(tmp_path: Path) -> None:
    run = write_run(tmp_path / "[" / "b]-[old]")  # to rich, the end of a style that never began, and one that it drops
    answer = forked("report", str(written(tmp_path, lambda values: values.pop("gates"))), "--run-dir", str(run))
    assert "Traceback" not in answer.stderr and answer.returncode == 0
    assert "[/b]-[old]" in answer.stdout.replace("\n", "")
