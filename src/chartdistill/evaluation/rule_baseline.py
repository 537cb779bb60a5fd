"""A baseline without any model: names from a lexicon, statuses and exclusions from words nearby.

In: what training labels name, and records. Out: predictions of the arm `rules`. The names are those of the training
labels, and what the kind of finding adds (`EntityType.read_by_rules`): for drugs those of the installed lexicon, and
words before a dose or right behind a verb of prescribing. It shows what reading a chart is worth beyond looking words
up; it is not meant to be good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.text.sentences import sentence_spans
from chartdistill.prompting.answer_format import format_answer
from chartdistill.schema import Item, Prediction, Record, Task

ARM = "rules"


def known_names(answers: Iterable[tuple[str, Sequence[Item]]]) -> dict[str, list[str]]:
    """Task name -> the names its training labels hold, longest first. `answers`: (task name, items)."""
    found: dict[str, set[str]] = {}
    for task, items in answers:
        found.setdefault(task, set()).update(item.text for item in items)
    return {task: sorted(names, key=lambda name: (-len(name), name)) for task, names in found.items()}


def predict_by_rules(
    records: Iterable[Record], tasks: Sequence[Task], names: Mapping[str, Sequence[str]]
) -> list[Prediction]:
    """One prediction per record and task."""
    answers = []
    for record in records:
        for task in tasks:
            items = read(record.text, task, names.get(task.name, ()))
            answers.append(
                Prediction(
                    key="", record=record.id, task=task.name, arm=ARM, completion=format_answer(items),
                    finish_reason="stop", items=items,
                )
            )  # fmt: skip
    return answers


def read(text: str, task: Task, names: Sequence[str]) -> tuple[Item, ...]:
    """The items of one task, in reading order, each once; of one named twice the later status holds."""
    entity = entity_of(task)
    found: dict[str, Item] = {}
    for start, end in sentence_spans(text):
        sentence = text[start:end]
        for name in entity.read_by_rules(sentence, names):
            status = entity.status_by_rules(sentence, task.statuses) or next(iter(task.statuses), None)
            found[entity.match_key(name)] = Item(text=name, status=status)
    return tuple(found.values())
