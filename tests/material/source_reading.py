"""What tests of sources share: a text nobody may see in errors, gold, and reading to the end."""

from __future__ import annotations

import json
from pathlib import Path

from chartdistill.records.sources import (
    AnySource,
    SourceEntry,
)
from chartdistill.schema import RejectedRecord

SECRET = "Zanthorpe"
"""A word of record text; it may appear in entries, never in a message."""
GOLD = {"medication": [{"text": "Velotasartan", "status": "start"}], "tests": []}


def read(source: AnySource, max_bytes: int = 1000) -> tuple[dict[str, SourceEntry], dict[str, str]]:
    """Entries by id, and reasons by the file name or row they are about."""
    entries: dict[str, SourceEntry] = {}
    reasons: dict[str, str] = {}
    for row in source.read(max_bytes):
        if isinstance(row, RejectedRecord):
            assert SECRET not in row.model_dump_json()
            reasons[Path(row.source).name] = row.reason
        else:
            assert row.id not in entries
            entries[row.id] = row
    return entries, reasons


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
