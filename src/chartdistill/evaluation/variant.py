"""A record changed on purpose, and what the answer must do: one line of predictions/variants/variants.jsonl."""

from __future__ import annotations

from typing import Any, Literal

from chartdistill.schema import Item, Record, Row, content_hash

Kind = Literal[
    "deleted",
    "inserted",
    "flipped",
    "deleted_elsewhere",
    "inserted_elsewhere",
    "resampled",
    "rephrased",
    "tailed",
    "respaced",
    "reheaded",
    "renamed",
    "irrelevant",
]
"""Of the first three the answer must change, in a known way; of the others it must not: of the next two as a placebo
for the first."""

EFFECTS: tuple[Kind, ...] = ("deleted", "inserted", "flipped")
PLACEBOS: tuple[Kind, ...] = ("deleted_elsewhere", "inserted_elsewhere")
SAME: tuple[Kind, ...] = ("resampled", "rephrased", "tailed", "respaced", "reheaded", "renamed", "irrelevant")


class Variant(Row):
    """One record in another form."""

    id: str
    """Names it in the predictions: record id, kind, number, and a hash of all that is asked, so that an answer to an
    earlier form of the variant is never taken for an answer to this one."""
    record: str
    kind: Kind
    text: str
    task: str | None = None
    """The task that is asked; None: all."""
    item: Item | None = None
    """What was deleted, inserted or flipped, as it stood before (inserted: as it stands after); elsewhere: what must
    stay."""
    status: str | None = None
    """What the item's status must be now."""
    renamed: tuple[tuple[str, str], ...] = ()
    """(new name, old name) of drugs."""
    question: str = "{question}"
    """How the task's question is put."""
    sample: int | None = None
    """The draw, where the answer is drawn at a temperature."""

    @classmethod
    def of(cls, record: Record, kind: Kind, text: str, number: int = 0, **facts: Any) -> Variant:
        """A variant of a record, named after it, its kind, task, number and content."""
        made = cls(id="", record=record.id, kind=kind, text=text, **facts)
        mark = content_hash(made.model_dump())[:8]
        name = "/".join(str(part) for part in (record.id, kind, facts.get("task"), number or None, mark) if part)
        return made.model_copy(update={"id": name})
