"""The labels of a round: those of the round before, with the student's answer wherever one was rejected.

In: the run folder of the round before, with its curated labels, and its student's answers. Out: labels/ of the next.
Must hold: only training records are asked again; a label that was kept is handed on as it was; a failure to answer
stays one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from chartdistill.config import Run
from chartdistill.curation.curate import READMISSIONS
from chartdistill.evaluation.generation import Question
from chartdistill.labelling.thought_file import THOUGHTS
from chartdistill.runtime.run_folder import (
    MADE_BY,
    RowWriter,
    begin,
    fingerprint,
    is_done,
    make_folder,
    read_rows,
    require_manifest,
    write_manifest,
)
from chartdistill.schema import CuratedLabel, Label, Prediction, Record, ThoughtRow, content_hash

STRATEGY = "round"
"""`Label.strategy` of a label that the student of an earlier round gave."""


def rejected_questions(run: Run) -> list[Question]:
    """What is asked again: record and task of every training label of which no sample was kept, but for those that a
    person rejected: the filters, which had let them pass, would let the same words of the student pass again."""
    folder = run.dir / "curated"
    settled = {(row.record, row.task) for row in read_rows(folder / "kept.jsonl", CuratedLabel)}
    rejected: set[tuple[str, str]] = set()
    for row in read_rows(folder / "rejected.jsonl", CuratedLabel):
        (settled if row.by_person == "rejected" else rejected).add((row.record, row.task))
    rejected -= settled
    records = (row for row in read_rows(run.dir / "records" / "records.jsonl", Record) if row.split == "train")
    return [(record, task, 0.0) for record in records for task in run.tasks if (record.id, task.name) in rejected]


def num_kept(home: Path) -> int:
    """Labels of training records that curation kept, each record and task once."""
    train = {row.id for row in read_rows(home / "records" / "records.jsonl", Record) if row.split == "train"}
    kept = read_rows(home / "curated" / "kept.jsonl", CuratedLabel)
    return len({(row.record, row.task) for row in kept if row.record in train})


def make_labels(before: Path, home: Path, answers: Sequence[Prediction], number: int, rationales: bool = False) -> None:
    """Write labels/ of round `number` in `home`; does nothing where that was done from the same answers.

    Args:
        rationales: examples have what was thought before an answer, so the thoughts of labels are handed on with them.
    """
    folder = home / "labels"
    curated = require_manifest(before / "curated", "curate")["fingerprint"]
    said = [(row.key, row.completion, row.failure) for row in answers]
    mark = fingerprint("round", curated, said, *([THOUGHTS] if rationales else []))
    if is_done(folder, mark):
        return
    started = begin(folder)
    again: Mapping[tuple[str, str], Prediction] = {(row.record, row.task): row for row in answers}
    counts = {"labels": 0, "failures": 0, "from_student": 0}
    if rationales and (thoughts := before / "labels" / THOUGHTS).exists():
        with RowWriter(folder / THOUGHTS) as out:
            for thought in read_rows(thoughts, ThoughtRow):
                if (thought.record, thought.task) not in again:
                    out.write(thought)
    else:
        (folder / THOUGHTS).unlink(missing_ok=True)  # they hold words of charts
    with RowWriter(folder / "labels.jsonl") as made:
        for label in read_rows(before / "labels" / "labels.jsonl", Label):
            if (answer := again.get((label.record, label.task))) is not None:
                if label.sample:
                    continue  # one answer stands in the place of all samples
                label = _as_label(answer, number)
                counts["from_student"] += 1
            made.write(label)
            counts["labels" if label.failure is None else "failures"] += 1
    write_manifest(folder, mark, started, counts=counts, **{MADE_BY: "rounds"})


def _as_label(answer: Prediction, number: int) -> Label:
    return Label(
        key=content_hash(STRATEGY, number, answer.key, answer.completion, answer.failure),
        record=answer.record,
        task=answer.task,
        strategy=STRATEGY,
        completion=answer.completion,
        finish_reason=answer.finish_reason,
        failure=answer.failure if answer.completion is None else None,
        prompts=1,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
    )


def take_decisions(first: Path, home: Path) -> None:
    """What people decided about labels of the first round holds in every round: reviews, and what was re-admitted."""
    for name in ("review", f"curated/{READMISSIONS}"):
        source, target = first / name, home / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.is_file():
            make_folder(target.parent)
            shutil.copyfile(source, target)
