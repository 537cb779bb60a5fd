"""Record text in the report: there when asked for or all charts are synthetic, else in no file that `report` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chartdistill.reporting.report import report
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import CuratedLabel, Item, Prediction, Record, Rejection
from report_run import TASKS, write_rows, write_run

PLANTED = {
    "record": "Qwzrecordtext",
    "gold": "Qwzgolditem",
    "item": "Qwzstudentitem",
    "completion": "Qwzrawcompletion",
    "reject": "Qwzrejecteditem",
    "evidence": "Qwzevidence",
}


def planted_run(folder: Path, synthetic: bool = False) -> Path:
    """A run where every kind of text from a chart or a model holds a word of its own."""
    write_run(folder)
    path = folder / "records" / "records.jsonl"
    records = []
    for record in read_rows(path, Record):
        text = f"{record.text} {PLANTED['record']} {PLANTED['gold']} {PLANTED['item']}"
        gold = {task: (*items, Item(text=PLANTED["gold"])) for task, items in (record.gold or {}).items()}
        source = f"synthetic:heldout:1:{record.id}" if synthetic else record.source
        records.append(record.model_copy(update={"text": text, "gold": gold, "source": source}))
    write_rows(path, *records)
    answers = [
        Prediction(key="k", record=record.id, task=task, arm="student", completion=completion, items=items)
        for record in records
        if record.split == "test"
        for task, completion, items in (
            ("tests", "x", (Item(text=PLANTED["item"]),)),
            ("diagnosis", PLANTED["completion"], None),
        )
    ]
    write_rows(folder / "predictions" / "student.jsonl", *answers)
    rejection = Rejection(
        filter="grounding", reason="invented", item=Item(text=PLANTED["reject"]), evidence=PLANTED["evidence"]
    )
    rejected = CuratedLabel(record="chart-001", task="tests", items=None, rejections=(rejection,))
    write_rows(folder / "curated" / "rejected.jsonl", rejected)
    return folder


def found_in(folder: Path) -> dict[str, set[str]]:
    """File -> kinds of planted text in it, over all that `report` writes."""
    files = [*sorted((folder / "report").iterdir()), folder / "adapter" / "README.md", folder / "adapter/manifest.json"]
    texts = {path.name if path.parent.name == "report" else f"adapter/{path.name}": path.read_text() for path in files}
    return {name: {kind for kind, word in PLANTED.items() if word in text} for name, text in texts.items()}


@pytest.mark.parametrize(
    ("synthetic", "include_text", "shown"),
    [(False, None, False), (True, None, True), (False, True, True), (True, False, False), (False, False, False)],
)
def test_text_is_in_the_page_when_allowed_and_nowhere_else(
    tmp_path: Path, synthetic: bool, include_text: bool | None, shown: bool
) -> None:
    manifest = report(planted_run(tmp_path, synthetic), TASKS, "Planted", include_text=include_text)
    found = found_in(tmp_path)
    assert {"report.html", "report.json", "report.md", "manifest.json", "adapter/README.md"} <= set(found)
    page = found.pop("report.html")
    assert page == (set(PLANTED) if shown else set())
    assert not any(found.values())
    assert manifest["shows_text"] is shown
    html = (tmp_path / "report" / "report.html").read_text()
    assert ("Holds no record text and no item text." in html) is not shown
    assert ("report: {include_text: true}" in html) is not shown
    assert ("Contains record text; handle like the charts." in html) is (shown and not synthetic)
    assert ("Contains record text, of synthetic charts only." in html) is (shown and synthetic)


def test_one_real_chart_among_synthetic_ones_hides_all_text(tmp_path: Path) -> None:
    planted_run(tmp_path, synthetic=True)
    path = tmp_path / "records" / "records.jsonl"
    first, *others = list(read_rows(path, Record))
    write_rows(path, first.model_copy(update={"source": "ward/7.txt"}), *others)
    report(tmp_path, TASKS, "Mixed")
    assert not any(found_in(tmp_path).values())


def test_without_text_the_answers_are_still_judged_and_counted(tmp_path: Path) -> None:
    report(planted_run(tmp_path), TASKS, "Counted")
    html = (tmp_path / "report" / "report.html").read_text()
    assert html.count('<article class="example">') == 10
    assert "1 wrong kind" in html, "the student's planted item stands in the chart, but not in gold"
    assert "bad format or cut off, counted as wrong" in html
    assert "grounding: invented" in html
    assert "chart-001" in html
    assert "notes/chart-" not in html, "file names can name patients"
    assert "<mark" not in html


def test_the_choice_counts_in_the_fingerprint(tmp_path: Path) -> None:
    planted_run(tmp_path)
    hidden = report(tmp_path, TASKS, "Twice")
    shown = report(tmp_path, TASKS, "Twice", include_text=True)
    assert hidden["fingerprint"] != shown["fingerprint"]
    assert found_in(tmp_path)["report.html"] == set(PLANTED)
    assert report(tmp_path, TASKS, "Twice")["fingerprint"] == hidden["fingerprint"]
    assert not any(found_in(tmp_path).values())
    assert json.loads((tmp_path / "report" / "manifest.json").read_text())["shows_text"] is False
