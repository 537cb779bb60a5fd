"""A CSV or Parquet file -> entries, one per row.

In: a table with a header. Out: one entry or one rejection per row. Must hold: rows are streamed; a table without the
text column is refused at once, naming the columns it has.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from chartdistill.errors import InputError
from chartdistill.records.sources.entry import MAX_BYTES, FieldSource, SourceEntry, file_stamp, require_path
from chartdistill.schema import RejectedRecord

_PARQUET_ROWS = 64
"""Rows decoded at a time."""


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
            yield self.entry(row, f"{self.path}:{number}", f"{self.path.stem}:{number}", max_bytes)
        if not number:
            raise InputError(f"{self.path} has no rows.")

    def stamp(self) -> list[str | int]:
        """Changes when the file changes."""
        require_path(self.path, "a CSV or Parquet file")
        return file_stamp(self.path)

    def _csv_rows(self, max_bytes: int) -> Iterator[Mapping[str, object]]:
        delimiter = "\t" if self.path.suffix.lower() == ".tsv" else ","
        # The module's own limit of 131,072 characters is below what a chart may have.
        csv.field_size_limit(max(csv.field_size_limit(), 8 * max_bytes))
        try:
            with self.path.open(encoding=self.encoding, newline="") as stream:
                # Strict: a quote left open would otherwise swallow the rest of the file as one record.
                reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
                self._check_columns(reader.fieldnames or ())
                yield from reader
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path} is not {self.encoding} (byte {error.start} of a block). Set `encoding`, e.g. cp1252."
            ) from None
        except csv.Error as error:
            raise InputError(f"{self.path}: not a readable CSV file: {error}. Look for a quote left open.") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}. Fix its permissions or the path.") from error

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
        return {self.text_field, self.id_field, self.split_field or self.text_field, self.gold_field or self.text_field}

    def _check_columns(self, names: Sequence[str]) -> None:
        missing = self._fields() - {self.id_field} - set(names)
        if missing:
            raise InputError(
                f"{self.path} has no column {', '.join(map(repr, sorted(missing)))}; its columns are "
                f"{', '.join(names) or 'none'}. Set text_field, split_field or gold_field."
            )
