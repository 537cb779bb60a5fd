"""The view Gold: two people read the same held-out records blind, differences are settled, and both make gold.

In, out: plain values, as the page sends and gets them (JSON); gold as a JSONL file. Must hold: no reader is shown the
other's items, or an arm's, of a record before both have read it; the order of the records is the same for both and
says nothing of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chartdistill.curation import decision_file, now
from chartdistill.errors import InputError
from chartdistill.review.places import items_from, shown_item
from chartdistill.review.readings import (
    Reading,
    Readings,
    agree,
    agreement,
    differences,
    reading_file,
    text_hash,
)
from chartdistill.review.refusal import RefusedError, text_of
from chartdistill.review.shelf import tasks_of
from chartdistill.run_file import RUN_FILE
from chartdistill.runtime.outputs import require_writable, whole_file
from chartdistill.runtime.run_folder import read_manifest, read_rows, require_manifest
from chartdistill.schema import Record, Task, content_hash


class GoldView:
    """The held-out records of a run, for one person.

    Raises:
        ArtefactError: a stage has not finished.
    """

    def __init__(self, run_dir: Path, person: str) -> None:
        self._run_dir, self._person = run_dir, person
        self._made: tuple[str, ...] = ()
        self._file, self._decisions = reading_file(run_dir), decision_file(run_dir)
        require_manifest(run_dir / "records", "prepare")
        require_manifest(run_dir / "curated", "curate")
        self._renew()

    def _renew(self) -> None:
        """Read records and tasks again where they were made again; while that is going on they stay as they were."""
        prepared, curated = (read_manifest(self._run_dir / stage) for stage in ("records", "curated"))
        if prepared is None or curated is None:
            return
        made = prepared["fingerprint"], curated["fingerprint"], held_out_split(self._run_dir)
        if made != self._made:
            self._tasks, self.split = tasks_of(self._run_dir), made[-1]
            self._records = {record.id: record for record in held_out(self._run_dir, self.split)}
            self._made = made

    def hides(self, record: str) -> bool:
        """Whether this person must not be shown labels of a record: he reads gold, and it is not read by both yet."""
        if record not in self._records:
            return False
        readings = Readings(self._file.rows())
        return self._person in readings.readers and readings.both(self._records[record]) is None

    def overview(self, given: dict[str, Any]) -> dict[str, Any]:
        """Where this person stands, and how far the two readers agree."""
        self._renew()
        readings = Readings(self._file.rows())
        seen = self._seen()
        states = [
            {"record": name, "state": self._state(record, readings, seen)} for name, record in self._records.items()
        ]
        found = agreement(readings, self._records.values(), self._tasks)
        return {
            "split": self.split,
            "person": self._person,
            "may_read": self._person in readings.readers or len(readings.readers) < 2,
            "num_readers": len(readings.readers),
            "records": states,
            "num_gold": sum(
                readings.gold(record, self._tasks) is not None for record in self._records.values()
            ),
            "agreement": [
                {"task": name, "records": of.records, "items": of.items, "matched": of.matched, "f1": of.f1,
                 "joint_f1": of.joint_f1, "kappa": of.kappa, "statuses": len(of.statuses)}
                for name, of in found.items()
            ],
        }  # fmt: skip

    def record(self, given: dict[str, Any]) -> dict[str, Any]:
        """A chart to read, with what this person found in it so far; where both have read it, with what differs."""
        record, readings = self._known(given), Readings(self._file.rows())
        state = self._state(record, readings, self._seen())
        mine, both = readings.of(record, self._person), readings.both(record)
        settled = readings.settled(record)
        tasks = []
        for task in self._tasks:
            shown: dict[str, Any] = {"task": task.name, "statuses": task.statuses}
            shown["question"] = task.question
            found = None if mine is None else mine.items.get(task.name)
            shown["items"] = None if found is None else [shown_item(item, record.text, task) for item in found]
            if both is not None:
                shown |= self._compared(record, task, both, settled)
            tasks.append(shown)
        by = None if settled is None else settled.by
        return {"record": record.id, "text": record.text, "seen": text_hash(record), "state": state, "tasks": tasks,
                "settled_by": by}  # fmt: skip

    def read(self, given: dict[str, Any]) -> dict[str, Any]:
        """Write this person's reading of a record down: every task, with its items or none.

        Raises:
            RefusedError: 409 where it is too late; else what is missing.
        """
        record = self._known(given)
        self._require_same_text(record, given)
        if record.id in self._seen():
            raise RefusedError(
                "You have decided about labels of this record, so your reading of it would not be blind.", 409
            )
        items = {task.name: items_from(self._of_task(given, task), task) for task in self._tasks}

        def made(rows: Sequence[Reading]) -> list[Reading]:
            readings = Readings(rows)
            if self._person not in readings.readers and len(readings.readers) == 2:
                raise RefusedError(
                    f"{' and '.join(readings.readers)} read this run. A third person can settle what differs.", 409
                )
            if readings.both(record) is not None:
                raise RefusedError("Both have read this record, so neither reading changes any more.", 409)
            return [self._row("reading", record, items)]

        self._file.add(made)
        return self.overview({})

    def settle(self, given: dict[str, Any]) -> dict[str, Any]:
        """Write down what holds for the tasks of a record on which its readers differ.

        Raises:
            RefusedError: 409 where it has not been read by both; else what is missing.
        """
        record = self._known(given)
        self._require_same_text(record, given)

        def made(rows: Sequence[Reading]) -> list[Reading]:
            both = Readings(rows).both(record)
            if both is None:
                raise RefusedError("This record has not been read by two people yet.", 409)
            differing = [task for task in self._tasks if not _agree_on(task, both)]
            if not differing:
                raise RefusedError("Both say the same of this record; there is nothing to settle.", 409)
            items = {task.name: items_from(self._of_task(given, task), task) for task in differing}
            return [self._row("settled", record, items)]

        self._file.add(made)
        return self.overview({})

    def _compared(
        self, record: Record, task: Task, both: tuple[Reading, Reading], settled: Reading | None
    ) -> dict[str, Any]:
        one, other = (row.items.get(task.name) for row in both)
        if one is None or other is None:
            return {"agreed": True}
        shown = [
            [None if item is None else shown_item(item, record.text, task) for item in pair]
            for pair in differences(one, other, task)
        ]
        start = one if settled is None else settled.items.get(task.name, one)
        return {"agreed": not shown, "differences": shown, "readers": [row.by for row in both],
                "settled": [shown_item(item, record.text, task) for item in start]}  # fmt: skip

    def _state(self, record: Record, readings: Readings, seen: set[str]) -> str:
        """`open`, `mine` (read by this person, and not by both), `not blind`, `differs`, or `gold`."""
        if readings.both(record) is not None:
            return "differs" if readings.gold(record, self._tasks) is None else "gold"
        if readings.of(record, self._person) is not None:
            return "mine"
        return "not blind" if record.id in seen else "open"

    def _seen(self) -> set[str]:
        """Records about whose labels this person has decided: he has seen what the teacher says of them."""
        return {row.record for row in self._decisions.rows() if row.by == self._person}

    def _known(self, given: dict[str, Any]) -> Record:
        self._renew()
        record = self._records.get(text_of(given, "record"))
        if record is None:
            raise RefusedError("There is no such held-out record in this run.", 404)
        return record

    def _require_same_text(self, record: Record, given: dict[str, Any]) -> None:
        if given.get("seen") != text_hash(record):
            raise RefusedError("Not saved: the chart is another one now. Open it again.", 409)

    def _of_task(self, given: dict[str, Any], task: Task) -> object:
        answers = given.get("items")
        if not isinstance(answers, dict) or task.name not in answers:
            raise RefusedError(f"Not saved: {task.name} has no answer yet. Mark its items, or say that there are none.")
        return answers[task.name]

    def _row(self, kind: Any, record: Record, items: dict[str, Any]) -> Reading:
        return Reading(
            kind=kind, record=record.id, text=text_hash(record), items=items, by=self._person, at=now()
        )  # fmt: skip


def _agree_on(task: Task, both: tuple[Reading, Reading]) -> bool:
    one, other = (row.items.get(task.name) for row in both)
    return one is None or other is None or agree(one, other, task)


def held_out_split(run_dir: Path) -> str:
    """The split that the run's arms are scored on; `test` where nothing says so yet."""
    scored = read_manifest(run_dir / "predictions")
    if scored is not None and scored.get("split"):
        return str(scored["split"])
    path = run_dir / "adapter" / RUN_FILE
    if path.is_file():
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["config"]["evaluate"]["split"])
        except (ValueError, KeyError, TypeError):
            pass  # of another version: as where there is none
    return "test"


def held_out(run_dir: Path, split: str) -> Iterator[Record]:
    """Its records, in the order of the hashes of their ids: neither content nor the order of the files shows."""
    rows = read_rows(run_dir / "records" / "records.jsonl", Record)
    yield from sorted((row for row in rows if row.split == split), key=lambda row: content_hash(row.id))


def write_gold(run_dir: Path, out: Path, overwrite: bool = False) -> tuple[int, int]:
    """Write the gold that two readers made, one record a line, as `score` and a source's `gold` read it; returns
    (records written, records that both have read and whose differences are not settled).

    Raises:
        InputError: no record has gold yet.
        ArtefactError: the file cannot be written, or is there and `overwrite` is not set.
    """
    require_writable("--gold", out, overwrite, read=(run_dir,))
    tasks, readings = tasks_of(run_dir), Readings(reading_file(run_dir).rows())
    lines, unsettled = [], 0
    for record in held_out(run_dir, held_out_split(run_dir)):
        gold = readings.gold(record, tasks)
        unsettled += gold is None and readings.both(record) is not None
        if gold is not None:
            listed = {name: [item.model_dump(exclude_none=True) for item in items] for name, items in gold.items()}
            # The cluster too: charts of one patient are in one, which no text tells, and intervals are over them.
            row = {"id": record.id, "cluster": record.cluster, "gold": listed, "text": record.text}
            lines.append(json.dumps(row, ensure_ascii=False))
    if not lines:
        raise InputError(
            f"{run_dir / 'review'} has no record that two people have read and agree on, or whose differences are "
            f"settled ({unsettled} differ). Read some: chartdistill review {run_dir} --name NAME, view Gold."
        )
    with whole_file(out) as stream:
        stream.writelines(line + "\n" for line in lines)
    return len(lines), unsettled
