"""Rejects labels that are not an answer: failures, broken format, answers at odds with their own gate."""

from __future__ import annotations

from typing import Literal

from chartdistill.curation.filters.items import LabelFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.prompting.answer_format import FIELD_SEPARATOR, NONE_FOUND, says_none
from chartdistill.schema import Item, Label, Record, Rejection, Task


class Format(LabelFilter):
    """Reason codes:

    - `failed`: the engine gave no answer; `empty`: it gave an empty one.
    - `none_spelling`: "N/A", "none", "No medications" ... where only the exact none answer is allowed.
    - `unknown_status`, `missing_field`, `bad_format`: a line that is not an item of the task.
    - `gate_unclear`, `yes_with_none`, `no_with_items`: the gate and the list do not go together.
    """

    type: Literal["format"] = "format"

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject the whole label, once, for the first thing that is wrong with its form."""
        reason, evidence = self._objection(label, items, task)
        return [self.objection(reason, evidence)] if reason else []

    def _objection(self, label: Label, items: tuple[Item, ...] | None, task: Task) -> tuple[str, str]:
        if label.completion is None:
            return "failed", label.failure or "neither a completion nor a failure"
        if items is None:
            return _format_error(label.completion.strip(), task)
        if label.gate is None:
            return "", ""
        if label.gate.answer == "unclear":
            return "gate_unclear", "the gate question was answered `unclear`"
        if label.gate.answer == "yes" and not items:
            return "yes_with_none", f"the gate question was answered `yes`, the list is `{NONE_FOUND}`"
        if label.gate.answer == "no" and items:
            return "no_with_items", f"the gate question was answered `no`, the list has {len(items)} items"
        return "", ""


def _format_error(text: str, task: Task) -> tuple[str, str]:
    """(reason code, evidence) for a text that is no answer to the task."""
    if not text:
        return "empty", "the answer is empty"
    lines = text.split("\n")
    wanted = 2 if task.statuses else 1
    for number, line in enumerate(lines, 1):
        fields = [field.strip() for field in line.split(FIELD_SEPARATOR.strip())]
        where = f"line {number} of {len(lines)}"
        if says_none(fields[0], task):
            return (
                "none_spelling",
                f"{where}: another spelling of none, or none beside items; only `{NONE_FOUND}` alone",
            )
        if len(fields) < wanted or not all(fields):
            return "missing_field", f"{where}: {sum(map(bool, fields))} of {wanted} fields"
        if len(fields) > wanted:
            return "bad_format", f"{where}: {len(fields)} fields, at most {wanted} are allowed"
        if task.statuses and fields[1] not in task.statuses:
            return "unknown_status", f"{where}: the status is not one of {', '.join(task.statuses)}"
    return "bad_format", f"not items of {wanted} fields, one per line"
