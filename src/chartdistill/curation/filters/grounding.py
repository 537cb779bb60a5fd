"""Rejects items that are not in the record.

Necessary, not sufficient: an item in the record can still be of the wrong kind or have the wrong status.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.text.grounding import FUZZY_THRESHOLD, Alignment
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.schema import Item, Label, Record, Rejection, Task


class Grounding(ItemFilter):
    """Reason codes: `invented`, the item stands nowhere in the record, under any name; `boilerplate`, it stands only
    in what cleaning cut off (search keywords, a site's notice); `from_example`, it stands only in the chart of a worked
    example of the prompts; `invented_number`, its name is in the record but not
    its numbers (a dose, for example), or they belong to something else."""

    type: Literal["grounding"] = "grounding"
    fuzzy_threshold: float = Field(default=FUZZY_THRESHOLD, ge=50, le=101)
    """Similarity (0 to 100) from which a window of the record counts as the item. 101: only the same words count."""
    lexicon: LexiconUse = "auto"
    """Whether a drug is also found by its other names, brand or ingredient: see `lexica.drugs.LexiconUse`."""
    word_share: float | None = Field(default=None, gt=0, le=1)
    """For free text: an item that is no drug is also found where this share of its words stand together."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject each item that cannot be located in the record's text."""
        findings = []
        for item in items or ():
            place = self._evidence(item, record.text, task)
            if place is None:
                cut = run.removed.get(record.id, "")
                if cut and self._evidence(item, cut, task) is not None:
                    evidence = "stands only in the search keywords or the notice at the chart's end"
                    findings.append(self.finding("boilerplate", item, evidence))
                    continue
                if any(self._evidence(item, chart, task) is not None for chart in task.shown_charts):
                    evidence = "stands nowhere in the record, but in the chart of a worked example"
                    findings.append(self.finding("from_example", item, evidence))
                    continue
                evidence = f"no window of the record is {self.fuzzy_threshold:g}% like the item"
                findings.append(self.finding("invented", item, evidence))
                continue
            if wrong := entity_of(task).wrong_details(item.text, record.text, self.lexicon):
                evidence = f"the name is in the record, {', '.join(wrong)} is not"
                findings.append(self.finding("invented_number", item, evidence, (place.start, place.end)))
        return self.verdict(findings, len(items or ()))

    def _evidence(self, item: Item, text: str, task: Task) -> Alignment | None:
        return entity_of(task).evidence(item.text, text, self.fuzzy_threshold, self.lexicon, self.word_share)
