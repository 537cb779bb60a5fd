"""Rejects answers of "none found" for charts that plainly have what was asked for."""

from __future__ import annotations

from typing import Literal

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.curation.filters.items import LabelFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.schema import Item, Label, Record, Rejection, Task


class Abstention(LabelFilter):
    """Reason code `false_none`. The evidence says what kind of thing the chart has; the span, where."""

    type: Literal["abstention"] = "abstention"
    lexicon: LexiconUse = "auto"
    """Whether drugs are looked for by name: see `lexica.drugs.LexiconUse`."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject an empty answer when the chart's own words leave no doubt that something was to be found."""
        if items is None or items:
            return []
        found = entity_of(task).overlooked(record.text, self.lexicon)
        if found is None:
            return []
        return [Rejection(filter=self.type, reason=found.reason, evidence=found.evidence, span=found.span)]
