"""Label Studio's exports JSON and JSON_MIN: an array of tasks.

    [{"id": 7, "data": {"text": "...", "record": "c1"}, "annotations": [{"was_cancelled": false, "result": [
       {"id": "x1", "type": "labels", "from_name": "label",
        "value": {"start": 5, "end": 12, "text": "aspirin", "labels": ["Drug"]}},
       {"id": "x1", "type": "choices", "from_name": "status",
        "value": {"start": 5, "end": 12, "choices": ["stop"]}}]}]}]
    [{"id": 7, "text": "...", "label": [{"start": 5, "end": 12, "text": "aspirin", "labels": ["Drug"]}]}]

Per-region choices (the same region id) are attributes, named as their control. JSON_MIN does not say to which region a
choice belongs, so statuses come through in JSON only. Where one annotation is the ground truth, only that counts;
predictions are left aside. Format: https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chartdistill.records.annotations.answer import Document, Finding, Span
from chartdistill.records.annotations.entries import is_offset, read_entries, record_id, text_of
from chartdistill.schema import Origin

_NO_LABEL = "(no label)"
"""What a region without one counts as."""
_SHOWN = 20
"""Characters of a name in an error."""
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|/data/|/tasks/)\S+")
"""Of a file that Label Studio loads itself: of the web, of a bucket, of its own uploads and local files."""
_VALUE_KEYS = ("choices", "taxonomy", "text", "number", "rating")


class _UnreadableError(ValueError):
    """A region that cannot be read. Holds no text."""


def fits(row: Mapping[str, Any]) -> bool:
    """Whether an object is such a task, of JSON or of JSON_MIN."""
    if isinstance(row.get("data"), dict):
        return isinstance(row.get("annotations", row.get("completions")), list)
    lists = [value for value in row.values() if isinstance(value, list)]
    regions = any(isinstance(one, dict) and {"start", "end", "labels"} <= one.keys() for of in lists for one in of)
    return regions or "annotation_id" in row


def read(path: Path, sha256: str) -> Iterator[Document | Finding]:
    """One document for each annotation of each task."""
    for at, line in read_entries(path):
        try:
            task = line.parsed()
            if not isinstance(task, dict):
                raise ValueError("is no task; export as JSON or JSON_MIN")
        except ValueError as error:
            yield Finding(code="bad_line", place=f"{path.name}: {at}", detail=str(error))
            continue
        origin = Origin(file=path.name, sha256=sha256, place=f"task {task['id']}" if "id" in task else at)
        place = f"{path.name}: {origin.place}"
        data = task["data"] if isinstance(task.get("data"), dict) else task
        key = record_id(data) if data is not task else record_id({k: v for k, v in task.items() if k != "id"})
        text = text_of(data)
        if text is None:
            detail = "its data has no field that is the text; name the field `text`"
            yield Finding(code="no_text", place=place, record=key, detail=detail)
            continue
        if _ADDRESS.fullmatch(text.strip()):
            detail = (
                "its text is the address of a file (valueType=url), and the chart is not in the export: put the chart "
                "itself into the tasks' data, in a field `text`, and export again"
            )
            yield Finding(code="no_text", place=place, record=key, detail=detail)
            continue
        results = _results(task)
        if not results:  # an annotation without a list of regions was never submitted
            yield Finding(code="not_finished", place=place, record=key, detail="nobody has submitted an annotation")
        for result in results:
            try:
                yield Document(origin, key, text, tuple(_spans(result)), finished=True)
            except _UnreadableError as error:
                yield Finding(code="bad_line", place=place, record=key, detail=str(error))


def _results(task: Mapping[str, Any]) -> list[list[Any]]:
    """The regions of each annotation that was submitted."""
    annotations = task.get("annotations", task.get("completions"))
    if annotations is None:  # JSON_MIN
        fields = [value for value in task.values() if isinstance(value, list) and value]
        regions = [one for value in fields for one in value if isinstance(one, dict) and "start" in one]
        done = bool(regions) or any(name in task for name in ("annotator", "annotation_id", "completed_by"))
        kinds = ["choices" if "choices" in one else "labels" for one in regions]
        return [[{"type": kinds[at], "id": str(at), "value": one} for at, one in enumerate(regions)]] if done else []
    submitted = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    chosen = [one for one in submitted if one.get("ground_truth")] or submitted
    return [one["result"] for one in chosen if isinstance(one.get("result"), list)]


def _spans(result: list[Any]) -> Iterator[Span]:
    attributes: dict[str, list[tuple[str, str | None]]] = {}
    regions: list[tuple[str, Mapping[str, Any], list[str]]] = []
    for number, one in enumerate(result):
        if isinstance(one, dict) and one.get("type") == "relation":
            continue
        value = one.get("value") if isinstance(one, dict) else None
        if not isinstance(value, dict):
            raise _UnreadableError(f"result {number} has no `value`; export the project again")
        kind = str(one.get("type") or next((key for key in value if key.endswith("labels")), ""))
        # Without an id a choice belongs to what is marked at its offsets.
        region = str(one.get("id") or (value.get("start"), value.get("end")))
        if kind.endswith("labels"):
            labels = value.get(kind, []) or [_NO_LABEL]
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise _UnreadableError(f"result {number} has `{kind[:_SHOWN]}` that are no list of names")
            regions.append((region, value, labels))
        else:
            said = next((value[key] for key in _VALUE_KEYS if key in value), None)
            named = str(one.get("from_name", kind))
            attributes.setdefault(region, []).extend((named, str(of)) for of in _flat(said))
    for region, value, labels in regions:
        told = value.get("globalOffsets") if isinstance(value.get("globalOffsets"), dict) else value
        start, end = (told.get(name) if isinstance(told, dict) else None for name in ("start", "end"))
        if not is_offset(start) or not is_offset(end):
            raise _UnreadableError("a region has no start and end in characters; annotate as Text, not as HyperText")
        said = value.get("text") if isinstance(value.get("text"), str) else None
        for label in labels:
            yield Span(label, ((int(str(start)), int(str(end))),), said, tuple(attributes.get(region, ())))


def _flat(said: Any) -> Iterator[Any]:
    """Values of a choice; of a path in a taxonomy, its last word."""
    for one in said if isinstance(said, list) else [] if said is None else [said]:
        yield one[-1] if isinstance(one, list) and one else one
