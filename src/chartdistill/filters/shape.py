"""Rejects items that cannot be what was asked for, judged by their shape alone."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from chartdistill.filters.items import ItemFilter
from chartdistill.schema import Item, Label, Record, Rejection, Task

_ARTEFACT = re.compile(r"</?[a-z_]+>|\[/?INST]|```|###|[\x00-\x1f\x7f\ufffd]|^(?:answer|question)\b\s*:", re.IGNORECASE)
_LIST_MARK = re.compile(r"^(?:[-*•]|\(?\d{1,2}[.)])\s")


class Shape(ItemFilter):
    """Reason code `wrong_shape`; the evidence says which: too long, a question, a list mark, no letter, an artefact."""

    type: Literal["shape"] = "shape"
    max_words: int = Field(default=12, ge=1)
    """Longest item, in words."""
    max_words_by_task: dict[str, int] = Field(default={"prognosis": 20})
    """Task name -> longest item, where a task's items are longer than most: a prognosis is a quoted clause."""

    def check(self, label: Label, items: tuple[Item, ...] | None, record: Record, task: Task) -> list[Rejection]:
        """Reject each item of a shape no item of the task has."""
        limit = self.max_words_by_task.get(task.name, self.max_words)
        findings = [
            self.finding("wrong_shape", item, evidence)
            for item in items or ()
            if (evidence := _objection(item.text, limit))
        ]
        return self.verdict(findings, len(items or ()))


def _objection(text: str, limit: int) -> str | None:
    """What is wrong with the shape of an item; None when nothing is."""
    if len(text.split()) > limit:
        return f"{len(text.split())} words; at most {limit} are allowed"
    if text.endswith("?"):
        return "a question"
    if _ARTEFACT.search(text):
        return "holds a control token or another trace of the prompt"
    if _LIST_MARK.match(text):
        return "begins with a list mark"
    if not any(character.isalpha() for character in text):
        return "holds no letter"
    return None
