"""Taking records out of the files of a run folder.

In: a file and the traces of the records. Out: the same file without them, whole or not at all; untouched where it holds
none. Rows that are of a record go; what other rows and figures say of its id becomes `(erased)`; a folder's file named
after it goes. What no verb writes is left as it is, for the search to name.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from chartdistill.erasure.search import variants
from chartdistill.erasure.traces import GONE, Traces
from chartdistill.evaluation.formats.brat import SKIPPED
from chartdistill.evaluation.formats.table import safe
from chartdistill.runtime.outputs import of_dead_writer
from chartdistill.runtime.run_folder import disk_errors, write_lines
from chartdistill.runtime.tombstones import remove_file

_DROP = object()
_OWNERS = ("record", "id")
"""Keys of a row that say whose it is."""
_NAMES = ("record", "id", "scored_record", "trained_record")
"""Keys whose value names a record; elsewhere an id that is an ordinary word (`7`) may be anything."""
_TEXTS = ("text", "prompt", "content")
"""Keys of whole texts: those of another record are never changed, whatever they share; the search names them."""
_LISTS = ("records", "readmit")
"""Keys of lists of ids."""
_BY_NAME = (".txt", ".ann")
_PLAIN = (".log", ".torn")
_HEAD = 1 << 16
Form = Literal["rows", "value", "table", "lines"]
"""JSON, a row a line; one JSON value; a table; plain lines."""


@dataclass(frozen=True)
class Taken:
    """What was taken out of a file."""

    rows: int = 0
    """Rows or entries that went."""
    named: int = 0
    """Places where an id was taken out of another row."""
    whole: bool = False
    """The file itself is gone."""

    def __bool__(self) -> bool:
        return bool(self.rows or self.named or self.whole)


def clean_file(path: Path, folder: Path, traces: Traces, dry: bool = False) -> Taken:
    """Take the records out of one file. `dry`: only count."""
    if path.suffix.lower() in _BY_NAME and traces.names_file(path.relative_to(folder)):
        return _removed(path, dry)
    if path.name.startswith(".") and path.name.endswith(".partial"):
        return _removed(path, dry) if of_dead_writer(path) or _holds(path, traces) else Taken()
    form = form_of(path)
    if form == "rows":
        return _rewritten(path, lambda lines: _rows(lines, traces), dry)
    if form == "value":
        return _json(path, traces, dry)
    if form == "table":
        return _rewritten(path, lambda lines: _table(lines, traces), dry)
    if form == "lines":
        change = _skipped_lines if path.name == SKIPPED else _plain_lines
        return _rewritten(path, lambda lines: change(lines, traces), dry)
    return Taken()


def remove_empty_folders(folder: Path, traces: Traces) -> None:
    """Remove the folders that only files named after a record lay in: `4711` of `4711/note.txt` may be a patient."""
    for home, _, _ in os.walk(folder, topdown=False):
        if traces.names_folder(Path(home).relative_to(folder)):
            with suppress(OSError):  # something else is in it
                os.rmdir(home)


def form_of(path: Path) -> Form | None:
    """How a file is written, told by its name and, since who calls `predict` may give it any, by how it begins."""
    suffix = path.suffix.lower()
    if suffix in _PLAIN or path.name == SKIPPED:
        return "lines"
    if suffix == ".jsonl":
        return "rows"  # torn ones too
    with path.open("rb") as stream:
        head = stream.read(_HEAD).decode("utf-8-sig", "replace").lstrip()
    if "\x00" in head:
        return None
    first, _, more = head.partition("\n")
    if head.startswith("{") and (_is_row(first) or len(first) == len(head) > _HEAD // 2):
        return "value" if suffix == ".json" and not more.strip() else "rows"
    if head.startswith(("{", "[")):
        return "value"
    is_headed = any(first.startswith(f"{name}{mark}") for name in _OWNERS for mark in ",\t")
    return "table" if is_headed else None


def _is_row(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _removed(path: Path, dry: bool) -> Taken:
    if not dry:
        with disk_errors(path):
            remove_file(path)
    return Taken(whole=True)


def _holds(path: Path, traces: Traces) -> bool:
    with path.open("rb") as lines:  # a row says whose it is also where the id is an ordinary word
        if any(row + name for _, row, name in _rows(lines, traces)):
            return True
    text = path.read_text(encoding="utf-8", errors="replace")
    return any(traces.in_text(one) for one in variants(text))


_Line = tuple[bytes | None, int, int]
"""(the line as it is now, None where it goes; rows, names)."""


def _rewritten(path: Path, change: Callable[[Iterator[bytes]], Iterator[_Line]], dry: bool) -> Taken:
    """Put a file's lines through `change`; it is written anew only where one changes."""
    rows = named = 0
    with path.open("rb") as lines:
        for _, row, name in change(lines):
            rows, named = rows + row, named + name
    if dry or not rows + named:
        return Taken(rows, named)
    with path.open("rb") as lines:
        write_lines(path, (line for line, _, _ in change(lines) if line is not None))
    return Taken(rows, named)


def _rows(lines: Iterator[bytes], traces: Traces) -> Iterator[_Line]:
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:  # torn
            text = line.decode("utf-8", "replace")
            gone = any(traces.in_text(one) for one in variants(text))
            yield (None, 1, 0) if gone else (line, 0, 0)
            continue
        counted = [0, 0]
        kept = _without(value, traces, counted)
        if kept is _DROP:
            yield None, 1, 0
        elif counted[0] + counted[1]:
            yield _dumped(kept, None) + b"\n", counted[0], counted[1]
        else:
            yield line, 0, 0


def _plain_lines(lines: Iterator[bytes], traces: Traces) -> Iterator[_Line]:
    for line in lines:
        gone = any(traces.in_text(one) for one in variants(line.decode("utf-8", "replace")))
        yield (None, 1, 0) if gone else (line, 0, 0)


def _json(path: Path, traces: Traces, dry: bool) -> Taken:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        value = json.loads(text)
    except ValueError:
        return Taken()  # nothing that a verb writes; the search looks at it
    counted = [0, 0]
    kept = _without(value, traces, counted)
    if kept is _DROP:
        return _removed(path, dry)
    if not counted[0] + counted[1]:
        return Taken()
    if not dry:
        indent = re.match(r"[\[{]\n( +)", text)
        write_lines(path, [_dumped(kept, None if indent is None else len(indent[1])) + b"\n"])
    return Taken(rows=counted[0], named=counted[1])


def _dumped(value: Any, indent: int | None) -> bytes:
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, separators=separators).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(value, indent=indent, separators=separators).encode()


def _without(value: Any, traces: Traces, counted: list[int], key: str = "", depth: int = 0) -> Any:
    """A value without what is of the records; `_DROP` where it is of one itself.

    Args:
        counted: [entries, names] that went.
        key: under which it stands.
        depth: how far within a row; the members of a file that is one array are rows.
    """
    if isinstance(value, dict):
        owner = owner_of(value, depth)
        if traces.owns(owner) or (owner is None and _is_of_record(value, traces)):
            return _DROP
        return _without_entries(value, traces, counted, depth)
    if isinstance(value, list):
        return _without_members(value, traces, counted, key, depth)
    if isinstance(value, str):
        quotes = key not in _TEXTS and traces.words_in(value)
        kept = GONE if quotes else traces.without_ids(value, key in _NAMES)
        counted[1] += kept != value
        return kept
    return value


def _without_entries(value: dict[str, Any], traces: Traces, counted: list[int], depth: int) -> dict[str, Any]:
    found = {}
    for key, one in value.items():
        kept = _DROP if traces.names(key) else _without(one, traces, counted, key, depth + 1)
        if kept is _DROP:
            counted[0] += 1
        else:
            found[key] = kept
    return found


def _without_members(value: list[Any], traces: Traces, counted: list[int], key: str, depth: int) -> list[Any]:
    of_records = not depth or key in _LISTS
    found = []
    for one in value:
        # `id:task`, as re-admissions name them
        named = isinstance(one, str) and any(
            traces.names(name, of_records) for name in (one, one.rpartition(":")[0]) if name
        )
        kept = _DROP if named else _without(one, traces, counted, key, depth + (depth > 0))
        if kept is _DROP:
            counted[0] += 1
        else:
            found.append(kept)
    return found


def owner_of(row: Mapping[str, Any], depth: int = 0) -> str | None:
    """Whose a row is, where it says so: in itself, in Label Studio's `data`, in a FHIR bundle's identifier. Within a
    row an `id` is a tool's own."""
    held = row["data"] if isinstance(row.get("data"), dict) else row
    names = _OWNERS if not depth else _OWNERS[:1]
    found = next((held[name] for name in names if isinstance(held.get(name), str)), None)
    if row.get("resourceType") == "Bundle" and isinstance(row.get("identifier"), dict):
        found = row["identifier"].get("value", found)
    return found if isinstance(found, str) else None


def _is_of_record(row: dict[str, Any], traces: Traces) -> bool:
    """Of a row that names no record: whether it has a record's words right in it, as chat messages do."""
    held = [*row.values(), *(one for of in row.values() if isinstance(of, list) for one in of)]
    texts = [one for of in held for one in (of.values() if isinstance(of, dict) else [of]) if isinstance(one, str)]
    return any(traces.is_theirs(one) for one in texts)


def _skipped_lines(lines: Iterator[bytes], traces: Traces) -> Iterator[_Line]:
    """The list that brat's answers have: the first cell of a line names the record."""
    for line in lines:
        name = line.partition(b"\t")[0].decode("utf-8", "replace")
        if traces.owns(name) or (name and traces.names_file(Path(f"{name}.txt"))):
            yield None, 1, 0
        else:
            yield from _plain_lines(iter([line]), traces)


def _table(lines: Iterator[bytes], traces: Traces) -> Iterator[_Line]:
    """A table whose first column names the record, as `predict --format csv` writes it."""
    rows = table_rows(lines)
    yield from ((written, 0, 0) for _, written in islice(rows, 1))
    for cells, written in rows:
        yield (None, 1, 0) if cells and traces.owns(table_owner(cells)) else (written, 0, 0)


def table_rows(lines: Iterable[bytes]) -> Iterator[tuple[list[str], bytes]]:
    """(cells, the row as it stands there) of each row of a table, that of the names first."""
    # The module's own limit of 131,072 characters is below what a chart may have.
    csv.field_size_limit(sys.maxsize)
    taken: list[str] = []

    def each() -> Iterator[str]:
        for line in lines:
            for part in io.StringIO(line.decode("utf-8", "surrogateescape"), newline=""):
                taken.append(part)
                yield part

    parts = each()
    first = next((part for part in parts if part.strip()), "")
    for cells in csv.reader(chain([first] if first else [], parts), delimiter="\t" if "\t" in first else ","):
        yield cells, "".join(taken).encode("utf-8", "surrogateescape")
        taken.clear()


def table_owner(cells: list[str]) -> str:
    """Whose a row of a table is. Before a cell that a spreadsheet would compute stands an apostrophe; one before
    another id is the id's own."""
    bare = cells[0].removeprefix("'")
    return bare if safe(bare) == cells[0] else cells[0]
