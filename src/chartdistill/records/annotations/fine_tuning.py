"""Fine-tuning files, of an API version or written by `curate`: prompt (chart and question) and completion, or messages.

Which forms there are: fine_tuning_lines.py. The record is found by the chart's words, so that the keyword tail that
cleaning cuts off may still be there. Free answers ("The patient takes A and B") are split as `audit` splits them, and
name no statuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.free_answers import parse_free_answer
from chartdistill.prompting.answer_format import FIELD_SEPARATOR, parse_answer
from chartdistill.prompting.prompts import QUESTION_SEPARATOR
from chartdistill.records.annotations.answer import Finding, Said
from chartdistill.records.annotations.entries import read_entries
from chartdistill.records.annotations.fine_tuning_lines import Endings, prompt_and_completion
from chartdistill.records.annotations.question_place import chart_and_kind
from chartdistill.schema import Origin, Task

_JSON = "the completion is JSON; write one item a line, or keyed rows with `items`"


def fits(row: Mapping[str, Any]) -> bool:
    """Whether an object is such a line."""
    try:
        prompt_and_completion(row)
    except ValueError:
        return False
    return True


def read(path: Path, sha256: str, tasks: Sequence[Task]) -> Iterator[Said | Finding]:
    """All answers, line by line; the file is read twice."""
    endings = Endings.of(_asked_and_taught(path))
    for at, line in read_entries(path):
        origin = Origin(file=path.name, sha256=sha256, place=at)
        place = f"{path.name}: {origin.place}"
        try:
            prompt, completion = endings.without(*prompt_and_completion(line.parsed()))
            chart, task = _chart_and_task(prompt, tasks)
        except ValueError as error:
            yield Finding(code="bad_line", place=place, detail=str(error))
            continue
        if isinstance(task, str):
            detail = f"asks for {task}, which is no task of this run"
            yield Finding(code="other_task", place=place, task=task, detail=detail)
            continue
        if not completion.strip():
            yield Finding(code="no_answer", place=place, task=task.name, detail="the completion is empty")
            continue
        items = parse_answer(completion, task)
        if items is not None or FIELD_SEPARATOR.strip() not in completion:
            if _is_json(completion):
                yield Finding(code="no_answer", place=place, task=task.name, detail=_JSON)
                continue
            items = parse_free_answer(completion, task).items if items is None else items
            yield Said(origin, None, chart, task.name, items)
        else:  # meant to be in the answer format, and is not: read freely, its statuses would be parts of names
            yield Said(origin, None, chart, task.name, None, completion.strip())


def _chart_and_task(prompt: str, tasks: Sequence[Task]) -> tuple[str, Task | str]:
    """The chart, and the task of this run that is asked; the kind's name where there is none."""
    for task in tasks:
        body = prompt.rstrip().removesuffix(QUESTION_SEPARATOR + task.question.strip())
        if body.strip() and body != prompt.rstrip():
            return body, task
    chart, _, kind = chart_and_kind(prompt)
    named = next((task for task in tasks if entity_of(task).task_name == kind.task_name), None)
    return chart, named or kind.task_name


def _asked_and_taught(path: Path) -> Iterator[tuple[str, str]]:
    for _, line in read_entries(path):
        with suppress(ValueError):
            yield prompt_and_completion(line.parsed())


def _is_json(completion: str) -> bool:
    """Whether an answer is an object or a list of JSON, whole or cut."""
    text = completion.strip()
    return text.startswith(("{", "[")) and text[1:].lstrip()[:1] in ('"', "{", "[", "]", "}")
