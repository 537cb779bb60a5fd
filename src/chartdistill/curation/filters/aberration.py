"""Rejects items and answers unlike all others: of a shape no item has, or far longer than the run's own."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from chartdistill.clinical.entities import ENTITY_TYPES, entity_of
from chartdistill.clinical.text.free_text import is_sentence
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.schema import Item, Label, Record, Rejection, Task

_ARTEFACT = re.compile(r"</?[a-z_]+>|\[/?INST]|```|###|[\x00-\x1f\x7f\ufffd]|^(?:answer|question)\b\s*:", re.IGNORECASE)
_LIST_MARK = re.compile(r"^(?:[-*•]|\(?\d{1,2}[.)])\s")


class Aberration(ItemFilter):
    """Reason codes: `wrong_shape`, an item that is too long, a question, begins with a list mark, has no letter or
    holds an artefact of the prompt; `outlier_length` and `outlier_count`, an item's words or a label's number of items
    far above the median of the run's labels for the task; a long list whose items each stand in the record is none."""

    type: Literal["aberration"] = "aberration"
    max_words: int = Field(default=12, ge=1)
    """Longest item, in words."""
    max_words_by_task: dict[str, int] = Field(
        default={one.task_name: one.max_words for one in ENTITY_TYPES if one.max_words}
    )
    """Task name -> longest item, where a task's items are longer than most: a prognosis is a quoted clause."""
    max_score: float = Field(default=8, gt=0)
    """Robust z from which a value is an outlier: (value - median) / max(1, 1.4826 x median absolute deviation)."""
    min_labels: int = Field(default=50, ge=2)
    """Fewer labels (or items) of a task than this have no distribution to lie outside of."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject each item of a shape no item of the task has, and the label with far too many."""
        limit = self.max_words_by_task.get(task.name, self.max_words)
        findings = []
        for item in items or ():
            if evidence := _objection(item.text, limit, record.text):
                findings.append(self.finding("wrong_shape", item, evidence))
            elif evidence := self._outlier("words", len(item.text.split()), task.name, run):
                findings.append(self.finding("outlier_length", item, evidence))
        rejections = self.verdict(findings, len(items or ()))
        evidence = self._outlier("items", len(items or ()), task.name, run)
        if evidence and not _all_stand_in(items or (), record, task):
            rejections.append(self.objection("outlier_count", evidence))
        return rejections

    def _outlier(self, what: Literal["words", "items"], value: int, task: str, run: LabelStatistics) -> str:
        norm = (run.item_words if what == "words" else run.num_items).get(task)
        if norm is None or norm.number < self.min_labels or norm.score(value) <= self.max_score:
            return ""
        return f"{value} {what}; the median of the run is {norm.median:g}, robust z {norm.score(value):.1f}"


def _all_stand_in(items: tuple[Item, ...], record: Record, task: Task) -> bool:
    """Whether each item has a place of its own in the record: a long list of a long chart is no outlier."""
    entity = entity_of(task)
    places = [entity.locate(item.text, record.text, lexicon="auto", initials=entity.initials_ground) for item in items]
    return len({place.start for place in places if place is not None}) == len(items)


def _objection(text: str, limit: int, record: str) -> str | None:
    """What is wrong with the shape of an item; None when nothing is.

    A phrase that the record has word for word may be half as long again, unless it is a sentence.
    """
    copied = len(text.split()) > limit and not is_sentence(text) and any(occurrences(text, record))
    limit += limit // 2 if copied else 0
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
