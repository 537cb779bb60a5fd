"""Bases of the filters: the options every filter has, and those of filters that judge items one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chartdistill.schema import Item, Rejection


class LabelFilter(BaseModel):
    """What all filters share. A subclass adds `type`, its options and `check`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    max_rejected_fraction: float = Field(default=0.9, gt=0, le=1)
    """`curate` stops when this filter rejects a larger share of the labels: it, or the teacher, is set wrongly."""

    def objection(self, reason: str, evidence: str) -> Rejection:
        """A rejection of the whole label."""
        return Rejection(filter=self.type, reason=reason, evidence=evidence)


class ItemFilter(LabelFilter):
    """What filters share that judge items one by one: findings in, rejections with a verdict on the label out."""

    on_item: Literal["reject_label", "drop_item"] = "reject_label"
    """A bad item rejects its whole label, or only itself. Dropping teaches the student to leave things out."""

    def finding(self, reason: str, item: Item, evidence: str, span: tuple[int, int] | None = None) -> Rejection:
        """One item this filter speaks against."""
        return Rejection(filter=self.type, reason=reason, item=item, evidence=evidence, span=span)

    def verdict(self, findings: Sequence[Rejection], num_items: int) -> list[Rejection]:
        """The findings, and under `reject_label` one more rejection without item: the label's."""
        if not findings or self.on_item == "drop_item":
            return list(findings)
        evidence = f"{len(findings)} of {num_items} items rejected"
        return [*findings, Rejection(filter=self.type, reason=findings[0].reason, evidence=evidence)]
