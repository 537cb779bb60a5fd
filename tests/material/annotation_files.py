"""Exports of annotation tools, written as the tools write them, about one invented chart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

CHART = (
    "The patient has gout and takes allopurinol 300 mg daily.\nStop naproxen today.\n"
    "No diabetes. Order a uric acid level in two weeks."
)
MARKS: tuple[tuple[str, str, dict[str, str | None]], ...] = (
    ("gout", "Problem", {}),
    ("allopurinol 300 mg", "Drug", {"Status": "continue"}),
    ("naproxen", "Drug", {"Status": "stop"}),
    ("diabetes", "Problem", {"Negated": None}),
    ("uric acid level", "LabTest", {}),
)
"""(what is marked, the tool's label, attributes)."""
SAID = {
    "medication": [("allopurinol 300 mg", "continue"), ("naproxen", "stop")],
    "diagnosis": [("gout", None)],
    "tests": [("uric acid level", None)],
}
"""What the marks say, by task."""
Mark = tuple[str, str, dict[str, str | None]]


def offsets(chart: str, marked: str) -> tuple[int, int]:
    start = chart.index(marked)
    return start, start + len(marked)


def brat(folder: Path, name: str = "c1", chart: str = CHART, marks: Sequence[Mark] = MARKS) -> Path:
    lines, attributes = [], []
    for number, (marked, label, of) in enumerate(marks, 1):
        start, end = offsets(chart, marked)
        lines.append(f"T{number}\t{label} {start} {end}\t{marked}")
        for attribute, value in of.items():
            attributes.append(f"A{len(attributes) + 1}\t{attribute} T{number}" + ("" if value is None else f" {value}"))
    folder.mkdir(parents=True, exist_ok=True)
    notes = ["#1\tAnnotatorNotes T1\tseen twice", "R1\tTreats Arg1:T2 Arg2:T1", "*\tEquiv T1 T1"]
    (folder / f"{name}.ann").write_bytes("".join(f"{line}\n" for line in [*lines, *attributes, *notes]).encode())
    (folder / f"{name}.txt").write_bytes(chart.encode())
    return folder


def label_studio(path: Path, chart: str = CHART, marks: Sequence[Mark] = MARKS) -> Path:
    result: list[object] = [{"from_id": "r0", "to_id": "r1", "type": "relation", "direction": "right"}]
    for number, (marked, label, of) in enumerate(marks):
        start, end = offsets(chart, marked)
        place = {"start": start, "end": end, "text": marked}
        shared = {"id": f"r{number}", "to_name": "text", "origin": "manual"}
        result.append({**shared, "from_name": "label", "type": "labels", "value": {**place, "labels": [label]}})
        for attribute, value in of.items():
            chosen = {**place, "choices": [value or attribute]}
            result.append({**shared, "from_name": attribute.lower(), "type": "choices", "value": chosen})
    annotation = {"id": 31, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False}
    task = {
        "id": 7,
        "annotations": [annotation],
        "predictions": [],
        "data": {"text": chart, "record": "c1"},
        "meta": {},
    }
    path.write_text(json.dumps([task]))
    return path


def label_studio_min(path: Path, chart: str = CHART, marks: Sequence[Mark] = MARKS) -> Path:
    regions = []
    for marked, label, _ in marks:
        start, end = offsets(chart, marked)
        regions.append({"start": start, "end": end, "text": marked, "labels": [label]})
    task = {"text": chart, "id": 7, "label": regions, "annotator": 1, "annotation_id": 31, "lead_time": 12.5}
    path.write_text(json.dumps([task]))
    return path


def prodigy(path: Path, chart: str = CHART, marks: Sequence[Mark] = MARKS) -> Path:
    spans = []
    for marked, label, of in marks:
        start, end = offsets(chart, marked)
        own = {name.lower(): True if value is None else value for name, value in of.items()}
        spans.append({"start": start, "end": end, "token_start": 0, "token_end": 1, "label": label.upper(), **own})
    row = {
        "text": chart, "meta": {"record": "c1"}, "_input_hash": 1, "_task_hash": 2, "tokens": [], "spans": spans,
        "_view_id": "ner_manual", "answer": "accept", "_timestamp": 1,
    }  # fmt: skip
    path.write_text(json.dumps(row) + "\n")
    return path


def doccano(path: Path, chart: str = CHART, marks: Sequence[Mark] = MARKS, form: str = "label") -> Path:
    """Without attributes: a status stands in the label, and what is denied is not marked."""
    spans: list[object] = []
    for number, (marked, label, of) in enumerate(marks):
        if "Negated" in of:
            continue
        start, end = offsets(chart, marked)
        named = f"{label}-{of['Status']}" if "Status" in of else label
        if form == "relations":
            spans.append({"id": number, "label": named, "start_offset": start, "end_offset": end})
        else:
            spans.append([start, end, named])
    key = {"relations": "entities"}.get(form, form)
    row = {"id": 3, "text": chart, key: spans} | ({"relations": [], "Comments": []} if form == "relations" else {})
    path.write_text(json.dumps(row) + "\n")
    return path


def rows(path: Path, key: str = "c1") -> Path:
    lines = []
    for task, items in SAID.items():
        listed = "\n".join(text if status is None else f"{text} | {status}" for text, status in items)
        lines.append(json.dumps({"record": key, "task": task, "completion": listed}))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def gold_rows(path: Path, key: str = "c1") -> Path:
    gold = {
        task: [{"text": text} | ({} if status is None else {"status": status}) for text, status in items]
        for task, items in SAID.items()
    }
    path.write_text(json.dumps({"id": key, "gold": gold}) + "\n")
    return path


def api_lines(path: Path, chart: str = CHART) -> Path:
    said = {"MEDICATION": " allopurinol 300 mg, naproxen", "DIAGNOSIS": " gout", "TESTS": " uric acid level"}
    lines = [
        {"prompt": f"{chart}\n\nLIST ALL {task}:\n\n###\n\n", "completion": f"{of} END"} for task, of in said.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def chat_lines(path: Path, chart: str = CHART) -> Path:
    asked = {"medications": "allopurinol 300 mg\nnaproxen", "diagnoses": "gout", "tests": "uric acid level"}
    lines = [
        {
            "messages": [
                {"role": "system", "content": "You read charts."},
                {"role": "user", "content": f"{chart}\n\nList all {task}."},
                {"role": "assistant", "content": answer},
            ]
        }
        for task, answer in asked.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


EXPORTS: dict[str, Callable[[Path], Path]] = {
    "brat": lambda folder: brat(folder / "brat"),
    "label_studio": lambda folder: label_studio(folder / "export.json"),
    "prodigy": lambda folder: prodigy(folder / "prodigy.jsonl"),
    "doccano": lambda folder: doccano(folder / "doccano.jsonl"),
    "doccano labels": lambda folder: doccano(folder / "older.jsonl", form="labels"),
    "doccano relations": lambda folder: doccano(folder / "all.jsonl", form="relations"),
    "rows": lambda folder: rows(folder / "rows.jsonl"),
    "gold rows": lambda folder: gold_rows(folder / "gold.jsonl"),
}
"""Exports that say all of `SAID`, statuses too."""
WITHOUT_STATUS: dict[str, Callable[[Path], Path]] = {
    "fine_tuning": lambda folder: api_lines(folder / "api.jsonl"),
    "fine_tuning messages": lambda folder: chat_lines(folder / "chat.jsonl"),
}
