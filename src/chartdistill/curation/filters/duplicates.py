"""Rejects answers carried over from another record: the same items again, in a chart that does not have them."""

from __future__ import annotations

from typing import Literal

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.text.grounding import FUZZY_THRESHOLD
from chartdistill.curation.filters.items import LabelFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.schema import Item, Label, Record, Rejection, Task


class Duplicates(LabelFilter):
    """Reason code `carried_over`: another record was given the same answer, and most of it is not in this one."""

    type: Literal["duplicates"] = "duplicates"

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject the label when at least half of an answer that another record was given is missing from this one."""
        others = run.others_with(items, record.id) if items else ()
        if not items or not others:
            return []
        missing = sum(not _stands_in(item, record, task) for item in items)
        if 2 * missing < len(items):
            return []
        evidence = (
            f"{missing} of {len(items)} items are not in the record; record {others[0]} was given the same answer"
        )
        return [self.objection("carried_over", evidence)]


def _stands_in(item: Item, record: Record, task: Task) -> bool:
    """Whether the record has an item, also under another name or by its initials: answers of one name each, given for
    charts that have the brand, are alike because the charts are."""
    entity = entity_of(task)
    found = entity.evidence(item.text, record.text, FUZZY_THRESHOLD, "auto", None)
    return found is not None or entity.span(item.text, record.text) is not None
