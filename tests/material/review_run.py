"""A small run folder, labelled and curated, for tests of review: written here, without a model."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from chartdistill.curation.curate import curate
from chartdistill.curation.decisions import Decision, decision_file, now, seen_hash
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.runtime import run_folder
from chartdistill.schema import Gate, Item, ItemVote, Label, Record, Split, Task

DRUGS = Task(
    name="medication", item="medication", statuses=("start", "stop", "continue"), gate_question="Any?",
    extraction_question="Which?", question="List each drug.",
)  # fmt: skip
TESTS = Task(name="tests", item="test", gate_question="Any?", extraction_question="Which?", question="List each test.")
TASKS = [DRUGS, TESTS]
ASTRAL = "\N{PILL}\N{FACE WITH THERMOMETER}"
"""Two characters that JavaScript counts as four."""


def record(name: str, split: Split = "train", text: str | None = None) -> Record:
    text = text or f"Note {name}. Stop Yasadol. Begin Febenor 5 mg. Order an EEG."
    return Record(id=name, source=f"{name}.txt", text=text, cluster=name, split=split, segments=())


def label(name: str, completion: str | None, task: Task = DRUGS, **more: object) -> Label:
    values = {
        "key": f"{name}/{task.name}",
        "strategy": "direct",
        "finish_reason": "stop" if completion is not None else None,
        "failure": None if completion is not None else "engine: died",
    }
    return Label.model_validate({"record": name, "task": task.name, "completion": completion, **values, **more})


def write_labels(run_dir: Path, records: Sequence[Record], labels: Sequence[Label]) -> Path:
    for folder, rows in (("records", records), ("labels", labels)):
        begun = run_folder.begin(run_dir / folder)
        with run_folder.RowWriter(run_dir / folder / f"{folder}.jsonl") as writer:
            writer.write(*rows)
        run_folder.write_manifest(run_dir / folder, run_folder.fingerprint(run_dir / folder), begun)
    return run_dir


RECORDS = (
    record("a"),
    record("b"),
    record("c", "validation"),
    record("d", text=f"{ASTRAL} <script>alert(1)</script> Stop Yasadol.\u202e Begin Febenor 5 mg.\x07 Order an EEG."),
    record("e"),
    record("t1", "test"),
    record("t2", "test"),
    record("t3", "test"),
)
LABELS = (
    label("a", "Yasadol | stop\nFebenor 5 mg | start"),
    label("a", "EEG", TESTS),
    label("b", "Yasadol | stop\nBisolukast | start"),  # Bisolukast is in no chart: rejected
    label("b", "None found", TESTS, gate=Gate(answer="no", probability=0.52)),
    label("c", "Yasadol | stop"),
    label("c", None, TESTS),
    label("d", "Yasadol | stop\nFebenor 5 mg | start"),
    label("d", "EEG", TESTS),
    label(
        "e", "Yasadol | stop", votes=(ItemVote(item=Item(text="Yasadol", status="stop"), support=2, samples=3),)
    ),
    label("t1", "Yasadol | stop"),
)  # fmt: skip


def make_run(run_dir: Path) -> Path:
    """Eight records, three of them held out, and their labels, curated."""
    write_labels(run_dir, RECORDS, LABELS)
    curate(run_dir, TASKS, DEFAULT_FILTERS)
    return run_dir


def decision(of: Label, items: Sequence[tuple[str, str | None]] | None, by: str = "Ada", **more: object) -> Decision:
    """What a person says about a label; items None: rejected."""
    chart = next((one for one in RECORDS if one.id == of.record), record(of.record))
    values: dict[str, object] = {
        "id": uuid.uuid4().hex,
        "action": "reject" if items is None else "keep",
        "label": of.key,
        "seen": seen_hash(of, chart),
        "items": None if items is None else tuple(Item(text=text, status=status) for text, status in items),
        "by": by,
        "at": now(),
    }
    return Decision.model_validate({"record": of.record, "task": of.task, "sample": of.sample} | values | more)


def decide(run_dir: Path, *rows: Decision) -> None:
    """Write decisions, as review does."""
    decision_file(run_dir).add(lambda _: rows)
