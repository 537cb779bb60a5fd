"""Keyed rows: one JSON object a line that names its record and says the answer.

    {"record": "c1", "task": "medication", "completion": "aspirin | stop"}
    {"record": "c1", "task": "medication", "items": [{"text": "aspirin", "status": "stop"}]}
    {"id": "c1", "gold": {"medication": [{"text": "aspirin", "status": "stop", "optional": true}], "tests": []}}
    {"id": "c1", "tasks": {"medication": {"items": []}}}

The last two are gold as sources and `score` read it, and what `predict` writes. A `text` beside them helps to find the
record. `[]` and the completion `None found` say that there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from chartdistill.prompting.answer_format import parse_answer
from chartdistill.records.annotations.answer import Finding, Said
from chartdistill.records.annotations.entries import read_entries
from chartdistill.records.sources.entry import id_text
from chartdistill.schema import Item, Origin, Task

_ITEMS: TypeAdapter[tuple[Item | str, ...]] = TypeAdapter(tuple[Item | str, ...])


def fits(row: Mapping[str, Any]) -> bool:
    """Whether an object is such a row."""
    keyed = "record" in row and "task" in row and bool({"completion", "items", "failure"} & set(row))
    return keyed or any(isinstance(row.get(name), dict) for name in ("gold", "tasks"))


def read(path: Path, sha256: str, tasks: Sequence[Task]) -> Iterator[Said | Finding]:
    """All answers, line by line."""
    by_name = {task.name: task for task in tasks}
    for at, line in read_entries(path):
        origin = Origin(file=path.name, sha256=sha256, place=at)
        try:
            row = line.parsed()
            if not isinstance(row, dict):
                raise ValueError(f"a JSON {type(row).__name__}; write one object per line")
            key = id_text(row.get("record", row.get("id")))
            if key is None:
                raise ValueError("names no record: `record` or `id` is missing")
            answers = _answers(row)
        except ValueError as error:
            yield Finding(code="bad_line", place=f"{path.name}: {origin.place}", detail=str(error))
            continue
        text = row.get("text") if isinstance(row.get("text"), str) else None
        for name, answer in answers.items():
            try:
                yield _said(origin, key, text, name, answer, by_name.get(name))
            except ValueError as error:
                place = f"{path.name}: {origin.place}"
                yield Finding(code="bad_line", place=place, record=key, task=name, detail=str(error))


def _answers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Task -> {completion, items, failure}, or a list of items."""
    for name in ("gold", "tasks"):
        if isinstance(row.get(name), dict):
            return {str(task): of for task, of in row[name].items() if of is not None}
    if not isinstance(row.get("task"), str):
        raise ValueError("`task` is missing, or is no text")
    return {row["task"]: row}


def _said(origin: Origin, key: str, text: str | None, name: str, answer: Any, task: Task | None) -> Said | Finding:
    if isinstance(answer, dict):
        items, completion, failure = answer.get("items"), answer.get("completion"), answer.get("failure")
        if items is None and completion is None:
            why = str(failure).split(":")[0] if failure else "neither `completion` nor `items`"
            place = f"{origin.file}: {origin.place}"
            return Finding(code="no_answer", place=place, record=key, task=name, detail=f"holds no answer ({why})")
        if completion is not None:
            if not isinstance(completion, str):
                raise ValueError(f"`completion` is a {type(completion).__name__}, not a text")
            parsed = None if task is None else parse_answer(completion, task)
            return Said(origin, key, text, name, parsed, completion)
    else:
        items = answer
    return Said(origin, key, text, name, _items(items))


def _items(values: Any) -> tuple[Item, ...]:
    """Items as gold has them; what `predict` adds to them is left aside."""
    known = [
        {name: value for name, value in one.items() if name in Item.model_fields} if isinstance(one, dict) else one
        for one in (values if isinstance(values, list) else [None])
    ]
    try:
        found = _ITEMS.validate_python(known)
    except ValidationError as error:
        at = error.errors(include_input=False, include_context=False, include_url=False)[0]["loc"]
        raise ValueError(f"items: entry {at[0] if at else 0} is not a text, nor {{text, status}}") from None
    items = [Item(text=one) if isinstance(one, str) else one for one in found]
    return tuple(item.model_copy(update={"text": " ".join(item.text.split())}) for item in items)
