"""Spans counted in other units, or before line ends changed, are found again. All charts are invented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import annotation_files as files
from annotation_reading import TASKS, read
from chartdistill.records import body_hash
from chartdistill.schema import Task

CHART = files.CHART


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return TASKS


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("text_end", ["\n", "\r\n"])
def test_offsets_counted_before_line_ends_changed_are_found_again(
    line_end: str, text_end: str, tmp_path: Path, tasks: list[Task]
) -> None:
    folder = files.brat(tmp_path / "b", chart=CHART.replace("\n", line_end))
    (folder / "c1.txt").write_bytes(CHART.replace("\n", text_end).encode())
    reading, found = read(folder, tasks)
    assert found == files.SAID and not reading.findings


@pytest.mark.parametrize("chart", [f"\U0001f48a\U0001f48a {CHART}", f"Café, 5 µg, 37 °C: {CHART}"])
@pytest.mark.parametrize("unit", ["utf-16", "utf-8"])
@pytest.mark.parametrize("with_text", [True, False])
def test_offsets_in_other_units_are_found(
    chart: str, unit: str, with_text: bool, tmp_path: Path, tasks: list[Task]
) -> None:
    def moved(offset: int) -> int:
        before = chart[:offset]
        return len(before.encode("utf-16-le")) // 2 if unit == "utf-16" else len(before.encode())

    task = json.loads(files.label_studio(tmp_path / "e.json", chart=chart).read_text())
    for region in task[0]["annotations"][0]["result"][1:]:
        value = region["value"]
        value["start"], value["end"] = moved(value["start"]), moved(value["end"])
        if not with_text:
            del value["text"]
    (tmp_path / "e.json").write_text(json.dumps(task))
    reading, found = read(tmp_path / "e.json", tasks)
    assert found == files.SAID and not reading.findings


@pytest.mark.parametrize("counted", [True, False])
def test_a_byte_order_mark_before_a_chart_is_counted_or_not(counted: bool, tmp_path: Path, tasks: list[Task]) -> None:
    folder = files.brat(tmp_path / "b", chart=("\ufeff" if counted else "") + CHART)
    (folder / "c1.txt").write_bytes(CHART.encode("utf-8-sig"))
    reading, found = read(folder, tasks)
    assert found == files.SAID and not reading.findings
    assert {answer.body for answer in reading.answers} == {body_hash(CHART)}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("text_end", ["\n", "\r\n"])
def test_offsets_in_other_units_are_found_though_line_ends_changed(
    line_end: str, text_end: str, tmp_path: Path, tasks: list[Task]
) -> None:
    chart = f"\U0001f48a \u00e0 jeun\n{CHART}"
    counted = chart.replace("\n", line_end)
    task = json.loads(files.label_studio(tmp_path / "e.json", chart=counted).read_text())
    for region in task[0]["annotations"][0]["result"][1:]:
        for name in ("start", "end"):
            region["value"][name] = len(counted[: region["value"][name]].encode("utf-16-le")) // 2
    task[0]["data"]["text"] = chart.replace("\n", text_end)
    (tmp_path / "e.json").write_text(json.dumps(task))
    reading, found = read(tmp_path / "e.json", tasks)
    assert found == files.SAID and not reading.findings
