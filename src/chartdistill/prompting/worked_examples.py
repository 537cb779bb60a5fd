"""Worked examples of the tasks -> turns that stand before the record in every prompt.

In: tasks with `examples`, and which of them are asked in two steps. Out: `Turn`s, the same for every record and every
question, so that an engine computes them once for a whole run and a record still once for all its questions. Must hold:
a chart that several tasks have an example of is read once; each turn asks in the very words of the run's questions, and
is answered in the very form of the answers, however the task file is laid out.

Why all tasks' examples, and before the record: behind it, or only those of the task asked, they would part the record
from its questions, and it would be computed again for each of them (docs/labelling.md has the figures).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chartdistill.prompting.answer_format import NONE_FOUND, format_answer, parse_answer
from chartdistill.schema import Task, WorkedExample


@dataclass(frozen=True)
class Turn:
    """One question and its answer."""

    chart: str | None
    """None: the question is about the chart of the turn before."""
    question: str
    answer: str


def example_turns(tasks: Sequence[Task], gated: Callable[[str], bool] = lambda task: False) -> tuple[Turn, ...]:
    """The turns of all examples, chart by chart in the order in which they first stand, then by task.

    Args:
        gated: whether a task (by name) is asked in two steps: the gate question, answered yes or no, and after a yes
            the extraction question. Else the consolidated question is asked.
    """
    by_chart: dict[str, list[tuple[str, str]]] = {}
    for task in tasks:
        for example in task.examples:
            by_chart.setdefault(example.chart, []).extend(_asked(task, example, gated(task.name)))
    return tuple(
        Turn(None if number else chart, question, answer)
        for chart, asked in by_chart.items()
        for number, (question, answer) in enumerate(asked)
    )


def _asked(task: Task, example: WorkedExample, gated: bool) -> list[tuple[str, str]]:
    items = parse_answer(example.answer, task)
    if items is None:
        raise ValueError(f"an example of task {task.name} is not in the answer format")  # config.py has checked them
    answer = format_answer(items)
    if not gated:
        return [(task.question, answer)]
    if answer == NONE_FOUND:
        return [(task.gate_question, "no")]
    return [(task.gate_question, "yes"), (task.extraction_question, answer)]
