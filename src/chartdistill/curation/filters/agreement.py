"""Rejects items that too few of the teacher's samples name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.schema import Item, ItemVote, Label, Record, Rejection, Task


class Agreement(ItemFilter):
    """Reason code `low_support`. Does nothing where a label has no votes (one sample per prompt)."""

    type: Literal["agreement"] = "agreement"
    min_support: float = Field(default=0.5, gt=0, le=1)
    """Smallest share of the well-formed samples that must name an item."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject each item whose vote is below the limit. An item without a vote has no support to judge by."""
        votes, findings = votes_of(label), []
        for item in items or ():
            vote = votes.get(item)
            if vote is not None and vote.support < self.min_support * vote.samples:
                findings.append(self.finding("low_support", item, f"{vote.support} of {vote.samples} samples name it"))
        return self.verdict(findings, len(items or ()))


def votes_of(label: Label) -> dict[Item, ItemVote]:
    """Item -> its vote. Where parts of a record were read apart, that of the part which is surest of it: it had the
    item put into the answer, whatever another part that only touches on it says."""
    votes: dict[Item, ItemVote] = {}
    for vote in label.votes or ():
        known = votes.get(vote.item)
        if known is None or vote.support * known.samples > known.support * vote.samples:
            votes[vote.item] = vote
    return votes
