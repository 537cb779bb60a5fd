"""JSONL that people bring -> values, one per line: one reader for sources, audit, scores and imports.

In: one JSON value per line, UTF-8 as RFC 8259 asks, or UTF-16 with a byte order mark as Windows shells write it; a byte
order mark is no part of a line. Out: every line that is not blank, with its value or what is wrong with it.
Must hold: one line at a time is in memory; a line that cannot be read is named and spoils no other; a problem never
quotes the line. (Rows that this program wrote are read by `run_folder.read_rows`.)
"""

from __future__ import annotations

import codecs
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from chartdistill.errors import InputError

_MAX_KEY_SHOWN = 40
"""Characters; a longer key may be record text that lost its quotes."""


@dataclass(frozen=True, slots=True)
class JsonLine:
    """One line."""

    number: int
    """Counted from 1, blank lines too."""
    value: Any = None
    problem: str | None = None
    """Why there is no value, and what to do; None where there is one."""
    too_long: bool = False
    """The line is longer than was allowed and was skipped without being held."""
    has_half_pair: bool = False
    """Text in the value has half of a surrogate pair (`\\ud800`), which JSON can say and UTF-8 cannot hold."""

    def parsed(self) -> Any:
        """The value.

        Raises:
            ValueError: the line has a problem.
        """
        if self.problem is not None:
            raise ValueError(self.problem)
        if self.has_half_pair:
            raise ValueError("half of a surrogate pair in a text, which UTF-8 cannot hold; repair the export")
        return self.value


def read_json_lines(path: Path, max_line_bytes: int = -1) -> Iterator[JsonLine]:
    """All lines that are not blank, in order. `max_line_bytes`: longer lines are skipped; -1 takes any.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(_lines(stream, max_line_bytes), 1):
                if line is None:
                    yield JsonLine(number, problem=f"longer than {max_line_bytes} bytes", too_long=True)
                elif line.strip():
                    yield _parsed(number, line.removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError:
        raise InputError(f"{path} begins as UTF-16, but is not UTF-16 throughout. Save it as UTF-8.") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}. Give the path of a JSONL file that you may read."
        ) from error


def parse_json(text: str) -> Any:
    """One JSON value.

    Raises:
        ValueError: it is not JSON, has a key twice in one object, or is nested deeper than can be read; never with
            the text.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("JSON nested too deep to be read") from None


def _parsed(number: int, line: bytes) -> JsonLine:
    try:
        value = parse_json(line.decode())
        return JsonLine(number, value, has_half_pair=b"\\ud" in line.lower() and not _is_encodable(value))
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start}; save the file as UTF-8"
    except ValueError as error:
        problem = str(error)
    return JsonLine(number, problem=problem)


def _is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; JSON readers differ in which of two equal keys counts, so neither does."""
    found = dict(pairs)
    if len(found) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        name = f"key {key!r}" if len(key) <= _MAX_KEY_SHOWN else "a key"
        raise ValueError(f"{name} stands twice in one JSON object; leave one of them")
    return found


def _lines(stream: IO[bytes], limit: int) -> Iterator[bytes | None]:
    """Lines of at most `limit` bytes, in UTF-8 where the file is UTF-16; None for a longer one."""
    mark = stream.read(2)
    stream.seek(0)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        yield from _lines_of_utf16(stream, limit)
        return
    while line := stream.readline(-1 if limit < 0 else limit + 1):
        if limit < 0 or len(line) <= limit:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(1 << 20)
        yield None


def _lines_of_utf16(stream: IO[bytes], limit: int) -> Iterator[bytes | None]:
    text = io.TextIOWrapper(stream, encoding="utf-16", newline="\n")
    while line := text.readline(-1 if limit < 0 else limit + 1):
        encoded = line.encode()
        if limit < 0 or len(encoded) <= limit:
            yield encoded
            continue
        while line and not line.endswith("\n"):
            line = text.readline(1 << 20)
        yield None
