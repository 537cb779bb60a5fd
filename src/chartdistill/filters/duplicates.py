"""Rejects labels that contradict themselves: one item with two statuses."""

from __future__ import annotations

from typing import Literal

from chartdistill.filters.items import ItemFilter
from chartdistill.grounding import plain_key
from chartdistill.schema import Item, Label, Record, Rejection, Task


class Duplicates(ItemFilter):
    """Reason code `conflicting_status`. "X 10 mg | stop" beside "X 20 mg | start" is a change of dose, no conflict."""

    type: Literal["duplicates"] = "duplicates"

    def check(self, label: Label, items: tuple[Item, ...] | None, record: Record, task: Task) -> list[Rejection]:
        """Reject every item whose text also occurs with another status; under `drop_item` all of them go."""
        statuses: dict[str, set[str | None]] = {}
        for item in items or ():
            statuses.setdefault(plain_key(item.text), set()).add(item.status)
        findings = []
        for item in items or ():
            said = statuses[plain_key(item.text)]
            if len(said) > 1:
                names = " and ".join(sorted(str(status) for status in said))
                findings.append(self.finding("conflicting_status", item, f"listed as {names}"))
        return self.verdict(findings, len(items or ()))
