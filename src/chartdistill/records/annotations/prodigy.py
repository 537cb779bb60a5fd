"""Prodigy's JSONL (`prodigy db-out`), of ner.manual and spans.manual.

    {"text": "...", "spans": [{"start": 5, "end": 12, "label": "DRUG"}], "answer": "accept", "meta": {"record": "c1"}}

Only `accept` counts; a text that was rejected or ignored is named. A span's own further fields (`"status": "stop"`) are
its attributes. Format: https://prodi.gy/docs/api-interfaces
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chartdistill.records.annotations.answer import Document, Finding, Span
from chartdistill.records.annotations.entries import is_offset, read_entries, record_id
from chartdistill.schema import Origin

_OWN = {
    "start", "end", "token_start", "token_end", "label", "text", "id", "source", "input_hash", "score", "type", "color",
}  # fmt: skip
"""Fields of a span that Prodigy writes itself."""


def fits(row: Mapping[str, Any]) -> bool:
    """Whether an object is such a line."""
    return isinstance(row.get("text"), str) and ("_input_hash" in row or "spans" in row or "answer" in row)


def read(path: Path, sha256: str) -> Iterator[Document | Finding]:
    """One document for each line that was accepted."""
    for at, line in read_entries(path):
        origin = Origin(file=path.name, sha256=sha256, place=at)
        place, key = f"{path.name}: {origin.place}", None
        try:
            row = line.parsed()
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise ValueError("holds no `text`")
            key = record_id({name: of for name, of in row.items() if not name.startswith("_")}, row.get("meta"))
            answer = row.get("answer", "accept")
            if answer != "accept":
                detail = f"its answer is {str(answer)[:20]!r}; only `accept` counts"
                yield Finding(code="not_finished", place=place, record=key, detail=detail)
                continue
            if not isinstance(row.get("spans", [] if "answer" in row else None), list):
                raise ValueError("holds no list `spans`; where there is none, Prodigy writes `[]`")
            spans = tuple(map(_span, row.get("spans", ())))
        except ValueError as error:
            yield Finding(code="bad_line", place=place, record=key, detail=str(error))
            continue
        yield Document(origin, key, row["text"], spans, finished=True if "answer" in row else None)


def _span(value: Any) -> Span:
    if not isinstance(value, dict) or not is_offset(value.get("start")) or not is_offset(value.get("end")):
        raise ValueError("a span has no start and end in characters")
    if not isinstance(value.get("label"), str):
        raise ValueError("a span has no label")
    attributes = tuple(found for name, of in value.items() if name not in _OWN for found in _attributes(name, of))
    said = value.get("text") if isinstance(value.get("text"), str) else None
    return Span(value["label"], ((value["start"], value["end"]),), said, attributes)


def _attributes(name: str, value: Any) -> Iterator[tuple[str, str | None]]:
    """A field of a span: a text, a switch, a number, or a list of them; nothing where it is off or empty."""
    if isinstance(value, list):
        for one in value:
            yield from _attributes(name, one)
    elif value is True:
        yield name, None
    elif isinstance(value, str | int | float) and value is not False:
        yield name, str(value)
