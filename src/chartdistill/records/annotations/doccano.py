"""doccano's JSONL of sequence labelling, in all forms that its versions export.

    {"id": 3, "text": "...", "label": [[5, 12, "Drug"]]}                 `labels` and `entities` in older ones
    {"id": 3, "text": "...", "entities": [{"id": 1, "label": "Drug", "start_offset": 5, "end_offset": 12}],
     "relations": [], "Comments": []}                                     the form with relations

A status stands in the label (`Drug-Stop`) or in the config's `meaning`: doccano has no attributes. Its `id` is its own;
the record is found by the text. Format: https://doccano.github.io/doccano
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chartdistill.records.annotations.answer import Document, Finding, Span
from chartdistill.records.annotations.entries import is_offset, read_entries, record_id
from chartdistill.schema import Origin

_SPANS = ("label", "labels", "entities", "annotations")


def fits(row: Mapping[str, Any]) -> bool:
    """Whether an object is such a line."""
    return isinstance(_text(row), str) and any(isinstance(row.get(name), list) for name in _SPANS)


def read(path: Path, sha256: str) -> Iterator[Document | Finding]:
    """One document for each line."""
    for at, line in read_entries(path):
        origin = Origin(file=path.name, sha256=sha256, place=at)
        key = None
        try:
            row = line.parsed()
            if not isinstance(row, dict) or not isinstance(_text(row), str):
                raise ValueError("holds no `text`")
            key = record_id({name: of for name, of in row.items() if name != "id"}, row.get("meta"))
            lists = [name for name in _SPANS if isinstance(row.get(name), list)]
            if not lists:
                raise ValueError(f"holds no list of spans; it stands in one of {', '.join(_SPANS)}")
            marked = [name for name in lists if row[name]] or lists[:1]
            if len(marked) > 1:
                raise ValueError(f"holds spans in {' and '.join(marked)}; leave one of them")
            spans = tuple(map(_span, row[marked[0]]))
        except ValueError as error:
            yield Finding(code="bad_line", place=f"{path.name}: {origin.place}", record=key, detail=str(error))
            continue
        yield Document(origin, key, _text(row), spans)


def _text(row: Mapping[str, Any]) -> Any:
    return row.get("text", row.get("data"))


def _span(value: Any) -> Span:
    if isinstance(value, dict):
        start, end, label = value.get("start_offset"), value.get("end_offset"), value.get("label")
    elif isinstance(value, list) and len(value) == 3:
        start, end, label = value
    else:
        raise ValueError("a label without offsets: only exports of sequence labelling hold items")
    if not is_offset(start) or not is_offset(end):
        raise ValueError("a span has no start and end in characters")
    if not isinstance(label, str):
        raise ValueError("labels are numbers, which are doccano's own; export as JSONL with the names of the labels")
    return Span(label, ((int(str(start)), int(str(end))),))
