"""Charts in files of a run folder that no stage reads: answers of `predict`, gold, what other tools made of either.

In: the folder. Out: who each row is of, with its chart where it has one. Must hold: a patient whose chart was only
ever predicted, or is only in a gold file, can be erased by that id; a chart of a record that stands there under another
id is known by its words; one file is read row by row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.erasure.cleaning import form_of, owner_of, table_owner, table_rows
from chartdistill.erasure.search import files_below
from chartdistill.erasure.traces import endings
from chartdistill.records import SHINGLE_WORDS, body_hash, body_words, clean

_OF_STAGES = ("records", "labels", "curated", "predictions", "adapter", "report", "exports", "cache")
"""Folders of a run whose rows are of its records."""


@dataclass(frozen=True)
class Elsewhere:
    """One row, or one file of brat."""

    names: tuple[str, ...]
    """Whose it is; of a file, its name with and without its folders."""
    text: str | None
    """None: it has answers alone."""
    source: str

    @property
    def body(self) -> str | None:
        """`body_hash` of the chart as a record of it would be; None where it has too few words to be told by."""
        if self.text is None:
            return None
        cleaned = clean(self.text).text
        return body_hash(cleaned) if len(body_words(cleaned)) >= SHINGLE_WORDS else None


def rows_elsewhere(folder: Path, homes: Sequence[Path]) -> Iterator[Elsewhere]:
    """Every row that names whose it is, of all files but those of stages."""
    stages = {home / name for home in homes for name in _OF_STAGES}
    for path in sorted(files_below(folder)):
        if stages.isdisjoint(path.parents):
            yield from _rows_of(path, folder)


def _rows_of(path: Path, folder: Path) -> Iterator[Elsewhere]:
    if path.suffix == ".txt" and path.with_suffix(".ann").is_file():
        names = tuple(endings(path.relative_to(folder)))
        yield Elsewhere(names[::-1], path.read_text(encoding="utf-8", errors="replace"), path.name)
        return
    for row in _values(path):
        owner = owner_of(row)
        if owner is not None:
            held = row["data"] if isinstance(row.get("data"), dict) else row
            text, source = (held[name] if isinstance(held.get(name), str) else None for name in ("text", "source"))
            yield Elsewhere((owner,), text, source or "")


def _values(path: Path) -> Iterator[Mapping[str, Any]]:
    form = form_of(path)
    if form == "table":
        yield from _rows_of_table(path)
    if form not in ("rows", "value"):
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        parts: Iterator[str] = iter(stream) if form == "rows" else iter([stream.read()])
        for part in parts:
            try:
                value = json.loads(part)
            except ValueError:  # torn, or none: the search at the end looks at it
                continue
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict))


def _rows_of_table(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as lines:
        rows = table_rows(line.decode("utf-8-sig", "replace").encode() for line in lines)
        names, _ = next(rows, ([], b""))
        for cells, _ in rows:
            if cells:
                yield dict(zip(names, [table_owner(cells), *cells[1:]], strict=False))
