"""What is wrong with a task's worked examples: a model does as it is shown.

In: a task. Out: faults in words, with the example's number (from 0, as in all errors of configs) and the item. Must
hold: an example without a fault parses as an answer of the task, and each of its items stands in its own chart, with
its numbers, as nothing but the item.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from chartdistill.clinical.entities import entity_of
from chartdistill.prompting.answer_format import EDGE, NONE_FOUND, parse_answer, parse_lines, plain_key, says_none
from chartdistill.schema import Task, WorkedExample

_LIST_MARKS = EDGE + "-*+#>_•·‣◦–—"
"""What may stand around an item in a list or a page, and is no part of it."""


def example_faults(task: Task) -> list[str]:
    """Every fault, as `examples.1: ...`; none where all examples can be shown."""
    found = []
    for number, example in enumerate(task.examples):
        found += [f"examples.{number}: {fault}" for fault in _faults(task, example)]
        charts = [other.chart for other in task.examples[:number]]
        if example.chart in charts:
            found.append(f"examples.{number}: the chart is that of examples.{charts.index(example.chart)}; give one")
    return found


def _faults(task: Task, example: WorkedExample) -> Iterator[str]:
    if not example.chart:
        yield "chart: nothing is left of it once it is cleaned as records are"
    items = parse_answer(example.answer, task)
    if items is None:
        yield from _format_faults(task, example)
        return
    said = [plain_key(item.text) for item in parse_lines(example.answer, task) or ()]
    if len(set(said)) < len(said):
        yield "answer: an item stands there twice; list each once"
    entity, chart = entity_of(task), " ".join(example.chart.casefold().split())
    for item in items:
        shown = " ".join(item.text.casefold().split())
        if entity.locate(item.text, example.chart, lexicon="auto", initials=True) is None:
            yield f"answer: {item.text!r} stands nowhere in the example's own chart; a model would learn to invent"
        elif numbers := entity.wrong_details(item.text, example.chart, "auto"):
            yield (
                f"answer: {item.text!r} has {', '.join(numbers)}, which the example's own chart does not say of it; a "
                "model would learn to invent"
            )
        elif shown not in chart and (shown != shown.strip(_LIST_MARKS) or _has_unseen(item.text)):
            yield f"answer: {item.text!r} has marks around it or in it that are no part of the item; leave them out"


def _has_unseen(text: str) -> bool:
    return any(unicodedata.category(one) in ("Cc", "Cf") for one in text)


def _format_faults(task: Task, example: WorkedExample) -> Iterator[str]:
    form = "`item | status`" if task.statuses else "the item alone, without `|`"
    for line in example.answer.split("\n"):
        name, *rest = (part.strip() for part in line.split("|"))
        if not name or line.strip() == NONE_FOUND:
            yield f"answer: one item a line and no empty line, or exactly `{NONE_FOUND}` alone"
        elif says_none(name, task):
            yield f"answer: none is said as exactly `{NONE_FOUND}` (got {line.strip()!r})"
        elif len(rest) != (1 if task.statuses else 0) or not all(rest):
            yield f"answer: a line is {form} (got {line.strip()!r})"
        elif task.statuses and rest[0] not in task.statuses:
            yield f"answer: status {rest[0]!r} of {name!r} is none of {', '.join(task.statuses)}"
