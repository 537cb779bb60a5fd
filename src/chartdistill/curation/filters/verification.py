"""Rejects items that the teacher itself does not stand by, when asked about them one by one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chartdistill.clinical.text.grounding import FUZZY_THRESHOLD, locate
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.schema import Item, ItemCheck, Label, Record, Rejection, Task


class Verification(ItemFilter):
    """Reason codes: `unverified`, the check was answered no; `unclear`, neither yes nor no; `quote_not_in_record`, the
    check was answered yes with a quote that the record does not have. Does nothing where a label has no checks."""

    type: Literal["verification"] = "verification"
    on_unclear: Literal["reject", "keep"] = "reject"
    """What an answer of neither yes nor no means."""
    quote_threshold: float = Field(default=FUZZY_THRESHOLD, ge=50, le=101)
    """Similarity (0 to 100) from which a stretch of the record counts as the quote. 101: only the same words count."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject each item whose check speaks against it."""
        objections: dict[Item, list[tuple[str, str]]] = {}
        for check in label.checks or ():
            objections.setdefault(check.item, []).append(self._objection(check, record.text))
        findings = []
        for item in items or ():
            # Where parts of a record were read apart, one that bears the item out is enough, as for the gate question.
            reason, evidence = min(objections.get(item, [("", "")]), key=lambda found: found[0] != "")
            if reason:
                findings.append(self.finding(reason, item, evidence))
        return self.verdict(findings, len(items or ()))

    def _objection(self, said: ItemCheck, text: str) -> tuple[str, str]:
        if said.answer == "no":
            return "unverified", "asked about the item, the teacher answered no"
        if said.answer == "unclear" and self.on_unclear == "reject":
            return "unclear", "asked about the item, the teacher answered neither yes nor no"
        if said.quote and locate(said.quote, text, self.quote_threshold) is None:
            return "quote_not_in_record", "what the teacher quoted is not in the record"
        return "", ""
