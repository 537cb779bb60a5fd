"""Gold from a file of its own, beside a source's charts: any format of `annotations/`.

In: the source's `gold:`, then its charts one by one. Out: the gold of each; findings and counts for the manifest.
Must hold: gold is never guessed: an item without status, or with one that its task does not have, makes no gold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from chartdistill.errors import InputError
from chartdistill.records.annotations import AnnotationFile, Finding, read_annotations
from chartdistill.records.annotations.answer import nothing_usable, where
from chartdistill.records.annotations.index import LEAVE_OUT, AnswerIndex, misfit
from chartdistill.runtime.run_folder import RowWriter
from chartdistill.schema import Item, Task

FINDINGS = "gold_findings.jsonl"


class GoldFile:
    """The gold of one source.

    Raises:
        InputError: the file cannot be read, or says nothing about any task of this run.
    """

    def __init__(self, options: AnnotationFile, tasks: Sequence[Task]) -> None:
        self._reading = read_annotations(options, tasks)
        if not self._reading.answers:
            raise InputError(nothing_usable(options.path, "gold", self._reading.findings, self._reading.unmapped))
        self._index = AnswerIndex(self._reading, options, LEAVE_OUT)
        self._path = options.path
        self._records: Counter[str] = Counter()
        self._without = 0

    def of_record(
        self, record: str, body: str, text: str, filed_as: str | None = None
    ) -> dict[str, tuple[Item, ...]] | None:
        """Task name -> items; None where the file has no gold of this record.

        `filed_as`: another id that the file may know it by.
        """
        gold: dict[str, tuple[Item, ...]] = {}
        also = () if filed_as is None else (filed_as,)
        for name, answer in self._index.of_record(record, body, text, also).items():
            problem = "does not follow the answer format" if answer.items is None else misfit(answer.items, answer.task)
            if problem is None and answer.items is not None:
                gold[name] = answer.items
                self._records[name] += 1
            else:
                finding = Finding(
                    code="bad_gold", place=where(answer.origin), record=record, task=name, detail=str(problem)
                )  # fmt: skip
                self._index.findings.append(finding)
        if not gold:
            self._without += 1
            self._index.findings.append(Finding(code="no_label", record=record, detail="the file has no gold of it"))
        return gold or None

    def require_match(self, rejected: Mapping[str, str]) -> None:
        """After the last chart: that there was gold of any.

        Raises:
            InputError: the file has gold of none of these charts, or two answers that differ.
        """
        self._index.finish(rejected)
        if not self._records:
            own = [one for one in self._index.findings if one.place is not None]
            raise InputError(nothing_usable(self._path, "gold", own, self._reading.unmapped))

    def finish(self, rejected: Mapping[str, str], out: RowWriter, erased: Container[object] = ()) -> dict[str, Any]:
        """After the last chart: writes the findings and returns what the manifest says. `erased`: ids that are not
        written.

        Raises:
            InputError: as `require_match`.
        """
        self.require_match(rejected)
        out.write(*(one for one in self._index.findings if one.record not in erased))
        return {
            **self._reading.facts(),
            "records_by_task": dict(self._records),
            "records_without_gold": self._without,
            "findings": dict(Counter(one.code for one in self._index.findings).most_common()),
        }


def finish_gold(
    files: Sequence[GoldFile | None], folder: Path, rejected: Mapping[str, str], erased: Container[object]
) -> dict[str, Any]:
    """After the last chart of all sources: writes what their files leave unsaid, and returns what the manifest says. To
    be called before anything of `folder` is replaced: gold that cannot be used costs nothing that was finished.

    Raises:
        InputError: as `GoldFile.require_match`.
    """
    given = [one for one in files if one is not None]
    if not given:
        return {}
    with RowWriter(folder / FINDINGS) as out:
        return {"gold": [one.finish(rejected, out, erased) for one in given]}
