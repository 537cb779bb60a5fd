"""A CSV or Parquet file -> entries, one per row.

In: a table with a header. Out: one entry or one rejection per row. Must hold: rows are streamed; a table without the
text column is refused at once, naming the columns it has.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import AfterValidator

from chartdistill.errors import InputError
from chartdistill.records.decoding import REPAIRED, foreign_bytes, is_utf8_with_strays, repair_strays
from chartdistill.records.sources.entry import (
    MAX_BYTES,
    FieldSource,
    SourceEntry,
    file_stamp,
    is_encodable,
    require_path,
)
from chartdistill.schema import RejectedRecord

_PARQUET_ROWS = 64
"""Rows decoded at a time."""
_LOOKED_AT = 4096
"""Bytes at the beginning that tell a spreadsheet or an archive from a CSV file."""
_BEYOND = "\0beyond"
"""Where the CSV reader puts fields that have no column; no header can hold it."""
_FLOAT_ID = re.compile(r"-?\d+\.0")
_ONE_BYTE_ENCODINGS = ("cp1252", "iso8859-1", "iso8859-15")


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"Python knows no encoding {name!r}; use for example utf-8 or cp1252") from None
    return name


class TableSource(FieldSource):
    """Rows of a table, one record each. The format follows the suffix: `.csv`, `.tsv` or `.parquet`."""

    type: Literal["table"] = "table"
    path: Path
    """The file."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8-sig"
    """Of a CSV file; spreadsheets on Windows often write cp1252."""

    def read(self, max_bytes: int = MAX_BYTES, scratch: Path | None = None) -> Iterator[SourceEntry | RejectedRecord]:
        """All rows, in order.

        Raises:
            InputError: the file is missing, of another format, damaged, or lacks a named column.
        """
        require_path(self.path, "a CSV or Parquet file")
        match self.path.suffix.lower():
            case ".csv" | ".tsv":
                rows = self._csv_rows(max_bytes)
            case ".parquet":
                rows = self._parquet_rows()
            case suffix:
                raise InputError(f"{self.path}: a table must end in .csv, .tsv or .parquet, not {suffix!r}.")
        number = 0
        for number, row in enumerate(rows, 1):
            yield self._row(row, number, max_bytes)
        if not number:
            raise InputError(f"{self.path} has no rows.")

    def stamp(self) -> list[str | int]:
        """Changes when the file changes."""
        require_path(self.path, "a CSV or Parquet file")
        return file_stamp(self.path)

    def _row(self, row: Mapping[str, object], number: int, max_bytes: int) -> SourceEntry | RejectedRecord:
        where = f"{self.path}:{number}"
        beyond = row.get(_BEYOND)
        if isinstance(beyond, list) and any(beyond):
            detail = f"{len(beyond)} fields more than the header has; quote fields that hold a comma or tab"
            return RejectedRecord(source=where, reason="extra_fields", detail=detail)
        values = {name: repair_strays(value) if isinstance(value, str) else (value, 0) for name, value in row.items()}
        row = {name: value for name, (value, _) in values.items()}
        repaired = sum(number for _, number in values.values())
        found = self.entry(row, where, f"{self.path.stem}:{number}", max_bytes)
        return (
            replace(found, encoding=REPAIRED, repaired=repaired)
            if repaired and isinstance(found, SourceEntry)
            else found
        )

    def _csv_rows(self, max_bytes: int) -> Iterator[Mapping[str, object]]:
        # The module's own limit of 131,072 characters is below what a chart may have.
        csv.field_size_limit(max(csv.field_size_limit(), 8 * max_bytes))
        try:
            self._beginning()  # else a packed file would be called one of another encoding
            self._check_encoding()
            float_ids = self._has_float_ids()
            with self._open() as stream:
                rows = self._csv_fields(stream)
                names = next(rows, [])
                self._check_columns(names)
                for fields in rows:
                    row = dict(zip_longest(names, fields[: len(names)])) | {_BEYOND: fields[len(names) :]}
                    if float_ids:
                        row[self.id_field] = str(row[self.id_field] or "").removesuffix(".0")
                    yield row
        except UnicodeDecodeError:
            raise InputError(
                f"{self.path} cannot be read as {self.encoding}. Set `encoding` to what wrote the file, e.g. cp1252."
            ) from None
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}. Fix its permissions or the path.") from error

    def _csv_fields(self, stream: IO[str]) -> Iterator[list[str]]:
        """The fields of every row that is not blank, the header's first."""
        # Strict: a quote left open would otherwise swallow the rest of the file as one record.
        reader = csv.reader(stream, delimiter="\t" if self.path.suffix.lower() == ".tsv" else ",", strict=True)
        began = 1
        try:
            for fields in reader:
                if fields:
                    yield fields
                began = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{self.path}: line {began}: the row that begins here is not CSV (line {reader.line_num}: {error}). "
                'Look for a quote left open, or one inside a quoted field that is not doubled ("" instead of \\").'
            ) from None

    def _beginning(self) -> bytes:
        with self.path.open("rb") as stream:
            beginning = stream.read(_LOOKED_AT)
        if not beginning:
            raise InputError(
                f"{self.path} is empty, so it has no column {self.text_field!r}; expected a line of names, then rows."
            )
        if (found := foreign_bytes(beginning)) is not None:
            raise InputError(f"{self.path} {found.detail.partition(';')[0]}. Export it as CSV in UTF-8.")
        return beginning

    def _open(self) -> IO[str]:
        if self._beginning().startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return self.path.open(encoding="utf-16", newline="")
        if self._is_utf8():  # a byte order mark is no part of the first column's name
            return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        return self.path.open(encoding=self.encoding, newline="")

    def _is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    def _check_encoding(self) -> None:
        """Refuse a file that is in Windows-1252 where UTF-8 is expected, or the other way round: all rows would be
        wrong. A few stray bytes in UTF-8 are repaired in their rows."""
        one_byte = codecs.lookup(self.encoding).name in _ONE_BYTE_ENCODINGS
        if not one_byte and not self._is_utf8():
            return
        first_stray = None
        is_utf8 = False
        with self.path.open("rb") as stream:
            if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                return
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            for number, line in enumerate(stream, 1):
                if line.isascii():
                    continue
                if first_stray is None and not is_encodable(line):
                    first_stray = number
                is_utf8 = is_utf8 or is_utf8_with_strays(line)
        if one_byte and is_utf8 and first_stray is None:
            raise InputError(f"{self.path} is UTF-8, not {self.encoding}. Leave `encoding` out.")
        if not one_byte and not is_utf8 and first_stray is not None:
            raise InputError(
                f"{self.path} is not UTF-8: line {first_stray} is the first that shows it. Save it as UTF-8, or set "
                "`encoding` of this source under `records:` of the config to what wrote the file, e.g. cp1252."
            )

    def _has_float_ids(self) -> bool:
        """Whether pandas wrote whole numbers with one missing: every id ends in `.0`, but for at least one blank."""
        missing = False
        with self._open() as stream, suppress(InputError):  # which the rows themselves run into, and tell of
            rows = self._csv_fields(stream)
            names = next(rows, [])
            if self.id_field not in names:
                return False
            column = names.index(self.id_field)
            for fields in rows:
                value = fields[column] if column < len(fields) else ""
                if value and not _FLOAT_ID.fullmatch(value):
                    return False
                missing = missing or not value
        return missing

    def _parquet_rows(self) -> Iterator[Mapping[str, object]]:
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self.path) as table:
                names = table.schema_arrow.names
                self._check_columns(names)
                used = [name for name in names if name in self._fields()]
                for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=used):
                    yield from batch.to_pylist()
        except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the file system, not of the format
                raise InputError(f"cannot read {self.path}: {error.strerror}. Fix its permissions.") from error
            kind = type(error).__name__
            raise InputError(
                f"{self.path} cannot be read as Parquet ({kind}): damaged, or not Parquet. Export it again."
            ) from None

    def _fields(self) -> set[str]:
        named = (self.split_field, self.gold_field, self.group_field)
        return {self.text_field, self.id_field, *(field for field in named if field is not None)}

    def _check_columns(self, names: Sequence[str]) -> None:
        twice = sorted(name for name in self._fields() if list(names).count(name) > 1)
        if twice:
            raise InputError(f"{self.path} has more than one column {', '.join(map(repr, twice))}. Rename all but one.")
        missing = self._fields() - {self.id_field} - set(names)
        if missing:
            fields = {getattr(self, name): name for name in ("text_field", "split_field", "gold_field", "group_field")}
            options = ", ".join(f"`{fields[name]}`" for name in sorted(missing))
            separated = self.path.suffix.lower() == ".csv" and len(names) == 1 and re.search(r"[;\t|]", names[0])
            advice = (
                f"The columns of a .csv stand between commas, here it is {separated[0]!r}: export it with commas."
                if separated
                else f"Name the right one as {options} of this source under `records:` of the config."
            )
            raise InputError(
                f"{self.path} has no column {', '.join(map(repr, sorted(missing)))}; its columns are "
                f"{', '.join(names) or 'none'}. {advice}"
            )
