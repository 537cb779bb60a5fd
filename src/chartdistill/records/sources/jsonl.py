"""A JSONL file -> entries, one per line.

In: one JSON object per line. Out: one entry or one rejection per line that is not blank. Also reads the
fine-tuning files of API tools: set `text_field: prompt` and `text_end`. Must hold: one line at a time is in memory,
and a line too long to be a record is skipped without being held.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from chartdistill.errors import InputError
from chartdistill.records.sources.entry import MAX_BYTES, FieldSource, SourceEntry, file_stamp, require_path
from chartdistill.runtime.json_lines import JsonLine, read_json_lines
from chartdistill.schema import RejectedRecord

_LINE_FACTOR = 8
"""A line may be this many times `max_bytes`: JSON writes a character in up to six bytes, and gold comes on top."""


class JsonlSource(FieldSource):
    """Lines of JSON, one record each."""

    type: Literal["jsonl"] = "jsonl"
    path: Path
    """The file."""

    def read(self, max_bytes: int = MAX_BYTES, scratch: Path | None = None) -> Iterator[SourceEntry | RejectedRecord]:
        """All lines, in order.

        Raises:
            InputError: the file is missing, unreadable, or has no line.
        """
        require_path(self.path, "a JSONL file")
        if not self.path.stat().st_size:
            raise InputError(f"{self.path} is empty; expected one JSON object per line.")
        for line in read_json_lines(self.path, max_bytes * _LINE_FACTOR):
            yield self._entry(line, max_bytes)

    def stamp(self) -> list[str | int]:
        """Changes when the file changes."""
        require_path(self.path, "a JSONL file")
        return file_stamp(self.path)

    def _entry(self, line: JsonLine, max_bytes: int) -> SourceEntry | RejectedRecord:
        where, default_id = f"{self.path}:{line.number}", f"{self.path.stem}:{line.number}"
        if line.too_long:
            detail = (
                f"the line is longer than {_LINE_FACTOR} x max_bytes ({max_bytes}); split the record or raise max_bytes"
            )
            return RejectedRecord(source=where, reason="too_large", detail=detail)
        if isinstance(line.value, dict):
            return self.entry(line.value, where, default_id, max_bytes)
        problem = line.problem or f"a JSON {type(line.value).__name__}; write one JSON object per line"
        return RejectedRecord(source=where, reason="bad_json", detail=problem)
