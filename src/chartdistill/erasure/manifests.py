"""Manifests and the registrations after an erasure: counts that are true of what is left, and what went.

In: a run folder whose rows were taken out. Out: its manifests with counts made anew from the files, `erased` (how many
records, since when) and the fingerprints they had: what is left was made from what it says, so a finished stage stays
finished. Where that is not so, `train` and `evaluate` know it from the tombstones (`runtime/tombstones.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chartdistill.erasure.targets import RECORDS, REJECTED, Learned, Target
from chartdistill.evaluation import forget_held_out
from chartdistill.runtime.run_folder import MANIFEST, count_by, read_manifest, read_rows, write_lines, write_text
from chartdistill.runtime.tombstones import ERASED, Tombstones
from chartdistill.schema import CuratedLabel, Label, Prediction, Record, RejectedRecord, Row, TrainExample

_RowT = TypeVar("_RowT", bound=Row)


def rewrite_records(home: Path, targets: dict[str, Target], tombstones: Tombstones) -> None:
    """records/: each record moves to the rejected ones, as `erased` and without its name."""
    folder = home / "records"
    path, rejected = folder / RECORDS, folder / REJECTED
    rows = list(read_rows(rejected, RejectedRecord)) if rejected.exists() else []
    there = [row.id for row in read_rows(path, Record) if row.id in targets]
    kept = [row for row in rows if row.id not in targets]
    known = {row.detail for row in kept if row.reason == ERASED}
    gone = [erased_row(tombstones, name) for name in (*there, *(row.id for row in rows if row.id in targets))]
    new = [row for row in dict.fromkeys(gone) if row.detail not in known]
    if rejected.exists() and (new or len(kept) < len(rows)):
        write_text(rejected, "".join(f"{row.line()}\n" for row in (*kept, *new)))
    if there:
        left = (row for row in read_rows(path, Record) if row.id not in targets)
        write_lines(path, (f"{row.line()}\n".encode() for row in left))
    manifest = read_manifest(folder)
    if manifest is not None:
        if "kept" in (counts := manifest.get("counts", {})):
            counts |= _record_counts(folder, counts)
        write_manifest_again(folder, manifest | {ERASED: tombstones.facts()})


def erased_row(tombstones: Tombstones, record: str | None) -> RejectedRecord:
    """What stands among the rejected entries for one that was erased."""
    name = "" if record is None else f" {tombstones.hashed('id', record)[:12]}"
    detail = f"was erased (tombstone{name}); delete it from its source too"
    return RejectedRecord(source=ERASED, reason=ERASED, detail=detail)


def _record_counts(folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    splits: Counter[str] = Counter()
    clusters = set()
    for row in read_rows(folder / RECORDS, Record):
        splits[row.split] += 1
        clusters.add(row.cluster)
    found: dict[str, Any] = {"kept": splits.total()}
    if "by_split" in before:
        found["by_split"] = {split: splits[split] for split in ("train", "validation", "test")}
    if "clusters" in before:
        found["clusters"] = len(clusters)
    if "rejected" in before and (folder / REJECTED).exists():
        reasons = [row.reason for row in read_rows(folder / REJECTED, RejectedRecord)]
        found |= {"rejected": len(reasons), "by_reason": count_by(reasons)}
        found["read"] = len(reasons) + splits.total()
    return found


def recount(home: Path, tombstones: Tombstones) -> None:
    """labels/, curated/ and predictions/: their counts are of the rows that are left."""
    for name, count in (("labels", _label_counts), ("curated", _curated_counts), ("predictions", _prediction_counts)):
        manifest = read_manifest(home / name)
        if manifest is None:
            continue
        counts = manifest.get("counts")
        if isinstance(counts, dict):
            counts |= {key: value for key, value in count(home / name).items() if key in counts}
        write_manifest_again(home / name, manifest | {ERASED: tombstones.facts()})


def write_manifest_again(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest where it changes."""
    text = json.dumps(manifest, indent=2, default=str) + "\n"
    if (folder / MANIFEST).read_text(encoding="utf-8") != text:
        write_text(folder / MANIFEST, text)


def _rows_left(path: Path, kind: type[_RowT]) -> Iterator[_RowT]:
    """None where a stage of a study is without the file."""
    if path.exists():
        yield from read_rows(path, kind)


def _label_counts(folder: Path) -> dict[str, Any]:
    totals: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    gates: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    for row in _rows_left(folder / "labels.jsonl", Label):
        totals.update(labels=1, failures=row.failure is not None, prompts=row.prompts)
        failures.update([row.failure.split(":")[0]] if row.failure else [])
        gates.update([row.gate.answer] if row.gate is not None else [])
        tasks[row.task] += 1
    return {
        **{name: totals[name] for name in ("labels", "failures", "prompts")}, "by_task": dict(tasks),
        "failures_by_reason": dict(failures.most_common()), "gate_answers": dict(gates),
    }  # fmt: skip


def _curated_counts(folder: Path) -> dict[str, Any]:
    kept, rejected = (list(_rows_left(folder / f"{name}.jsonl", CuratedLabel)) for name in ("kept", "rejected"))
    by_filter = Counter(name for row in rejected for name in {one.filter for one in row.rejections})
    by_reason = Counter(name for row in rejected for name in {one.reason for one in row.rejections})
    readmitted = Counter(name for row in kept for name in {one.reason for one in row.readmitted})
    tasks = dict.fromkeys(row.task for row in (*kept, *rejected))
    examples = Counter(row.split for row in _rows_left(folder / "train.jsonl", TrainExample))
    return {
        "read": len(kept) + len(rejected), "kept": len(kept), "rejected": len(rejected),
        "by_filter": dict(by_filter.most_common()), "by_reason": dict(by_reason.most_common()),
        "by_task": {
            task: {
                "kept": sum(row.task == task for row in kept), "rejected": sum(row.task == task for row in rejected),
                "none_found": sum(row.task == task and not row.items for row in kept),
            }
            for task in tasks
        },
        "items_dropped": sum(len({one.item for one in row.rejections}) for row in kept),
        "readmitted": dict(readmitted.most_common()),
        "train_examples": {split: examples[split] for split in ("train", "validation")},
    }  # fmt: skip


def _prediction_counts(folder: Path) -> dict[str, Any]:
    rows = {path: list(read_rows(path, Prediction)) for path in sorted(folder.glob("*.jsonl"))}
    arms = {of[0].arm: len(of) for of in rows.values() if of}
    return {"records": len({row.record for of in rows.values() for row in of}), "predictions": arms}


def mark_adapters(adapters: Sequence[Learned], time: str) -> None:
    """Say in the manifests of adapters what they learned from; those that are not finished have none."""
    for one in adapters:
        manifest = read_manifest(one.folder)
        if manifest is None:
            continue
        before = manifest.get(ERASED) or {}
        # Names are not kept, so a call that goes on after a kill must not count twice: its time is the same.
        if time in before.get("times", ()):
            continue
        counts = {"trained_on": one.trained, "validated_on": one.validated, "perhaps": one.perhaps}
        fact = {name: before.get(name, 0) + len(of) for name, of in counts.items()}
        fact |= {"since": before.get("since", time), "times": [*before.get("times", ()), time]}
        write_manifest_again(one.folder, manifest | {ERASED: fact})


def forget_in_registrations(home: Path, targets: dict[str, Target]) -> int:
    """Take the marks of held-out records out of registrations.jsonl; returns how many. The records are still there."""
    return forget_held_out(home, list(read_rows(home / "records" / RECORDS, Record)), frozenset(targets))
