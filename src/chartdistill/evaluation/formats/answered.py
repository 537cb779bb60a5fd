"""One chart with what the student said of it, as every format takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answered:
    """One entry of a source, answered."""

    id: str
    source: str
    text: str | None
    """The chart as its source has it, which spans count in; None where it could not be read."""
    tasks: Mapping[str, Mapping[str, Any]]
    """Task -> `items`, or None with a `failure`, as `predict` writes them."""
    failure: str | None = None
    """Why the chart has no answers at all."""

    def items(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        """(task, number of the item in its answer, the item)."""
        for task, said in self.tasks.items():
            yield from ((task, number, item) for number, item in enumerate(said.get("items") or ()))

    def words(self, item: Mapping[str, Any]) -> str | None:
        """The chart's own words at an item's span."""
        span = item.get("span")
        return None if span is None or self.text is None else self.text[span[0] : span[1]]
