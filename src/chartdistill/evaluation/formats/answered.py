"""One chart with what the student said of it, as every format takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chartdistill.schema import Task


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
    in_review: int = 0
    """Items and answers of it that `predict --min-confidence` put into the review file."""

    def items(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        """(task, number of the item in its answer, the item)."""
        for task, said in self.tasks.items():
            yield from ((task, number, item) for number, item in enumerate(said.get("items") or ()))

    def none_found(self, task: str) -> bool:
        """Whether the answer is that there is nothing: no failure, and no list whose items all wait for review."""
        said = self.tasks.get(task, {})
        return said.get("items") == [] and not said.get("in_review")

    def waiting(self, tasks: Sequence[Task]) -> Iterator[tuple[str, int, str]]:
        """(task, number, what) of that which is in the review file; the task is empty where it is the whole chart."""
        if self.in_review and not self.tasks and self.failure is None:
            yield "", 1, "the chart has no answers; the review file says why"
            return
        for task in tasks if self.in_review else ():
            said = self.tasks.get(task.name)
            if said is None:
                yield task.name, 1, "the answer failed; the review file says why"
            elif number := int(said.get("in_review", 0)):
                yield task.name, number, f"{number} {'item is' if number == 1 else 'items are'} in the review file"

    def words(self, item: Mapping[str, Any]) -> str | None:
        """The chart's own words at an item's span."""
        span = item.get("span")
        return None if span is None or self.text is None else self.text[span[0] : span[1]]
