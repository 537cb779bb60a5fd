"""The examples of a report: varied, marked, the same again, and none called right that nobody can judge."""

from __future__ import annotations

import re
from pathlib import Path

from chartdistill.reporting.report import report
from chartdistill.reporting.run_results import read_results
from chartdistill.schema import Prediction
from page_text import Page, read
from report_run import TASKS, write_rows, write_run


def test_examples_are_varied_marked_and_repeatable(tmp_path: Path) -> None:
    run = write_run(tmp_path / "first")
    report(run, TASKS, "Trial run", include_text=True)
    source = read(run, "report.html")
    assert source.count('<article class="example">') == 10
    reasons = re.findall(r"shown because: ([^<]+)<", source)
    assert len(set(reasons)) >= 4
    assert "student and base differ" in reasons
    page = Page(source)
    results = read_results(run, TASKS, "Trial run")
    shown = set(re.findall(r'<article class="example">\s*<details>\s*<summary><h3>([^<]+)</h3>', source))
    for name in shown:
        record = results.scored_records[name]
        for item in (record.gold or {})["medication"]:
            assert any(item.text in piece for piece in page.marked), name
    assert "<s>Inventamol</s>" in source
    again = write_run(tmp_path / "again")
    report(again, TASKS, "Trial run", include_text=True)
    assert read(again, "report.html") == source


def test_an_example_that_nobody_can_judge_is_not_called_right(tmp_path: Path) -> None:
    """Without gold, or where the student has no answer, "nothing wrong" would say that it is right."""
    report(write_run(tmp_path, gold=False), TASKS, "No gold", include_text=True)
    without_gold = re.findall(r"<small>([^<]+); shown because", read(tmp_path, "report.html"))
    assert len(without_gold) == 10
    assert "nothing wrong" not in without_gold
    assert f"not judged: {', '.join(task.name for task in TASKS)}" in without_gold

    write_run(tmp_path)
    path = tmp_path / "predictions" / "student.jsonl"
    answers = [Prediction.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    of_tests = [answer for answer in answers if answer.task == "tests"]
    others = [answer for answer in answers if answer.task != "tests"]
    failed = {"completion": None, "items": None, "failure": "engine: gone"}
    write_rows(path, *others, *(answer.model_copy(update=failed) for answer in of_tests))
    report(tmp_path, TASKS, "An engine that died", include_text=True)
    with_gold = re.findall(r"<small>([^<]+); shown because", read(tmp_path, "report.html"))
    assert "not judged: tests" in with_gold
    assert "nothing wrong" not in with_gold
