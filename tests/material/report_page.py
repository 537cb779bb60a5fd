"""The page of a run's report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chartdistill.reporting.report import report
from report_run import TASKS


def page_of(run: Path, **options: Any) -> str:
    report(run, TASKS, "Trial", **options)
    return (run / "report" / "report.html").read_text(encoding="utf-8")
