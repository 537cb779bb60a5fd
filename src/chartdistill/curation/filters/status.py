"""Rejects items whose status the chart contradicts: stopped drugs listed as taken, a father's disease, an allergy.

Conservative on purpose. Every mention of the item is looked at; one that is neutral, or speaks for the item, clears it.
What the mentions mean, the kind of finding says (`EntityType.contradiction`).
"""

from __future__ import annotations

from typing import Literal

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.prompting.answer_format import plain_key
from chartdistill.schema import Item, Label, Record, Rejection, Task


class Status(ItemFilter):
    """Reason codes:

    - `conflicting_status`: one item with two statuses. A change of dose, "X 10 mg | stop", "X 20 mg | start", is none.
    - `contradicted_status`: all the chart says of the item rules the given status out.
    - `negated`, `family_member`, `declined`, `only_considered`: every mention is denied, a relative's, refused, or
      (drugs only) a thing for later.
    - `allergy`, `stopped`, `held`: the same, for tasks without statuses, whose items are taken to be the patient's now.
    """

    type: Literal["status"] = "status"
    lexicon: LexiconUse = "auto"
    """Whether mentions of a drug under its other names count too: see `lexica.drugs.LexiconUse`."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject each item that every mention speaks against."""
        entity, findings = entity_of(task), self._conflicts(items or ())
        for item in items or ():
            found = entity.contradiction(item, record.text, task.statuses, self.lexicon)
            if found is not None:
                findings.append(self.finding(found.reason, item, found.evidence, found.span))
        return self.verdict(findings, len(items or ()))

    def _conflicts(self, items: tuple[Item, ...]) -> list[Rejection]:
        """Every item whose text also occurs with another status."""
        statuses: dict[str, set[str | None]] = {}
        for item in items:
            statuses.setdefault(plain_key(item.text), set()).add(item.status)
        findings = []
        for item in items:
            said = statuses[plain_key(item.text)]
            if len(said) > 1:
                names = " and ".join(sorted(str(status) for status in said))
                findings.append(self.finding("conflicting_status", item, f"listed as {names}"))
        return findings
