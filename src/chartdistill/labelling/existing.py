"""Labels that exist -> labels of this run: no model is asked, no engine starts.

In: a file of labels (`records.annotations`), the records, the tasks. Out: `labels.jsonl`, a row for each record and
task that the file answers, each with file, sha256 and line; `findings.jsonl`, all that gives no label, with the reason.
Must hold: what the file says is neither mended nor judged here (that is what filters are for); a record without a label
has no row, and is named; the rows stand in the order of the records, then of the tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.errors import InputError
from chartdistill.records import (
    FROM_CHART,
    AnnotationFile,
    Answer,
    AnswerIndex,
    Finding,
    body_hash,
    completion_of,
    nothing_usable,
    read_annotations,
)
from chartdistill.runtime.run_folder import RowWriter, read_rows
from chartdistill.runtime.tombstones import Tombstones
from chartdistill.schema import Label, Record, RejectedRecord, Split, Task, content_hash

LABELS, FINDINGS = "labels.jsonl", "findings.jsonl"
STRATEGY = "file"
"""`Label.strategy` of labels that nobody was asked for."""


@dataclass(frozen=True)
class Taken:
    """What was taken over."""

    facts: dict[str, Any]
    """For the manifest."""
    held_out: frozenset[str]
    """Tasks of which records of the scored split have a label."""


def take_labels(
    options: AnnotationFile,
    tasks: Sequence[Task],
    records: Path,
    folder: Path,
    scored: Split,
    progress: Callable[[int, int | None], None],
    require: Callable[[Collection[str]], None] = lambda tasks: None,
) -> Taken:
    """Write the labels of a file for the records of a run.

    Args:
        records: the folder that `prepare` wrote.
        folder: labels/.
        scored: the split that arms are compared on.
        require: called with the tasks of which held-out records have a label, before any file changes; may refuse.

    Raises:
        InputError: the file cannot be read, a task of this run has no label in it, or labels differ.
    """
    reading = read_annotations(options, tasks)
    index = AnswerIndex(reading, options, FROM_CHART)
    rejected: dict[str, str] = {}
    also: dict[str, list[str]] = {}
    for row in read_rows(records / "rejected.jsonl", RejectedRecord):
        if row.id is not None:
            rejected[row.id] = row.reason
            also.setdefault(row.kept_as or "", []).append(row.id)
    held_out: set[str] = set()
    by_task: Counter[str] = Counter()
    without = optional = total = 0
    with RowWriter(folder / FINDINGS, refused=folder / FINDINGS) as findings, RowWriter(folder / LABELS) as out:
        for total, record in enumerate(read_rows(records / "records.jsonl", Record), 1):
            same_words = also.get(record.id, ())
            answers = index.of_record(record.id, body_hash(record.text), record.text, same_words)
            for task in tasks:
                if task.name in answers:
                    label, left_out = _label(answers[task.name], record)
                    out.write(label)
                    by_task[task.name] += 1
                    optional += left_out
            held_out |= answers.keys() if record.split == scored else set()
            lacking = [task.name for task in tasks if task.name not in answers]
            without += len(lacking) == len(tasks)
            if lacking:
                index.findings.append(_without_label(record, lacking, tasks))
            progress(total, None)
        index.finish(rejected)
        erased = Tombstones.of(records.parent)
        findings.write(*(one for one in index.findings if one.record not in erased))
        _require_each_task(tasks, by_task, options, index, reading.unmapped)
        require(held_out)
    counts = {
        "labels": by_task.total(),
        "failures": 0,
        "by_task": dict(by_task),
        "records_without_label": without,
        "findings": dict(Counter(one.code for one in index.findings).most_common()),
        "said_again": index.counts.said_again,
        "statuses_from_chart": index.counts.statuses_from_chart,
        "optional_items_left_out": optional,
    }
    return Taken({"source": reading.facts(), "counts": counts}, frozenset(held_out))


def _label(answer: Answer, record: Record) -> tuple[Label, int]:
    """The row, and how many optional items were left out of it."""
    completion, left_out = completion_of(answer)
    key = content_hash(STRATEGY, answer.origin.model_dump(), record.id, record.text, answer.task.name, completion)
    label = Label(
        key=key, record=record.id, task=answer.task.name, strategy=STRATEGY, completion=completion,
        finish_reason="stop", origin=answer.origin,
    )  # fmt: skip
    return label, left_out


def _without_label(record: Record, lacking: Sequence[str], tasks: Collection[Task]) -> Finding:
    every = len(lacking) == len(tasks)
    detail = "the file has no label of this record" if every else f"no label for {', '.join(lacking)}"
    return Finding(code="no_label", record=record.id, task=None if every else lacking[0], detail=detail)


def _require_each_task(
    tasks: Sequence[Task], by_task: Counter[str], options: AnnotationFile, index: AnswerIndex, unmapped: dict[str, int]
) -> None:
    """A task without any label would teach nothing, and its figures would look like a student's."""
    lacking = [task.name for task in tasks if not by_task[task.name]]
    if not lacking:
        return
    own = [one for one in index.findings if one.place is not None and one.task in (None, *lacking)]
    told = nothing_usable(options.path, "label", own, unmapped)
    if len(lacking) == len(tasks):
        raise InputError(told)
    raise InputError(
        f"{told} Tasks without one: {', '.join(lacking)}. Leave them out of `tasks:`, or give the file labels of them."
    )
