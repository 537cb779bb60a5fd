"""Keyed rows: one JSON object a line that names its record and says the answer.

    {"record": "c1", "task": "medication", "completion": "aspirin | stop"}
    {"record": "c1", "task": "medication", "items": [{"text": "aspirin", "status": "stop"}]}
    {"id": "c1", "gold": {"medication": [{"text": "aspirin", "status": "stop", "optional": true}], "tests": []}}
    {"id": "c1", "tasks": {"medication": {"items": []}}}

The last two are gold as sources and `score` read it, and what `predict` writes. A `text` beside them helps to find the
record. `items` win over a `completion` beside them, which filters may have read otherwise. `[]` and the completion
`None found` say that there is none. A key of an item that nobody knows is a fault: it may be the status in other
letters, and the item would get another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chartdistill.clinical.text.dosage import ATTRIBUTES
from chartdistill.prompting.answer_format import parse_answer, says_none_of
from chartdistill.records.annotations.answer import Finding, Said
from chartdistill.records.annotations.entries import read_entries
from chartdistill.records.sources.entry import id_text
from chartdistill.schema import Item, Origin, Task

_OF_PREDICT = frozenset(("span", "grounded", "match", "not_in_chart", "confidence", "reason", *ATTRIBUTES))
"""Keys of an item that `predict` writes, and that no label holds."""
_SHOWN = 30
"""Characters of a key, or of a failure, in an error."""


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
            if _is_unread(row):
                said = f"holds no answer ({str(row['failure']).split(':')[0][:_SHOWN]})"
                yield Finding(code="no_answer", place=f"{path.name}: {origin.place}", record=key, detail=said)
                continue
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
        if _is_part(answer):
            place, detail = f"{origin.file}: {origin.place}", "holds a part of the answer: `predict --min-confidence` "
            detail += "put the rest into its other file; give the answers of a `predict` without it, or whole ones"
            return Finding(code="no_answer", place=place, record=key, task=name, detail=detail)
        if items is None and completion is None:
            why = str(failure).split(":")[0][:_SHOWN] if failure else "neither `completion` nor `items`"
            place = f"{origin.file}: {origin.place}"
            return Finding(code="no_answer", place=place, record=key, task=name, detail=f"holds no answer ({why})")
        if completion is not None:
            if not isinstance(completion, str):
                raise ValueError(f"`completion` is a {type(completion).__name__}, not a text")
            parsed = None if task is None else parse_answer(completion, task)
            if "items" not in answer:
                return Said(origin, key, text, name, parsed, completion)
            listed = None if items is None else _items(items, ("item", name) if task is None else task.called)
            if listed is None and parsed is not None:
                place, detail = f"{origin.file}: {origin.place}", "its `items` are null: the answer was rejected"
                return Finding(code="no_answer", place=place, record=key, task=name, detail=detail)
            same = listed is None or _says_the_same(parsed, listed)
            return Said(origin, key, text, name, parsed if same else listed, completion if same else None)
    else:
        items = answer
    return Said(origin, key, text, name, _items(items, ("item", name) if task is None else task.called))


def _says_the_same(parsed: Sequence[Item] | None, listed: Sequence[Item]) -> bool:
    """Whether items are those of the completion beside them; a status may stand in that alone."""
    if parsed is None or any(item.optional for item in listed):
        return False
    statuses = {item.text: item.status for item in parsed}
    same = all(item.text in statuses and item.status in (None, statuses[item.text]) for item in listed)
    return same and len({item.text for item in listed}) == len(statuses)


def _is_unread(row: Mapping[str, Any]) -> bool:
    """Whether it is `predict`'s line of a chart that it could not read."""
    return isinstance(row.get("failure"), str) and not {"task", "tasks", "gold"} & set(row)


def _is_part(answer: Mapping[str, Any]) -> bool:
    """Whether the rest of the answer stands elsewhere: of either file of `predict --min-confidence`."""
    items = answer.get("items")
    doubted = isinstance(items, list) and any(isinstance(one, dict) and "reason" in one for one in items)
    return bool(answer.get("in_review")) or doubted


def _items(values: Any, names: tuple[str, str]) -> tuple[Item, ...]:
    """Items as gold has them. `names`: what an item of the task is called."""
    if not isinstance(values, list):
        raise ValueError(f"items: a JSON {type(values).__name__}, not a list")
    items = []
    for number, value in enumerate(values):
        try:
            items.append(_item(value, names))
        except ValueError as error:
            raise ValueError(f"items: entry {number} {error}") from None
    return tuple(items)


def _item(value: Any, names: tuple[str, str]) -> Item:
    """One entry; what `predict` adds to an item is left aside."""
    fields = value if isinstance(value, dict) else {"text": value}
    known = {name: of for name, of in fields.items() if name in Item.model_fields}
    if unknown := [name for name in fields if name not in known and name not in _OF_PREDICT]:
        raise ValueError(f"has the unknown key {unknown[0][:_SHOWN]!r}; allowed: {', '.join(Item.model_fields)}")
    try:
        item = Item.model_validate(known)
    except ValidationError:
        raise ValueError("is not a text, nor {text, status}") from None
    if item.text.isspace():
        raise ValueError("is blank; leave it out")
    if says_none_of(item.text, names):
        raise ValueError("says none; where there is none, write the list `[]`")
    return item.model_copy(update={"text": " ".join(item.text.split())})
