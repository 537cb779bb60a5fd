"""Runs with labels to be curated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chartdistill.runtime import run_folder
from chartdistill.schema import (
    CuratedLabel,
    Label,
    Record,
    Split,
    Task,
)

DRUGS = Task(
    name="medication",
    item="medication",
    statuses=("start", "stop", "continue"),
    gate_question="Any?",
    extraction_question="Which?",
    question="List each drug.",
)


TESTS = Task(name="tests", item="test", gate_question="Any?", extraction_question="Which?", question="List each test.")


def record(name: str, split: Split = "train") -> Record:
    text = f"Note {name}. Stop Yasadol. Begin Febenor 5 mg. Order an EEG."
    return Record(id=name, source=f"{name}.txt", text=text, cluster=name, split=split, segments=())


def label(name: str, completion: str | None, task: Task = DRUGS, sample: int = 0, finish: str = "stop") -> Label:
    return Label(
        key=f"{name}/{task.name}/{sample}",
        record=name,
        task=task.name,
        sample=sample,
        strategy="direct",
        completion=completion,
        finish_reason=finish if completion is not None else None,
        failure=None if completion is not None else "engine: died",
    )


def make_run(folder: Path, records: Sequence[Record], labels: Sequence[Label]) -> Path:
    with run_folder.RowWriter(folder / "records" / "records.jsonl") as rows:
        rows.write(*records)
    run_folder.write_manifest(
        folder / "records", run_folder.fingerprint(folder / "records"), run_folder.begin(folder / "records")
    )
    with run_folder.RowWriter(folder / "labels" / "labels.jsonl") as rows:
        rows.write(*labels)
    run_folder.write_manifest(
        folder / "labels", run_folder.fingerprint(folder / "labels"), run_folder.begin(folder / "labels")
    )
    return folder


def rows_of(run_dir: Path, name: str) -> list[CuratedLabel]:
    return list(run_folder.read_rows(run_dir / "curated" / name, CuratedLabel))


def make_small_run(folder: Path) -> Path:
    """Four records of three splits; of eight labels one is invented, one failed and one was cut."""
    labels = [
        label("c", "Yasadol | stop"),
        label("b", "EEG", TESTS),
        label("a", "Yasadol | stop\nFebenor 5 mg | start"),
        label("a", "None found", TESTS),
        label("b", "Bisolukast | start"),
        label("c", None, TESTS),
        label("d", "Yasadol | stop"),
        label("d", "EEG", TESTS, finish="length"),
    ]
    return make_run(folder, [record("a"), record("b"), record("c", "validation"), record("d", "test")], labels)
