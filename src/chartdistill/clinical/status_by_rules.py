"""The status of an item that somebody listed without one: by the words of the chart that stand with it."""

from __future__ import annotations

from collections.abc import Sequence

from chartdistill.clinical.entities import entity_named
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.clinical.text.sentences import sentence_spans
from chartdistill.schema import Task


def status_of(name: str, text: str, task: Task) -> str | None:
    """The status of an item, by the last sentence that names it, as it is written or else without its dose or under
    another name; where none does, the one without cues. None where the task has no status that the rules know."""
    entity = entity_named(task.item)  # without the names of a vocabulary, on which no label depends
    sentences = [text[start:end] for start, end in sentence_spans(text)]
    naming = _naming([name], sentences) or _naming(entity.all_names(name, "auto"), sentences)
    return entity.status_by_rules(naming[-1] if naming else "", task.statuses)


def _naming(names: Sequence[str], sentences: Sequence[str]) -> list[str]:
    return [one for one in sentences if any(next(occurrences(name, one), None) is not None for name in names)]
