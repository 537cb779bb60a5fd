"""Files of labels that are broken, cut or half right: what cannot be read gives no label, and is named."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chartdistill.config import load_task
from chartdistill.records import AnnotationFile, Reading, read_annotations
from chartdistill.records.sources import JsonlSource, SourceEntry
from chartdistill.schema import Task
from places import ROOT


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "diagnosis", "tests")]


def read(path: Path, tasks: list[Task], **options: Any) -> Reading:
    return read_annotations(AnnotationFile(path=path, **options), tasks)


def codes(reading: Reading) -> dict[str, int]:
    return dict(Counter(finding.code for finding in reading.findings))


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def taken(reading: Reading) -> dict[str, list[tuple[str, str | None]]]:
    return {one.task.name: [(item.text, item.status) for item in one.items or ()] for one in reading.answers}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"text": "naproxen", "Status": "stop"}, "unknown key 'Status'; allowed: text, status, optional"),
        ({"text": "naproxen", "stauts": "stop"}, "unknown key 'stauts'"),
        ({"text": "naproxen", "action": "stop"}, "unknown key 'action'"),
        ({"text": " \t"}, "blank"),
        ("  ", "blank"),
        ("\u00a0", "blank"),
        ({"text": "None found"}, r"write the list `\[\]`"),
        ("N/A", "says none"),
        ("no medications", "says none"),
        (None, "is not a text"),
        (7, "is not a text"),
        ([], "is not a text"),
        ({"text": None}, "is not a text"),
    ],
)
def test_an_item_that_is_none_makes_no_label(item: object, said: str, tmp_path: Path, tasks: list[Task]) -> None:
    good = {"text": "gout pills", "status": "stop", "span": [1, 4], "grounded": True, "dose": {"number": 5}}
    for row in (
        {"record": "c1", "task": "medication", "items": [good, item]},
        {"id": "c1", "gold": {"medication": [good, item]}},
        {"id": "c1", "tasks": {"medication": {"items": [good, item]}}},
    ):
        tests = {"record": "c1", "task": "tests", "items": []}
        reading = read(write_lines(tmp_path / "r.jsonl", row, tests), tasks)
        (finding,) = reading.findings
        assert (finding.code, finding.place, finding.task) == ("bad_line", "r.jsonl: line 1", "medication")
        assert "entry 1" in finding.detail and re.search(said, finding.detail)
        assert taken(reading) == {"tests": []}, "and nothing is made of the rest"


@pytest.mark.parametrize("text", [" ", "None found", "none", "no tests"])
def test_gold_of_a_row_has_no_item_that_is_none(text: str, tmp_path: Path) -> None:
    chart = "A chart with words enough to be kept as a record."
    rows = [{"id": "a", "text": chart, "gold": {"tests": of}} for of in ([{"text": text}], [], [{"text": "CBC"}])]
    path = write_lines(tmp_path / "r.jsonl", *rows)
    bad, *good = JsonlSource(path=path, gold_field="gold").read()
    assert not isinstance(bad, SourceEntry) and bad.reason == "bad_gold" and "tests" in bad.detail
    assert all(isinstance(one, SourceEntry) for one in good)
