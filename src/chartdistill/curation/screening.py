"""A model's answer put through the filters of labels: what is left of it, and why the rest is not.

In: an answer and its chart. Out: a `Screened`. Must hold: an item that a filter speaks against is dropped, whatever its
`on_item` says, since here nobody learns from what is left; an answer of which nothing is left, or that is objected to
as a whole, is no answer, and never "none found".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chartdistill.curation.ablation import left_of
from chartdistill.curation.filters import AnyFilter
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.prompting.answer_format import format_answer
from chartdistill.schema import Item, Label, Record, Rejection, Task


@dataclass(frozen=True)
class Screened:
    """One answer behind the filters."""

    items: tuple[Item, ...] | None
    """What is left; None: the answer is rejected."""
    dropped: tuple[Rejection, ...]
    """Objections to items."""
    rejected: tuple[Rejection, ...]
    """Objections to the answer as a whole."""

    @property
    def failure(self) -> str | None:
        """Why there is no answer; None where there is one."""
        if self.items is not None:
            return None
        if self.rejected:
            return "rejected: " + ", ".join(dict.fromkeys(f"{one.reason} ({one.filter})" for one in self.rejected))
        return f"rejected: all {len({one.item for one in self.dropped})} items were dropped"


def screen(items: tuple[Item, ...], record: Record, task: Task, filters: Sequence[AnyFilter]) -> Screened:
    """Put an answer that follows the format through the filters. What needs a run's other labels, votes or checks has
    nothing to say of it."""
    label = Label(
        key="", record=record.id, task=task.name, strategy="direct", completion=format_answer(items),
        finish_reason="stop",
    )  # fmt: skip
    dropping = [
        one.model_copy(update={"on_item": "drop_item"}) if isinstance(one, ItemFilter) else one for one in filters
    ]
    found = [rejection for one in dropping for rejection in one.check(label, items, record, task)]
    return Screened(
        left_of(items, found),
        tuple(one for one in found if one.item is not None),
        tuple(one for one in found if one.item is None),
    )
