"""The labels of a run that a person may look at, ranked by doubt; each row is read from its file when it is asked for.

In: `records/`, `labels/`, `curated/` and, where they are, `predictions/` of a run folder. Out: a `Shelf`. Must hold:
records of the test split are not on it, since no label of theirs is ever taught; the rows are of one moment, however
the folder changes meanwhile (files stay open); a few hundred bytes in memory for each label.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from chartdistill.errors import ArtefactError
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.review.doubt import doubt_of
from chartdistill.runtime.run_folder import read_manifest, read_rows, require_manifest
from chartdistill.schema import CuratedLabel, Item, Label, Prediction, Record, Task

Place = tuple[str, str, int]
"""(record, task, sample)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One label in the queue."""

    place: Place
    doubt: float
    """0 to 1."""
    why: tuple[str, ...]
    is_kept: bool
    """By the last `curate`, whatever a person said of it since."""


@dataclass(frozen=True, slots=True)
class ShelfLabel:
    """One label with all that a person needs to judge it."""

    entry: Entry
    record: Record
    task: Task
    label: Label
    curated: CuratedLabel | None
    items: tuple[Item, ...] | None
    """The answer as it came; None where it does not follow the format, or failed."""


class _Rows:
    """A JSONL file whose lines are read by their place in it; another file put there changes nothing."""

    def __init__(self, path: Path) -> None:
        self._stream: IO[bytes] = path.open("rb")

    def each(self) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        """Every whole line: (offset, bytes), row."""
        offset = 0
        for line in self._stream:
            if line.endswith(b"\n"):
                yield (offset, len(line)), json.loads(line)
            offset += len(line)

    def line(self, at: tuple[int, int]) -> bytes:
        """One line; several threads may read at once."""
        return os.pread(self._stream.fileno(), at[1], at[0])


def tasks_of(run_dir: Path) -> list[Task]:
    """The tasks that a run's labels were curated for.

    Raises:
        ArtefactError: `curate` has not finished there, or was another version's.
    """
    options = require_manifest(run_dir / "curated", "curate").get("options") or {}
    try:
        return [Task.model_validate(task) for task in options["tasks"]]
    except (KeyError, ValueError):
        raise ArtefactError(
            f"{run_dir / 'curated' / 'manifest.json'} names no tasks, or those of another version. Run `chartdistill "
            "curate CONFIG` again."
        ) from None


class Shelf:
    """The labels of a run at one moment.

    Raises:
        ArtefactError: a stage has not finished.
    """

    def __init__(self, run_dir: Path) -> None:
        self.mark = self.mark_of(run_dir)
        for stage, verb in (("records", "prepare"), ("labels", "label")):
            require_manifest(run_dir / stage, verb)
        self.tasks = {task.name: task for task in tasks_of(run_dir)}
        self._records, self._labels = (_Rows(run_dir / name / f"{name}.jsonl") for name in ("records", "labels"))
        self._kept, self._rejected = (_Rows(run_dir / "curated" / f"{name}.jsonl") for name in ("kept", "rejected"))
        self.splits: dict[str, str] = {}
        self._record_at: dict[str, tuple[int, int]] = {}
        for at, row in self._records.each():
            self.splits[row["id"]], self._record_at[row["id"]] = row["split"], at
        self._curated_at = {
            (row["record"], row["task"], row["sample"]): (rows, at)
            for rows in (self._kept, self._rejected)
            for at, row in rows.each()
        }
        self._label_at = {
            place: at
            for at, row in self._labels.each()
            if self._is_shown(place := (row["record"], row["task"], row["sample"]))
        }
        self._arms = self._read_arms(run_dir)
        ranked = (self._entry(place) for place in self._label_at)
        self.entries = sorted(ranked, key=lambda entry: (-entry.doubt, entry.is_kept, entry.place))

    @staticmethod
    def mark_of(run_dir: Path) -> tuple[str | None, ...]:
        """Changes when a stage is done again; has None while one is being done."""
        manifests = (read_manifest(run_dir / stage) for stage in ("records", "labels", "curated"))
        return tuple(None if manifest is None else str(manifest["fingerprint"]) for manifest in manifests)

    def __contains__(self, place: Place) -> bool:
        return place in self._label_at

    def record(self, name: str) -> Record:
        """One record, of any split."""
        return Record.model_validate_json(self._records.line(self._record_at[name]))

    def label(self, place: Place) -> ShelfLabel:
        """One label with its chart."""
        label, curated, items = self._rows_of(place)
        task = self.tasks[place[1]]
        return ShelfLabel(self._entry(place), self.record(place[0]), task, label, curated, items)

    def _is_shown(self, place: Place) -> bool:
        return self.splits.get(place[0], "test") != "test" and place[1] in self.tasks

    def _rows_of(self, place: Place) -> tuple[Label, CuratedLabel | None, tuple[Item, ...] | None]:
        label = Label.model_validate_json(self._labels.line(self._label_at[place]))
        found = self._curated_at.get(place)
        curated = None if found is None else CuratedLabel.model_validate_json(found[0].line(found[1]))
        items = None if label.completion is None else parse_answer(label.completion, self.tasks[place[1]])
        return label, curated, items

    def _entry(self, place: Place) -> Entry:
        label, curated, items = self._rows_of(place)
        arms = self._arms.get(place[:2], {})
        found = doubt_of(label, curated, items, arms, self.tasks[place[1]])
        return Entry(place, found.value, found.reasons, curated is not None and curated.items is not None)

    def _read_arms(self, run_dir: Path) -> Mapping[tuple[str, str], Mapping[str, tuple[Item, ...] | None]]:
        """What base and student say of records on the shelf: there, where a run is scored on its validation split."""
        arms: dict[tuple[str, str], dict[str, tuple[Item, ...] | None]] = {}
        for name in ("student", "base"):
            path = run_dir / "predictions" / f"{name}.jsonl"
            if path.exists() and read_manifest(run_dir / "predictions") is not None:
                for row in read_rows(path, Prediction):
                    if self.splits.get(row.record, "test") != "test":
                        arms.setdefault((row.record, row.task), {})[name] = row.items
        return arms
