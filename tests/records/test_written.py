"""The written charts: whole, honest in their gold, and never on two sides."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from chartdistill.clinical.entities import entity_of
from chartdistill.config import load_task
from chartdistill.records import PrepareOptions
from chartdistill.records.near_duplicates import cluster_records
from chartdistill.records.sources import SourceEntry, WrittenSource
from chartdistill.records.sources.written import CHARTS, WrittenChart
from places import ROOT

CHART_LIST = [WrittenChart.model_validate_json(line) for line in CHARTS.read_text(encoding="utf-8").splitlines()]
TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "prognosis", "diagnosis", "tests")]


def test_every_item_stands_in_its_chart_with_a_status_of_its_task() -> None:
    for chart in CHART_LIST:
        assert set(chart.gold) == {task.name for task in TASKS}
        for task in TASKS:
            for item in chart.gold[task.name]:
                assert item.text in chart.text, chart.id
                assert (item.status in task.statuses) if task.statuses else item.status is None, chart.id


def test_no_item_stands_twice() -> None:
    for chart in CHART_LIST:
        for task in TASKS:
            keys = Counter((entity_of(task).key(item.text), item.status) for item in chart.gold[task.name])
            assert not [key for key, number in keys.items() if number > 1], chart.id


def test_a_fifth_is_for_testing_alike_over_writers_and_nobody_is_named() -> None:
    for writer in {chart.writer for chart in CHART_LIST}:
        own = [chart.split for chart in CHART_LIST if chart.writer == writer]
        assert 0.17 <= own.count("test") / len(own) <= 0.23
    for chart in CHART_LIST:
        assert not re.search(r"\d{3}-\d{2}-\d{4}|\d{3}-\d{3}-\d{4}|\bMRN\b|@\w+\.\w+", chart.text), chart.id
        assert not re.search(r"\b(?:Mr|Mrs|Ms|Dr)\.? (?!Doe\b)[A-Z][a-z]+", chart.text), chart.id


def test_no_two_are_near_duplicates() -> None:
    assert len(set(cluster_records(chart.text for chart in CHART_LIST))) == len(CHART_LIST)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_part_keeps_its_split(part: str) -> None:
    entries = list(WrittenSource(part=part).read(PrepareOptions().max_bytes))
    assert entries
    for entry in entries:
        assert isinstance(entry, SourceEntry) and entry.split == part and entry.gold is not None
