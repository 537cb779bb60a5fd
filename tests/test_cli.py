"""The command line as a user meets it: plain errors, exit codes, the dry run."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import chartdistill


def test_missing_weights_are_said_before_any_work(tmp_path: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    (charts / "a.txt").write_text("Takes Velorim 20 mg daily.")
    run_dir = tmp_path / "run"
    answer = chartdistill("run", "configs/gpu-24gb.yaml", "--records", str(charts), "--run-dir", str(run_dir))
    assert answer.returncode == 4
    assert "hf download Qwen/Qwen3-8B-FP8" in answer.stderr
    assert "make distill CONFIG=configs/demo.yaml" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not run_dir.exists()


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    answer = chartdistill("run", "configs/demo.yaml", "--run-dir", str(tmp_path / "run"), "--dry-run")
    plan = json.loads(answer.stdout)
    assert plan["tasks"] == ["medication", "prognosis", "diagnosis", "tests"]
    assert plan["config"]["train"]["lora"]["rank"] == 16
    assert not any(plan["complete"].values())
    assert not (tmp_path / "run").exists()


def test_a_wrong_config_has_its_own_exit_code() -> None:
    answer = chartdistill("run", "configs/no-such.yaml")
    assert answer.returncode == 2
    assert "does not exist" in answer.stderr


def test_prepare_says_what_it_rejected_and_passed_over_and_shows_no_older_report(tmp_path: Path) -> None:
    charts, run_dir = tmp_path / "charts", tmp_path / "run"
    charts.mkdir()
    (charts / "a.txt").write_text("Takes Velorim 20 mg daily.")
    (charts / "b.txt").write_bytes(b"%PDF-1.4\n1 0 obj\n")
    (charts / "C.TXT").write_text("Takes Velorim 20 mg daily.")
    old = run_dir / "report" / "report.json"
    old.parent.mkdir(parents=True)
    old.write_text("not even JSON", encoding="utf-8")
    answer = chartdistill("prepare", "configs/demo.yaml", "--records", str(charts), "--run-dir", str(run_dir))
    assert answer.returncode == 0, answer.stderr
    shown = " ".join(answer.stdout.replace("│", " ").split())
    assert "rejected 1 (pdf 1)" in shown and "passed_over 1" in shown and "kept 1 (" in shown
    assert "report.html" not in shown


def test_score_shows_its_forms_and_how_many_pairs_are_left_to_judge(tmp_path: Path) -> None:
    gold, answers, left = (tmp_path / name for name in ("gold.jsonl", "answers.jsonl", "left.jsonl"))
    gold.write_text('{"id": "c1", "gold": {"diagnosis": [{"text": "sore throat"}]}}\n', encoding="utf-8")
    answers.write_text('{"record": "c1", "task": "diagnosis", "items": ["angina of the throat"]}\n', encoding="utf-8")
    answer = chartdistill("score", str(answers), str(gold), "--unmatched", str(left))
    assert f"1 unmatched pairs in {left}: for `same` write true or false" in answer.stdout
    forms = chartdistill("score", "--help").stdout
    assert '{"record": "c1", "task": "medication", "completion": "aspirin | stop"}' in forms
