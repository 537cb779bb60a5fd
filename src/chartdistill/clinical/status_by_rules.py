"""The status of an item that somebody listed without one: by the words of the chart that stand with it."""

from __future__ import annotations

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.clinical.text.sentences import sentence_spans
from chartdistill.schema import Task


def status_of(name: str, text: str, task: Task) -> str | None:
    """The status of an item, by the last sentence that names it; where none does, the one without cues. None for a
    task without statuses."""
    spans = (text[start:end] for start, end in sentence_spans(text))
    naming = [sentence for sentence in spans if next(occurrences(name, sentence), None) is not None]
    return entity_of(task).status_by_rules(naming[-1] if naming else "", task.statuses)
