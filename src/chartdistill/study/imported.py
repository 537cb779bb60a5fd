"""Labels from an API version's fine-tuning file, as they are and as the audit leaves them, for students to learn from.

In: a JSONL of prompts and completions, the records that the study tests on, the tasks. Out: two run folders of a
study, `imported` and `audited`, that end at `label`. What must hold: no chart that is a near-duplicate of a test
record is taken; what is left out is counted, with the reason. Such files name no statuses: a task that has them gets
those that the rules read from the chart (see clinical/status_by_rules.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chartdistill.clinical.status_by_rules import status_of
from chartdistill.config import Run
from chartdistill.curation.audit import AuditLine, LineVerdict, audit, endings_of, take_apart
from chartdistill.demo.api_version import api_version_lines
from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import format_answer, parse_answer
from chartdistill.records import cluster_records
from chartdistill.runtime.json_lines import read_json_lines
from chartdistill.runtime.run_folder import (
    RowWriter,
    begin,
    fingerprint,
    is_done,
    make_folder,
    read_manifest,
    require_manifest,
    write_manifest,
    write_text,
)
from chartdistill.schema import Item, Label, Record, Task
from chartdistill.study.options import ImportOptions
from chartdistill.study.records import records_of

RAW, AUDITED = "imported", "audited"
SOURCE = "source.jsonl"


def import_labels(wanted: ImportOptions, shared: Run, folder: Path) -> dict[str, Path]:
    """Whose labels -> the run folder that has them: `imported` and `audited`.

    Raises:
        InputError: the file cannot be read, or no line of it can be used.
    """
    home = folder / RAW
    path = _source(wanted, make_folder(home))
    test = records_of(shared.dir, shared.config.evaluate.split)
    mark = fingerprint(
        path, require_manifest(shared.dir / "records", "prepare")["fingerprint"], [t.model_dump() for t in shared.tasks]
    )
    homes = {RAW: home, AUDITED: folder / AUDITED}
    if all(is_done(of / "labels", mark) for of in homes.values()):
        return homes
    counts: Counter[str] = Counter()
    records, labels, kept = _read(path, test, shared.tasks, counts)
    if not labels:
        raise InputError(f"{path}: none of its {counts['lines']} lines can be used: {dict(counts)}.")
    for name, of in homes.items():
        for part, rows in (("records", [*test, *records]), ("labels", labels if name == RAW else kept)):
            started = begin(of / part)
            with RowWriter(of / part / f"{part}.jsonl") as out:
                out.write(*rows)
            write_manifest(of / part, mark, started, counts=dict(counts) | {"labels": len(rows)})
    return homes


def import_counts(homes: Mapping[str, Path]) -> dict[str, Any] | None:
    """What became of the lines; None where nothing was imported."""
    if RAW not in homes:
        return None
    found = {name: (read_manifest(homes[name] / "labels") or {})["counts"] for name in (RAW, AUDITED)}
    return {**found[RAW], "audited": found[AUDITED]["labels"]}


def _source(wanted: ImportOptions, home: Path) -> Path:
    if wanted.path is not None:
        return wanted.path
    assert wanted.synthetic is not None
    path = home / SOURCE
    text = "".join(f"{line}\n" for line in api_version_lines(wanted.synthetic, wanted.seed))
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path


def _read(
    path: Path, test: Sequence[Record], tasks: Sequence[Task], counts: Counter[str]
) -> tuple[list[Record], list[Label], list[Label]]:
    """New records, all labels that can be used, and those of them that the audit keeps."""
    by_name = {task.name: task for task in tasks}
    found: dict[tuple[str, str], tuple[AuditLine, LineVerdict]] = {}
    for line, verdict in _judged(path, counts):
        place = (line.record.id, line.task.name)
        if line.task.name not in by_name:
            counts["other task"] += 1
        elif place in found:
            counts["same chart and task again"] += 1
        else:
            found[place] = (line, verdict)
    texts = {line.record.id: line.record for line, _ in found.values()}
    clusters = cluster_records([*(record.text for record in test), *(record.text for record in texts.values())])
    tested = set(clusters[: len(test)])
    records = {
        record.id: record.model_copy(update={"source": f"imported:{path.name}", "cluster": f"imported {cluster}"})
        for record, cluster in zip(texts.values(), clusters[len(test) :], strict=True)
        if cluster not in tested
    }
    counts["near a test record"] = sum(record not in records for record, _ in found)
    labels: list[tuple[Label, bool]] = []
    for (record_id, name), (line, verdict) in found.items():
        if record_id in records:
            label = _label(line, records[record_id], by_name[name], verdict.number)
            if label is None:
                counts["not in the answer format"] += 1
            else:
                labels.append((label, verdict.verdict == "keep"))
    return list(records.values()), [label for label, _ in labels], [label for label, keep in labels if keep]


def _judged(path: Path, counts: Counter[str]) -> Iterator[tuple[AuditLine, LineVerdict]]:
    """Each line with its verdict; broken ones are counted."""
    verdicts, endings = {row.number: row for row in audit(path)}, endings_of(path)
    for read in read_json_lines(path):
        counts["lines"] += 1
        verdict = verdicts[read.number - 1]
        if isinstance(verdict, LineVerdict):
            yield take_apart(read.parsed(), endings), verdict
        else:
            counts["broken"] += 1


def _label(line: AuditLine, record: Record, task: Task, number: int) -> Label | None:
    """The line's items in the task's answer format; None where one of them cannot be said in it."""
    items = tuple(Item(text=i.text, status=status_of(i.text, record.text, task)) for i in line.items)
    completion = format_answer(items)
    if parse_answer(completion, task) is None:
        return None
    return Label(
        key=f"line {number}", record=record.id, task=task.name, strategy="imported", completion=completion,
        finish_reason="stop",
    )  # fmt: skip
