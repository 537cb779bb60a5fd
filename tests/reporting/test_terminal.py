"""What `run` says at its end, in a window of 80 columns and where there is no window."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chartdistill.config import load_run
from chartdistill.metrics.catalogue import GOLD_HEADLINE
from chartdistill.reporting.report import report
from chartdistill.reporting.terminal import print_summary
from chartdistill.runtime.run_folder import write_text
from places import ROOT
from report_run import TASKS, write_run


def test_no_name_of_a_metric_or_arm_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report(write_run(tmp_path), TASKS, "Narrow")
    path = tmp_path / "report" / "report.json"
    figures = json.loads(path.read_text(encoding="utf-8"))
    arm = "labels of annotations_2024.jsonl"
    figures["arms"] = {arm: figures["arms"].pop("teacher"), **figures["arms"]}
    figures["arms"][arm]["medication"]["joint_f1"] |= {"n": 2, "records": 1}
    write_text(path, json.dumps(figures))
    monkeypatch.setenv("COLUMNS", "80")
    print_summary(load_run(ROOT / "configs" / "demo.yaml", run_dir=tmp_path))
    said = capsys.readouterr().out
    assert "…" not in said
    assert all(f"│ {metric} " in said for metric in GOLD_HEADLINE)
    columns = [line.split("┃") for line in said.splitlines() if line.startswith("┃")]
    assert arm.replace(" ", "") in "".join(cells[3].strip() for cells in columns if len(cells) > 4).replace(" ", "")
    first_arm = " ".join(line.split("│")[3].strip() for line in said.splitlines() if line.count("│") > 5)
    assert "n=2 in 1 record " in first_arm
