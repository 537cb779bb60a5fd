"""What several readers do: the id of a record in a tool's data, the text in it, the JSON of a whole file."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chartdistill.errors import InputError
from chartdistill.records.sources.entry import id_text
from chartdistill.runtime.json_lines import parse_json

_ID_FIELDS = ("record", "record_id", "note_id", "chart_id", "doc_id", "document_id", "external_id", "filename", "id")
"""Where tools keep the id that a text had before it was imported; `id` last, since it may be the tool's own."""
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


def whole_json(path: Path) -> Any:
    """The JSON of a file.

    Raises:
        InputError: it cannot be read, or is no JSON in UTF-8.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
        return parse_json(text)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save the export as UTF-8.") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def is_offset(value: object) -> bool:
    """A whole number that can be an offset."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
