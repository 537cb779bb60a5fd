"""The verb `curate`: labels -> kept labels, rejected labels, training examples.

In: `records/records.jsonl` and `labels/labels.jsonl` of a run folder, both complete, and what people decided about
labels (`review/decisions.jsonl`), if anything. Out: `curated/kept.jsonl`, `rejected.jsonl`, `train.jsonl` (prompt and
completion), `train_messages.jsonl` and `validation_messages.jsonl` (the same as chat messages), `manifest.json`. Must
hold: kept + rejected = read; every rejected label names a filter and a reason; a person's decision wins over every
filter; no record of the test split enters an example; the rows are in the order of the records, then of the tasks,
whatever the order of the labels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from chartdistill.clinical.lexica.drugs import is_installed
from chartdistill.clinical.vocabulary import mark_of
from chartdistill.curation.ablation import ALL_DROPPED, Ablation, left_of
from chartdistill.curation.decisions import Decisions
from chartdistill.curation.filters import NO_STATISTICS, AnyFilter, Format, LabelStatistics, survey
from chartdistill.curation.filters.agreement import votes_of
from chartdistill.curation.readmission import Readmissions, merged
from chartdistill.curation.run_labels import read_labels, require_labels_of
from chartdistill.errors import InputError
from chartdistill.labelling import read_rationales
from chartdistill.prompting.answer_format import format_answer, parse_answer
from chartdistill.prompting.prompts import QUESTION_SEPARATOR
from chartdistill.runtime import run_folder
from chartdistill.schema import CuratedLabel, Item, Label, Record, Rejection, Row, Task, TrainExample, content_hash

READMISSIONS = "readmissions.json"
"""What a person re-admitted: kept beside the labels, so that a later run re-admits it again."""
REFUSED = "refused.jsonl"
"""The rejected labels of a call that was refused as a whole; what was complete before it stays."""

_PROGRESS_EVERY = 500
_MIN_LABELS_FOR_SHARE = 20
_EXAMPLES = 3


class ChatExample(Row):
    """One line of `train_messages.jsonl`: the chat form of API fine-tuning."""

    messages: tuple[dict[str, str], ...]


def curate(
    run_dir: Path,
    tasks: Sequence[Task],
    filters: Sequence[AnyFilter],
    progress: Callable[[int, int | None], None] | None = None,
    readmit: Sequence[str] = (),
    rationales: bool = False,
) -> dict[str, Any]:
    """Filter the labels of a run and write what is kept, what is rejected and what to train on.

    Each sample of a record and task is judged by itself; train.jsonl takes the first kept one. `progress` is called
    with (labels done, all labels). `readmit` adds reason codes, record ids or `record:task` whose objections are
    overridden, now and in later calls; a single `nothing` forgets all of them. `rationales`: examples have what the
    teacher thought before an answer that is kept as it was given (labels/thoughts.jsonl). Returns the manifest;
    does nothing when the folder was made from the same inputs.

    Raises:
        ArtefactError: `prepare` or `label` is not complete, or its rows do not belong to these records and tasks.
        InputError: there are no labels, every label was rejected, a filter rejected more than its
            `max_rejected_fraction`, or something in `readmit` was never rejected.
    """
    records_dir, labels_dir, folder = run_dir / "records", run_dir / "labels", run_dir / "curated"
    wanted, decisions = _wanted_readmissions(folder, readmit), Decisions.of_run(run_dir)
    options: dict[str, Any] = {
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "filters": [item.model_dump(mode="json") for item in filters],
        "readmit": list(wanted),
    }
    if (vocabulary := mark_of(tasks)) is not None:  # else as before there were any, so that earlier runs are done
        options["vocabulary"] = vocabulary
    if tasks and tasks[0].shown_charts:  # as above; they decide what is called from_example
        options["shown_charts"] = content_hash(*tasks[0].shown_charts)
    if rationales:  # as above
        options["rationales"] = True
    if decisions.by_place:  # as above
        options["decisions"] = decisions.mark
    prepared = run_folder.require_manifest(records_dir, "prepare")
    labelled = run_folder.require_manifest(labels_dir, "label")
    require_labels_of(prepared, labelled, labels_dir)
    mark = run_folder.fingerprint(
        "curate",
        prepared["fingerprint"],
        labelled["fingerprint"],
        options,
        is_installed(),
    )
    if (done := run_folder.finished(folder, mark)) is not None:
        return done
    started = run_folder.begin(folder)
    records = {record.id: record for record in run_folder.read_rows(records_dir / "records.jsonl", Record)}
    labels, num_superseded = read_labels(labels_dir / "labels.jsonl", records, tasks)
    by_name = {task.name: task for task in tasks}
    thought = dict(read_rationales(labels_dir, by_name)) if rationales else {}
    readmissions = Readmissions(wanted, tuple(name for name in wanted if name in readmit))
    work = _Work(records, by_name, filters, readmissions, decisions, thought)
    tally = _write_curated(folder, labels_dir, labels, work, progress)
    if readmit:
        run_folder.write_text(folder / READMISSIONS, json.dumps(list(wanted)) + "\n")
    return run_folder.write_manifest(
        folder,
        mark,
        started,
        counts={
            **tally.counts(tasks),
            "superseded": num_superseded,
            **({"by_person": decisions.summary()} if decisions.by_place else {}),
        },
        ablation=work.ablation.summary(),
        options=options,
        drug_lexicon="installed" if is_installed() else "not installed: drug names were judged by the charts alone",
        versions=run_folder.versions_of("chartdistill", "rapidfuzz", "drug-named-entity-recognition"),
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
    readmitted: Counter[str] = field(default_factory=Counter)
    """Overridden reason code -> kept labels."""
    first_by_reason: dict[str, list[str]] = field(default_factory=dict)
    """Reason code -> the first few rejected labels, as `record:task`."""

    def add(self, label: CuratedLabel) -> None:
        self.read += 1
        if label.items is None:
            self.rejected_by_task[label.task] += 1
            self.by_filter.update({rejection.filter for rejection in label.rejections})
            reasons = {rejection.reason for rejection in label.rejections}
            self.by_reason.update(reasons)
            for reason in reasons:
                if len(first := self.first_by_reason.setdefault(reason, [])) < _EXAMPLES:
                    first.append(f"{label.record}:{label.task}")
            return
        self.kept += 1
        self.kept_by_task[label.task] += 1
        self.none_by_task[label.task] += not label.items
        self.readmitted.update({rejection.reason for rejection in label.readmitted})
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
            "readmitted": dict(self.readmitted.most_common()),
            "train_examples": {split: self.examples[split] for split in ("train", "validation")},
        }


@dataclass
class _Work:
    """What judging needs beside the labels."""

    records: dict[str, Record]
    tasks: dict[str, Task]
    filters: Sequence[AnyFilter]
    readmissions: Readmissions
    decisions: Decisions
    rationales: dict[str, str]
    """Label key -> what was thought before its answer."""

    def __post_init__(self) -> None:
        self.ablation = Ablation(list(dict.fromkeys(one.type for one in self.filters)))


def judge(
    label: Label,
    record: Record,
    task: Task,
    filters: Sequence[AnyFilter],
    run: LabelStatistics = NO_STATISTICS,
    readmissions: Readmissions | None = None,
) -> CuratedLabel:
    """Put one label through all filters, so that a rejected label carries every reason against it.

    An answer that does not parse is rejected whether or not the `format` filter is among them: there is nothing to
    keep. So is one of which every item was dropped: "none found" would be a claim the teacher did not make.
    """
    items = None if label.completion is None else parse_answer(label.completion, task)
    rejections = objections(label, items, record, task, filters, run)
    readmitted: tuple[Rejection, ...] = ()
    if readmissions is not None and items is not None:
        rejections, readmitted = readmissions.split(record.id, task.name, rejections)
    left = left_of(items, rejections)
    if left is None and items and not any(rejection.item is None for rejection in rejections):
        evidence = f"all {len(items)} items were dropped"
        verdict = Rejection(filter=rejections[-1].filter, reason=ALL_DROPPED, evidence=evidence)
        if readmissions is not None and readmissions.takes(ALL_DROPPED):
            left, rejections, readmitted = items, (), (*readmitted, *rejections, verdict)
        else:
            rejections = (*rejections, verdict)
    return CuratedLabel(
        record=label.record,
        task=label.task,
        sample=label.sample,
        items=left,
        rejections=rejections,
        readmitted=readmitted,
    )


def objections(
    label: Label,
    items: tuple[Item, ...] | None,
    record: Record,
    task: Task,
    filters: Sequence[AnyFilter],
    run: LabelStatistics = NO_STATISTICS,
) -> tuple[Rejection, ...]:
    """Everything the filters have against a label."""
    rejections = [found for one in filters for found in one.check(label, items, record, task, run)]
    if items is None and all(rejection.item for rejection in rejections):
        rejections += Format().check(label, items, record, task)
    return tuple(rejections)


def _write_curated(
    folder: Path,
    labels_dir: Path,
    labels: Sequence[Label],
    work: _Work,
    progress: Callable[[int, int | None], None] | None,
) -> _Tally:
    """Judge all labels; their files appear together, and not at all where the outcome cannot be meant."""
    tally = _Tally()
    last_taught: tuple[str, str] | None = None
    run = survey((label.record, label.task, _items(label, work.tasks[label.task])) for label in labels)
    with (
        run_folder.RowWriter(folder / "kept.jsonl") as kept,
        run_folder.RowWriter(folder / "rejected.jsonl", refused=folder / REFUSED) as rejected,
        run_folder.RowWriter(folder / "train.jsonl") as train,
        run_folder.RowWriter(folder / "train_messages.jsonl") as train_chats,
        run_folder.RowWriter(folder / "validation_messages.jsonl") as validation_chats,
    ):
        for number, label in enumerate(labels, 1):
            record, task = work.records[label.record], work.tasks[label.task]
            judged = judge(label, record, task, work.filters, run, work.readmissions)
            gold = (record.gold or {}).get(task.name)
            work.ablation.add(_items(label, task), (*judged.rejections, *judged.readmitted), gold, task)
            judged = work.decisions.applied(judged, label, record, task)
            tally.add(judged)
            (rejected if judged.items is None else kept).write(judged)
            place = (label.record, label.task)
            if judged.items is not None and record.split != "test" and place != last_taught:
                weight = 1.0 if judged.by_person else _support(label, judged.items)
                example = _example(record, task, judged.items, weight)
                if judged.items == _items(label, task) and not judged.by_person and not _is_corrected(label):
                    example = example.model_copy(update={"rationale": work.rationales.get(label.key)})
                train.write(example)
                (train_chats if record.split == "train" else validation_chats).write(_chat(example))
                tally.examples[record.split] += 1
                last_taught = place
            if progress and (number % _PROGRESS_EVERY == 0 or number == len(labels)):
                progress(number, len(labels))
        _refuse(folder, labels_dir, tally, work)
    (folder / REFUSED).unlink(missing_ok=True)
    return tally


def _items(label: Label, task: Task) -> tuple[Item, ...] | None:
    return None if label.completion is None else parse_answer(label.completion, task)


def _is_corrected(label: Label) -> bool:
    """Whether a check gave an item another status than the list: what was thought argues for the list."""
    return any(check.listed_status is not None for check in label.checks or ())


def _wanted_readmissions(folder: Path, asked: Sequence[str]) -> tuple[str, ...]:
    """What to re-admit: what was asked for earlier and what is asked for now; `nothing` forgets it all."""
    if list(asked) == ["nothing"]:
        return ()
    path = folder / READMISSIONS
    return merged(json.loads(path.read_text(encoding="utf-8")) if path.exists() else (), asked)


def _example(record: Record, task: Task, items: tuple[Item, ...], weight: float) -> TrainExample:
    return TrainExample(
        record=record.id,
        task=task.name,
        split=record.split,
        prompt=record.text + QUESTION_SEPARATOR + task.question,
        completion=format_answer(items),
        weight=weight,
    )


def _support(label: Label, items: tuple[Item, ...]) -> float:
    """Mean share of the samples that name the kept items; 1 where the teacher was asked once, and of "none found"."""
    shares = {item: vote.support / vote.samples for item, vote in votes_of(label).items()}
    known = [shares[item] for item in items if item in shares]
    return fmean(known) if known else 1.0


def _nothing_kept(folder: Path, labels_dir: Path, tally: _Tally) -> str:
    if not tally.read:
        return (
            f"{labels_dir / 'labels.jsonl'} has no labels, so there is nothing to curate. Check labels/manifest.json."
        )
    reasons = ", ".join(f"{reason} {count}" for reason, count in tally.by_reason.most_common())
    return (
        f"{folder}: all {tally.read} labels were rejected ({reasons}). Look at {REFUSED} there: `failed` points to the "
        "engine, format reasons to a teacher that does not follow the answer format (try `label.strategy: direct`, "
        "where it is not set, or a larger model), `truncated` to label.max_answer_tokens, `invented` to the teacher or "
        "to `fuzzy_threshold`, `from_example` to the worked examples of the task."
    )


def _chat(example: TrainExample) -> ChatExample:
    user = {"role": "user", "content": example.prompt}
    return ChatExample(messages=(user, {"role": "assistant", "content": example.completion}))


def _refuse(folder: Path, labels_dir: Path, tally: _Tally, work: _Work) -> None:
    """Stop where the outcome cannot be meant. Ids, reasons and counts only: what was said is in `REFUSED`."""
    if not tally.kept:
        raise InputError(_nothing_kept(folder, labels_dir, tally))
    too_strict = [
        f"`{one.type}` {tally.by_filter[one.type]} ({tally.by_filter[one.type] / tally.read:.0%}, "
        f"max_rejected_fraction {one.max_rejected_fraction:.0%})"
        for one in work.filters
        if tally.by_filter[one.type] > one.max_rejected_fraction * tally.read
    ]
    if too_strict and tally.read >= _MIN_LABELS_FOR_SHARE:
        raise InputError(
            f"{folder}: of {tally.read} labels too many were rejected by {', '.join(too_strict)}. All reasons: "
            f"{_reasons(tally)}. Look at {REFUSED} there, then change the filter's options, leave the filter out, "
            "raise its max_rejected_fraction, or label with another teacher."
        )
    if unmet := work.readmissions.unmet():
        raise InputError(
            f"--readmit {', '.join(unmet)}: no label that could be kept was rejected for this reason, or has this id. "
            f"Reasons here: {', '.join(sorted({*tally.by_reason, *tally.readmitted})) or 'none'}. An id is a record's "
            "id, or `record:task`."
        )


def _reasons(tally: _Tally) -> str:
    return "; ".join(
        f"{reason} {count} (for example {', '.join(tally.first_by_reason[reason])})"
        for reason, count in tally.by_reason.most_common()
    )
