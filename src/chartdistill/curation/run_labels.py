"""The labels of a run as `curate` reads them: of its very records and tasks, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chartdistill.errors import ArtefactError
from chartdistill.runtime import run_folder
from chartdistill.schema import Label, Record, Task


def require_labels_of(prepared: Mapping[str, Any], labelled: Mapping[str, Any], labels_dir: Path) -> None:
    """That the labels are of these very texts: a record of the same id may say something else by now.

    Args:
        prepared: manifest of `prepare`.
        labelled: manifest of `label`; one without `records` (of a study, or of an earlier version) passes.

    Raises:
        ArtefactError: `prepare` ran again after `label`.
    """
    if labelled.get("records", prepared["fingerprint"]) != prepared["fingerprint"]:
        raise ArtefactError(
            f"{labels_dir}: these labels are of other records: records/ was prepared again after labelling. Run "
            "`chartdistill label CONFIG` again: it asks only about charts that changed."
        )


def read_labels(path: Path, records: Mapping[str, Record], tasks: Sequence[Task]) -> tuple[list[Label], int]:
    """The labels in order of record, task and sample, and how many rows a later row of the same place replaced.

    labels.jsonl grows over restarts: an answer that was asked for again stands further down, and counts.

    Raises:
        ArtefactError: a row is of another record or task.
    """
    record_order = {name: number for number, name in enumerate(records)}
    task_order = {task.name: number for number, task in enumerate(tasks)}
    latest: dict[tuple[int, int, int], Label] = {}
    num_rows = 0
    for num_rows, label in enumerate(run_folder.read_rows(path, Label), 1):
        if label.record not in record_order:
            raise ArtefactError(
                f"{path}:{num_rows}: record {label.record!r} is not in records/records.jsonl. They were prepared "
                "again after labelling; run `chartdistill label CONFIG` again."
            )
        if label.task not in task_order:
            raise ArtefactError(
                f"{path}:{num_rows}: task {label.task!r} is not among this run's tasks ({', '.join(task_order)}). "
                "Add it to `tasks:`, or run `chartdistill label CONFIG` again."
            )
        latest[record_order[label.record], task_order[label.task], label.sample] = label
    return [latest[place] for place in sorted(latest)], num_rows - len(latest)
