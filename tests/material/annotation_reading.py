"""Reading files of labels that exist, and what a test looks at of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from chartdistill.config import load_task
from chartdistill.records import AnnotationFile, Answer, Reading, read_annotations
from chartdistill.schema import Task
from places import ROOT

TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "diagnosis", "tests", "prognosis")]


def said(answer: Answer) -> list[tuple[str, str | None]] | None:
    return None if answer.items is None else [(item.text, item.status) for item in answer.items]


def read(
    path: Path, tasks: list[Task], **options: Any
) -> tuple[Reading, dict[str, list[tuple[str, str | None]] | None]]:
    reading = read_annotations(AnnotationFile(path=path, **options), tasks)
    return reading, {answer.task.name: said(answer) for answer in reading.answers}


def codes(reading: Reading) -> dict[str, int]:
    return dict(Counter(finding.code for finding in reading.findings))
