"""Items as the page sends and shows them, with where they stand in the chart.

Must hold: every span is in characters (code points) of the text as given, first and one behind the last; the page
counts in UTF-16 units and converts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chartdistill.clinical.entities import entity_of
from chartdistill.curation import misfit
from chartdistill.review.refusal import RefusedError
from chartdistill.schema import Item, Task

MAX_ITEMS = 500
_MAX_ITEM = 2000
"""Characters."""


def shown_item(item: Item, text: str, task: Task) -> dict[str, Any]:
    """Text, status, and the span of the mention that decides it; None where nothing in the chart bears it out."""
    found = entity_of(task).decided_at(item, text, "auto")
    span = None if found is None else (found.start, found.end)
    return {"text": item.text, "status": item.status, "span": span}


def items_from(given: object, task: Task) -> tuple[Item, ...]:
    """The items that a page sent: spaces at their ends and doubled ones do not count.

    Raises:
        RefusedError: they are no answer of the task; says why.
    """
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) > MAX_ITEMS:
        raise RefusedError(f"`items` must be a list of at most {MAX_ITEMS}.")
    items = tuple(_item(one) for one in given)
    if (problem := misfit(items, task)) is not None:
        raise RefusedError(f"Not saved: {problem}.")
    return items


def _item(given: object) -> Item:
    text = given.get("text") if isinstance(given, dict) else None
    status = given.get("status") if isinstance(given, dict) else None
    if not isinstance(text, str) or not (status is None or isinstance(status, str)):
        raise RefusedError("Each item needs a `text`, and a `status` that is a text or null.")
    text = " ".join(text.split())
    if not text:
        raise RefusedError("Not saved: an item has no text. Write one, or take the item out.")
    if len(text) > _MAX_ITEM:
        raise RefusedError(f"Not saved: an item has {len(text):,} characters; at most {_MAX_ITEM:,} are allowed.")
    return Item(text=text, status=status or None)
