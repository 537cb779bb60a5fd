"""Rejects items that are in the record but are not what was asked for: a procedure as a diagnosis, a plan as a
prognosis, a test that is done as one that is ordered.

What is of a kind, the kind itself says (`EntityType.objection`). Items of tasks whose kind is not known pass.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.entities.base import Objection
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.schema import Item, Label, Record, Rejection, Task

_MIN_DUMP = 4
_DUMP_SHARE = 0.75

_PLACEHOLDER = re.compile(
    r"_{2,}|\[\*\*.*?\*\*\]|\b(?:X{4,}|x{4,})\b|\*{3,}|[\[<(]{1,2}(?:"
    r"(?:REDACTED|REMOVED|DELETED|MASKED|BLANK|PHI|NAME|DATE|DRUG|MEDICATION|MEDICINE|DIAGNOSIS|CONDITION|DISEASE|TEST|PATIENT|PROVIDER"
    r"|DOCTOR|HOSPITAL|LOCATION|AGE|ID)(?:[ _-]?(?:NAME|\d{1,4}))?)[\])>]{1,2}"
)


class Kind(ItemFilter):
    """Reason codes of its own: `keyword_dump`, the answer is a run of the search keywords at the chart's end;
    `placeholder`, the item holds a blank that de-identification left ("___ 40 mg"). The others are those of the kinds
    of finding: see clinical/entities."""

    type: Literal["kind"] = "kind"
    lexicon: LexiconUse = "auto"
    """Whether drug names are looked up: see `lexica.drugs.LexiconUse`."""
    unknown: Literal["keep", "reject"] = "keep"
    """A short name that no list has, in a chart that uses it like a drug: no lexicon is complete, so it is kept."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject each item of another kind than the task's."""
        entity = entity_of(task)
        if not items or not (entity.name or entity.names_by_user):
            return []
        if _is_dump(items, run.removed.get(record.id, "")):
            return [self.objection("keyword_dump", "the items follow each other as in the chart's search keywords")]
        findings = [
            self.finding(found.reason, item, found.evidence, found.span)
            for item in items
            if (
                found := _placeholder(item)
                or entity.excluded_by_user(item.text, record.text)
                or entity.objection(item.text, record.text, self.lexicon, self.unknown == "keep")
            )
            is not None
        ]
        return self.verdict(findings, len(items))


def _placeholder(item: Item) -> Objection | None:
    if _PLACEHOLDER.search(item.text) is None:
        return None
    return Objection("placeholder", "a blank that de-identification left, which names nothing")


def _is_dump(items: tuple[Item, ...], removed: str) -> bool:
    """Whether most items are neighbours, in order, among the keywords that cleaning cut off."""
    keywords = [re.sub(r"\W+", " ", part).strip().casefold() for part in removed.split(",")]
    said = [re.sub(r"\W+", " ", item.text).strip().casefold() for item in items]
    pairs = set(pairwise(keywords))
    neighbours = sum(pair in pairs for pair in pairwise(said))
    return len(said) >= _MIN_DUMP and neighbours >= _DUMP_SHARE * (len(said) - 1)
