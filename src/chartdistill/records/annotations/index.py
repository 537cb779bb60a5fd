"""Which record an answer of a file is about, and what each record is told.

In: a `Reading`, then records one by one. Out: for each record its answers, one a task; at the end what was never used.
What must hold: an answer with a text goes to the record with the same words (layout, case and what cleaning cuts off
apart), one without to the record with its id; never to another record; two answers to one question that differ are an
error or both left out; each answer is used or named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.status_by_rules import status_of
from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records.annotations.answer import Answer, Finding, Reading, shown, where
from chartdistill.records.annotations.options import AnnotationFile
from chartdistill.schema import Item, Task

FROM_CHART, LEAVE_OUT = "from_chart", "leave_out"
_SHOWN = 5


@dataclass
class Counts:
    """What became of the answers."""

    used: int = 0
    said_again: int = 0
    """The same answer to the same question once more."""
    statuses_from_chart: int = 0
    """Items whose status the file does not say."""


class AnswerIndex:
    """The answers of one file.

    Args:
        missing_status: for items without status, where the options do not say: see `AnnotationFile`.

    Raises:
        InputError: a status that a task does not have is named for missing ones.
    """

    def __init__(self, reading: Reading, options: AnnotationFile, missing_status: str) -> None:
        self.reading, self._options = reading, options
        self._missing = options.missing_status or missing_status
        self._by_body: dict[str, list[int]] = {}
        self._by_key: dict[str, list[int]] = {}
        for number, answer in enumerate(reading.answers):
            if answer.body is not None:
                self._by_body.setdefault(answer.body, []).append(number)
            elif answer.key is not None:
                self._by_key.setdefault(answer.key, []).append(number)
        self._used: set[int] = set()
        self._seen: set[str] = set()
        self._differing: list[Finding] = []
        self.counts = Counts()
        self.findings: list[Finding] = [*reading.findings]
        tasks = {answer.task.name: answer.task for answer in reading.answers if answer.task.statuses}
        if self._missing not in (FROM_CHART, LEAVE_OUT):
            for task in tasks.values():
                if self._missing not in task.statuses:
                    raise InputError(
                        f"missing_status of {reading.file}: {self._missing!r} is no status of task {task.name}; "
                        f"allowed: {FROM_CHART}, {LEAVE_OUT}, {', '.join(task.statuses)}."
                    )

    def of_record(self, record: str, body: str, text: str, also: Sequence[str] = ()) -> dict[str, Answer]:
        """Task name -> what the file says of this record.

        Args:
            also: ids of charts with the same words, which became no records: what is said of them is true of this one,
                where nothing is said of it itself. Of several that differ the first counts, and the others are named.
        """
        self._seen.update((record, *also))
        places = [*self._by_body.get(body, ()), *self._by_key.get(record, ())]
        self._used.update(places)
        by_task: dict[str, list[Answer]] = {}
        for number in places:
            answer = self.reading.answers[number]
            by_task.setdefault(answer.task.name, []).append(answer)
        found = {}
        for name in self._take_over(by_task, record, also):
            one = self._one_of(by_task[name], record)
            whole = None if one is None else self._with_statuses(one, record, text)
            if whole is not None:
                found[name] = whole
                self.counts.used += 1
        return found

    def _take_over(self, by_task: dict[str, list[Answer]], record: str, also: Sequence[str]) -> list[str]:
        """Add what is said of other ids of the same words; returns all tasks."""
        for number in [number for key in also for number in self._by_key.get(key, ())]:
            self._used.add(number)
            answer = self.reading.answers[number]
            known = by_task.setdefault(answer.task.name, [answer])[0]
            if known is not answer and _said(known) == _said(answer):
                self.counts.said_again += 1
            elif known is not answer:
                code, detail = "differs_from_duplicate", f"{where(known.origin)} counts: its chart has the same words"
                place, task = where(answer.origin), answer.task.name
                self.findings.append(Finding(code=code, place=place, record=record, task=task, detail=detail))
        return list(by_task)

    def finish(self, rejected: Mapping[str, str] | None = None) -> None:
        """After the last record: names what was not used.

        Args:
            rejected: ids that became no record -> why.

        Raises:
            InputError: two labels of one record and task differ, and the options call that an error.
        """
        if self._differing and self._options.differing == "error":
            shown = "\n".join(
                f"  - record {one.record}, task {one.task}: {one.detail}" for one in self._differing[:_SHOWN]
            )
            more = f"\n  ... and {len(self._differing) - _SHOWN} more" if len(self._differing) > _SHOWN else ""
            raise InputError(
                f"{self._options.path}: {len(self._differing)} times two labels of one record and task say different "
                f"things:\n{shown}{more}\nKeep one of each in the file, or set differing: leave_out, to use neither."
            )
        self.findings += self._differing
        for number, answer in enumerate(self.reading.answers):
            if number not in self._used:
                self.findings.append(self._unused(answer, rejected or {}))

    def _unused(self, answer: Answer, rejected: Mapping[str, str]) -> Finding:
        code, detail = "no_record", "no record of this run has this id; check the ids of the source"
        if answer.body is not None:
            detail = "no record of this run has the words of this text; it was changed, or is not among the charts"
            if answer.key in self._seen:
                code = "text_differs"
                detail = "the record with this id has other words: the chart or the file was changed since"
        elif answer.key is not None and answer.key in rejected:
            detail = f"the chart with this id became no record: {rejected[answer.key]}"
        return Finding(code=code, place=where(answer.origin), record=answer.key, task=answer.task.name, detail=detail)

    def _one_of(self, answers: Sequence[Answer], record: str) -> Answer | None:
        first = answers[0]
        for other in answers[1:]:
            if _said(first) == _said(other):
                self.counts.said_again += 1
            else:
                detail = f"{where(first.origin)} and {where(other.origin)}"
                code, task = "differing_labels", first.task.name
                self._differing.append(Finding(code=code, record=record, task=task, detail=detail))
                return None
        return first

    def _with_statuses(self, answer: Answer, record: str, text: str) -> Answer | None:
        """The answer with a status at every item, where its task has statuses; None where it must be left out."""
        task, items = answer.task, answer.items
        lacking = [item for item in items or () if item.status is None] if task.statuses else []
        if not lacking or (answer.completion is not None and items is not None):
            return answer
        whole = (
            items if self._missing == LEAVE_OUT else tuple(self._with_status(one, text, task) for one in items or ())
        )
        if untold := sum(item.status is None for item in whole or ()):
            detail = f"{untold} of {len(items or ())} items have no status"
            if self._missing == FROM_CHART:
                detail += f", and the chart's words tell none of {', '.join(task.statuses)}"
            detail += "; say missing_status to use them"
            place, name = where(answer.origin), task.name
            self.findings.append(Finding(code="no_status", place=place, record=record, task=name, detail=detail))
            return None
        self.counts.statuses_from_chart += len(lacking) if self._missing == FROM_CHART else 0
        return replace(answer, items=whole)

    def _with_status(self, item: Item, text: str, task: Task) -> Item:
        if item.status is not None:
            return item
        status = status_of(item.text, text, task) if self._missing == FROM_CHART else self._missing
        return item.model_copy(update={"status": status})


def misfit(items: Sequence[Item], task: Task) -> str | None:
    """What keeps items from being gold of a task; None where nothing does."""
    for item in items:
        if item.status is not None and item.status not in task.statuses:
            allowed = f"one of {', '.join(task.statuses)}" if task.statuses else "allowed: the task has none"
            return f"status {shown(item.status)} is not {allowed}"
    return None


def completion_of(answer: Answer) -> tuple[str, int]:
    """What the answer says, in the answer format, and how many optional items were left out of it: what may be listed
    or not is not taught."""
    if answer.items is None or (answer.completion is not None and not any(one.optional for one in answer.items)):
        return answer.completion or "", 0
    required = [item for item in answer.items if not item.optional]
    return format_answer(required), len(answer.items) - len(required)


def _said(answer: Answer) -> object:
    """What two answers must have in common to be the same."""
    if answer.items is None:
        return answer.completion
    entity = entity_of(answer.task)
    return frozenset((entity.key(item.text), item.status, item.optional) for item in answer.items)
