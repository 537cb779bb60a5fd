"""The verb `curate`: labels -> kept labels, rejected labels, training examples.

In: `records/records.jsonl` and `labels/labels.jsonl` of a run folder, both complete. Out: `curated/kept.jsonl`,
`curated/rejected.jsonl`, `curated/train.jsonl`, `curated/manifest.json`. Must hold: kept + rejected = read; every
rejected label names a filter and a reason; no record of the test split enters train.jsonl; the rows are in the order
of the records, then of the tasks, whatever the order of the labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chartdistill import store
from chartdistill.answers import format_answer, parse_answer
from chartdistill.errors import ArtefactError, InputError
from chartdistill.filters import AnyFilter, Format
from chartdistill.prompts import QUESTION_SEPARATOR
from chartdistill.schema import CuratedLabel, Item, Label, Record, Rejection, Task, TrainExample

_PROGRESS_EVERY = 500


def curate(
    run_dir: Path,
    tasks: Sequence[Task],
    filters: Sequence[AnyFilter],
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Filter the labels of a run and write what is kept, what is rejected and what to train on.

    Each sample of a record and task is judged by itself; train.jsonl takes the first kept one. `progress` is called
    with (labels done, all labels). Returns the manifest; does nothing when the folder was made from the same inputs.

    Raises:
        ArtefactError: `prepare` or `label` is not complete, or its rows do not belong to these records and tasks.
        InputError: there are no labels, or every label was rejected.
    """
    records_dir, labels_dir, folder = run_dir / "records", run_dir / "labels", run_dir / "curated"
    options = {
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "filters": [item.model_dump(mode="json") for item in filters],
    }
    mark = store.fingerprint(
        "curate",
        store.require_manifest(records_dir, "prepare")["fingerprint"],
        store.require_manifest(labels_dir, "label")["fingerprint"],
        options,
    )
    if store.is_done(folder, mark):
        return store.require_manifest(folder, "curate")
    started = store.begin(folder)
    records = {record.id: record for record in store.read_rows(records_dir / "records.jsonl", Record)}
    labels, num_superseded = _read_labels(labels_dir / "labels.jsonl", records, tasks)
    tally = _write_curated(folder, labels, records, tasks, filters, progress)
    if not tally.kept:
        raise InputError(_nothing_kept(folder, labels_dir, tally))
    return store.write_manifest(
        folder,
        mark,
        started,
        counts={**tally.counts(tasks), "superseded": num_superseded},
        options=options,
        versions={name: version(name) for name in ("chartdistill", "rapidfuzz")},
    )


@dataclass
class _Tally:
    """Counts while labels are judged."""

    read: int = 0
    kept: int = 0
    items_dropped: int = 0
    by_filter: Counter[str] = field(default_factory=Counter)
    """Filter -> rejected labels it spoke against. A label that two filters speak against counts for both."""
    by_reason: Counter[str] = field(default_factory=Counter)
    """Reason code -> rejected labels, in the same way."""
    kept_by_task: Counter[str] = field(default_factory=Counter)
    rejected_by_task: Counter[str] = field(default_factory=Counter)
    none_by_task: Counter[str] = field(default_factory=Counter)
    examples: Counter[str] = field(default_factory=Counter)

    def add(self, label: CuratedLabel) -> None:
        self.read += 1
        if label.items is None:
            self.rejected_by_task[label.task] += 1
            self.by_filter.update({rejection.filter for rejection in label.rejections})
            self.by_reason.update({rejection.reason for rejection in label.rejections})
            return
        self.kept += 1
        self.kept_by_task[label.task] += 1
        self.none_by_task[label.task] += not label.items
        self.items_dropped += len({rejection.item for rejection in label.rejections})

    def counts(self, tasks: Sequence[Task]) -> dict[str, Any]:
        return {
            "read": self.read,
            "kept": self.kept,
            "rejected": self.read - self.kept,
            "by_filter": dict(self.by_filter.most_common()),
            "by_reason": dict(self.by_reason.most_common()),
            "by_task": {
                task.name: {
                    "kept": self.kept_by_task[task.name],
                    "rejected": self.rejected_by_task[task.name],
                    "none_found": self.none_by_task[task.name],
                }
                for task in tasks
            },
            "items_dropped": self.items_dropped,
            "train_examples": {split: self.examples[split] for split in ("train", "validation")},
        }


def judge(label: Label, record: Record, task: Task, filters: Sequence[AnyFilter]) -> CuratedLabel:
    """Put one label through all filters, so that a rejected label carries every reason against it.

    An answer that does not parse is rejected whether or not the `format` filter is among them: there is nothing to
    keep. So is one of which every item was dropped: "none found" would be a claim the teacher did not make.
    """
    items = None if label.completion is None else parse_answer(label.completion, task)
    rejections = [rejection for item in filters for rejection in item.check(label, items, record, task)]
    if items is None and all(rejection.item for rejection in rejections):
        rejections += Format().check(label, items, record, task)
    dropped = {rejection.item for rejection in rejections if rejection.item is not None}
    left = tuple(item for item in items or () if item not in dropped)
    rejected = any(rejection.item is None for rejection in rejections)
    if items and not left and not rejected:
        last = rejections[-1].filter
        rejections.append(Rejection(filter=last, reason="all_dropped", evidence=f"all {len(items)} items were dropped"))
        rejected = True
    kept: tuple[Item, ...] | None = None if rejected else left
    return CuratedLabel(
        record=label.record, task=label.task, sample=label.sample, items=kept, rejections=tuple(rejections)
    )


def _read_labels(path: Path, records: dict[str, Record], tasks: Sequence[Task]) -> tuple[list[Label], int]:
    """The labels in order of record, task and sample, and how many rows a later row of the same place replaced.

    labels.jsonl grows over restarts: an answer that was asked for again stands further down, and counts.
    """
    record_order = {name: number for number, name in enumerate(records)}
    task_order = {task.name: number for number, task in enumerate(tasks)}
    latest: dict[tuple[int, int, int], Label] = {}
    num_rows = 0
    for num_rows, label in enumerate(store.read_rows(path, Label), 1):
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


def _write_curated(
    folder: Path,
    labels: Sequence[Label],
    records: dict[str, Record],
    tasks: Sequence[Task],
    filters: Sequence[AnyFilter],
    progress: Callable[[int, int | None], None] | None,
) -> _Tally:
    by_name = {task.name: task for task in tasks}
    tally = _Tally()
    last_taught: tuple[str, str] | None = None
    with (
        store.RowWriter(folder / "kept.jsonl") as kept,
        store.RowWriter(folder / "rejected.jsonl") as rejected,
        store.RowWriter(folder / "train.jsonl") as train,
    ):
        for number, label in enumerate(labels, 1):
            record, task = records[label.record], by_name[label.task]
            judged = judge(label, record, task, filters)
            tally.add(judged)
            (rejected if judged.items is None else kept).write(judged)
            place = (label.record, label.task)
            if judged.items is not None and record.split != "test" and place != last_taught:
                train.write(_example(record, task, judged.items))
                tally.examples[record.split] += 1
                last_taught = place
            if progress and (number % _PROGRESS_EVERY == 0 or number == len(labels)):
                progress(number, len(labels))
    return tally


def _example(record: Record, task: Task, items: tuple[Item, ...]) -> TrainExample:
    return TrainExample(
        record=record.id,
        task=task.name,
        split=record.split,
        prompt=record.text + QUESTION_SEPARATOR + task.question,
        completion=format_answer(items),
    )


def _nothing_kept(folder: Path, labels_dir: Path, tally: _Tally) -> str:
    if not tally.read:
        return (
            f"{labels_dir / 'labels.jsonl'} has no labels, so there is nothing to curate. Check labels/manifest.json."
        )
    reasons = ", ".join(f"{reason} {count}" for reason, count in tally.by_reason.most_common())
    return (
        f"{folder}: all {tally.read} labels were rejected ({reasons}). Look at rejected.jsonl there: `failed` points "
        "to the engine, format reasons to a teacher that does not follow the answer format (try `strategy: direct` or "
        "a larger model), `truncated` to label.max_answer_tokens, `invented` to the teacher or to `fuzzy_threshold`."
    )
