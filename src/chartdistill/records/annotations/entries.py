"""What several readers do: the id of a record in a tool's data, the text in it, its entries."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chartdistill.errors import InputError
from chartdistill.records.sources.entry import id_text, is_encodable
from chartdistill.runtime.json_lines import JsonLine, parse_json, read_json_lines

_ID_FIELDS = ("record", "record_id", "note_id", "chart_id", "doc_id", "document_id", "external_id", "filename", "id")
"""Where tools keep the id that a text had before it was imported; `id` last, since it may be the tool's own."""
_SPACE = " \t\r\n"
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte order mark -> encoding."""
_ARRAY_OF_OBJECTS = re.compile(r"\[\s*\{")
_LOOKED_AT = 200
_TEXT_FIELDS = ("text", "data", "note", "document", "content")


def record_id(*holders: object) -> str | None:
    """The first id that is named, in the order of the holders (objects of a tool's data)."""
    for holder in holders:
        if isinstance(holder, Mapping):
            for name in _ID_FIELDS:
                try:
                    found = id_text(holder.get(name))
                except ValueError:
                    continue
                if found is not None:
                    return found.removesuffix(".txt") if name == "filename" else found
    return None


def text_of(data: Mapping[str, Any]) -> str | None:
    """The text among a tool's fields: one of the usual names, else the only field that holds text of several words."""
    for name in _TEXT_FIELDS:
        if isinstance(data.get(name), str):
            return str(data[name])
    texts = [value for value in data.values() if isinstance(value, str) and len(value.split()) > 1]
    return texts[0] if len(texts) == 1 else None


def read_entries(path: Path) -> Iterator[tuple[str, JsonLine]]:
    """(place, value) of all entries: of a JSONL file its lines, of one JSON array its members.

    Raises:
        InputError: it cannot be read.
    """
    members = _array(path)
    if members is None:
        yield from ((f"line {line.number}", line) for line in read_json_lines(path))
    else:
        yield from ((f"entry {number}", _member(number, value)) for number, value in enumerate(members, 1))


def _array(path: Path) -> list[Any] | None:
    """The members of a file that is one JSON array; None where it is none, so that lines are read.

    Raises:
        InputError: it begins as an array of objects, and is cut or broken: no line of it would say so.
    """
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_LOOKED_AT)
            mark = next((mark for mark in _MARKS if beginning.startswith(mark)), b"")
            text = beginning[: len(beginning) // 2 * 2].decode(_MARKS.get(mark, "latin-1"), "ignore")
            if text.removeprefix("\ufeff").lstrip(_SPACE)[:1] not in ("[", ""):
                return None
            stream.seek(0)
            whole = stream.read().decode(_MARKS.get(mark, "utf-8")).removeprefix("\ufeff").strip(_SPACE)
    except (OSError, ValueError):  # said by the reader of lines, with the line
        return None
    try:
        value = parse_json(whole)
    except ValueError as error:
        if not _ARRAY_OF_OBJECTS.match(whole):
            return None
        raise InputError(
            f"{path} is a JSON array that cannot be read as a whole ({error}). It was cut or changed; export it again."
        ) from None
    return value if isinstance(value, list) and any(isinstance(one, dict) for one in value) else None


def _member(number: int, value: Any) -> JsonLine:
    return JsonLine(number, value, has_half_pair=not is_encodable(json.dumps(value, ensure_ascii=False)))


def is_offset(value: object) -> bool:
    """A whole number that can be an offset."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
