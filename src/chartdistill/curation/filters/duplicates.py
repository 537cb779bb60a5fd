"""Rejects answers carried over from another record: the same items again, in a chart that does not have them."""

from __future__ import annotations

from typing import Literal

from chartdistill.clinical.text.grounding import locate_item, locate_words
from chartdistill.curation.filters.items import LabelFilter
from chartdistill.curation.label_statistics import NO_FACTS, RunFacts
from chartdistill.schema import Item, Label, Record, Rejection, Task

_SAME_WORDS = 0.75


class Duplicates(LabelFilter):
    """Reason code `carried_over`: another record was given the same answer, and most of it is not in this one."""

    type: Literal["duplicates"] = "duplicates"

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: RunFacts = NO_FACTS,
    ) -> list[Rejection]:
        """Reject the label when at least half of an answer that another record was given is missing from this one."""
        others = run.others_with(items, record.id) if items else ()
        if not items or not others:
            return []
        missing = sum(
            locate_item(item, record.text, task) is None and locate_words(item.text, record.text, _SAME_WORDS) is None
            for item in items
        )
        if 2 * missing < len(items):
            return []
        evidence = (
            f"{missing} of {len(items)} items are not in the record; record {others[0]} was given the same answer"
        )
        return [self.objection("carried_over", evidence)]
