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
