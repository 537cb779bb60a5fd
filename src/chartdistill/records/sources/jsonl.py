"""A JSONL file -> entries, one per line.

In: one JSON object per line, UTF-8. Out: one entry or one rejection per line that is not blank. Also reads the
fine-tuning files of API tools: set `text_field: prompt` and `text_end`. Must hold: one line at a time is in memory,
and a line too long to be a record is skipped without being held.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from chartdistill.errors import InputError
from chartdistill.records.sources.entry import MAX_BYTES, FieldSource, SourceEntry, file_stamp, require_path
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
        num_lines = 0
        try:
            with self.path.open("rb") as stream:
                for num_lines, line in enumerate(_lines(stream, max_bytes * _LINE_FACTOR), 1):
                    if line is None or line.strip():
                        yield self._entry(line, num_lines, max_bytes)
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}. Fix its permissions or the path.") from error
        if not num_lines:
            raise InputError(f"{self.path} is empty; expected one JSON object per line.")

    def stamp(self) -> list[str | int]:
        """Changes when the file changes."""
        require_path(self.path, "a JSONL file")
        return file_stamp(self.path)

    def _entry(self, line: bytes | None, number: int, max_bytes: int) -> SourceEntry | RejectedRecord:
        where, default_id = f"{self.path}:{number}", f"{self.path.stem}:{number}"
        if line is None:
            detail = (
                f"the line is longer than {_LINE_FACTOR} x max_bytes ({max_bytes}); split the record or raise max_bytes"
            )
            return RejectedRecord(source=where, reason="too_large", detail=detail)
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 at byte {error.start}; convert the file to UTF-8"
        except json.JSONDecodeError as error:
            problem = f"{error.msg} at character {error.pos}; write one JSON object per line"
        except RecursionError:
            problem = "nested too deeply"
        else:
            if isinstance(row, dict):
                return self.entry(row, where, default_id, max_bytes)
            problem = f"a JSON {type(row).__name__}; write one JSON object per line"
        return RejectedRecord(source=where, reason="bad_json", detail=problem)


def _lines(stream: IO[bytes], limit: int) -> Iterator[bytes | None]:
    """Lines of at most `limit` bytes; None for a longer one."""
    while line := stream.readline(limit + 1):
        if len(line) <= limit:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(1 << 20)
        yield None
