"""Rejects answers that were cut by the token limit: the last item is torn and those after it are missing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from chartdistill.schema import Item, Label, Record, Rejection, Task


class Truncation(BaseModel):
    """Reason code `truncated`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["truncation"] = "truncation"

    def check(self, label: Label, items: tuple[Item, ...] | None, record: Record, task: Task) -> list[Rejection]:
        """Reject a label whose engine stopped at the limit, however well it reads."""
        if label.finish_reason != "length":
            return []
        evidence = f"the answer was cut after {label.completion_tokens} tokens; give label.max_answer_tokens more room"
        return [Rejection(filter=self.type, reason="truncated", evidence=evidence)]
