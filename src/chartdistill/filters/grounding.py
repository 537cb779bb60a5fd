"""Rejects items that are not in the record.

Necessary, not sufficient: an item in the record can still be of the wrong kind or have the wrong status.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chartdistill.filters.items import ItemFilter
from chartdistill.grounding import FUZZY_THRESHOLD, locate_item, numbers
from chartdistill.schema import Item, Label, Record, Rejection, Task


class Grounding(ItemFilter):
    """Reason codes: `invented`, the item stands nowhere in the record; `invented_number`, its name does but not its
    numbers (a dose, for example)."""

    type: Literal["grounding"] = "grounding"
    fuzzy_threshold: float = Field(default=FUZZY_THRESHOLD, ge=50, le=101)
    """Similarity (0 to 100) from which a window of the record counts as the item. 101: only the same words count."""

    def check(self, label: Label, items: tuple[Item, ...] | None, record: Record, task: Task) -> list[Rejection]:
        """Reject each item that cannot be located in the record's text."""
        findings = []
        recorded: frozenset[str] | None = None
        for item in items or ():
            place = locate_item(item, record.text, task, self.fuzzy_threshold)
            if place is None:
                evidence = f"no window of the record is {self.fuzzy_threshold:g}% like the item"
                findings.append(self.finding("invented", item, evidence))
                continue
            if wanted := numbers(item.text):
                recorded = frozenset(numbers(record.text)) if recorded is None else recorded
                if missing := [number for number in wanted if number not in recorded]:
                    evidence = f"the name is in the record, {', '.join(missing)} is not"
                    findings.append(self.finding("invented_number", item, evidence, (place.start, place.end)))
        return self.verdict(findings, len(items or ()))
