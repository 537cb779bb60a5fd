"""A data set on disk, read with the `datasets` library -> entries, one per row.

In: a folder written by `save_to_disk`, or anything on disk that `load_dataset` knows. Out: one entry or one
rejection per row. Must hold: rows are streamed; nothing is fetched; the library caches below the scratch folder
only, because its cache holds record text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from chartdistill.errors import InputError
from chartdistill.records.sources.entry import MAX_BYTES, FieldSource, SourceEntry, file_stamp, require_path
from chartdistill.records.sources.jsonl import JsonlSource
from chartdistill.records.sources.table import TableSource
from chartdistill.schema import RejectedRecord

SAVED_MARKS = ("dataset_info.json", "state.json", "dataset_dict.json")
"""A folder with one of these was written by `save_to_disk`."""
CACHE_PREFIX = ".datasets-"
"""Names of the library's cache folders start so; each is removed when its source has been read."""
_OWN_FORMATS: dict[str, type[JsonlSource] | type[TableSource]] = {
    ".jsonl": JsonlSource, ".csv": TableSource, ".tsv": TableSource, ".parquet": TableSource
}  # fmt: skip
"""Formats of single files that are read here as everywhere else, rather than by the library."""


class DatasetSource(FieldSource):
    """Rows of a data set, one record each."""

    type: Literal["dataset"] = "dataset"
    path: Path
    """Folder or file on this machine."""
    part: str = "train"
    """Which of the data set's own splits to read."""
    config_name: str | None = None
    """Which of the data set's configurations to read, where it has several."""

    def read(self, max_bytes: int = MAX_BYTES, scratch: Path | None = None) -> Iterator[SourceEntry | RejectedRecord]:
        """All rows, in order. Without `scratch` a temporary folder is used and removed.

        Raises:
            InputError: the path is missing, not a data set, or has no such part.
        """
        require_path(self.path, "a data set on this machine")
        if (own := self._own_reader()) is not None:
            yield from own.read(max_bytes, scratch)
            return
        with tempfile.TemporaryDirectory(prefix=CACHE_PREFIX, dir=scratch) as cache:
            number = 0
            for number, row in enumerate(self._rows(cache), 1):
                yield self.entry(row, f"{self.path}:{number}", f"{self.path.stem}:{number}", max_bytes)
            if not number:
                raise InputError(f"{self.path}: part {self.part!r} has no rows.")

    def stamp(self) -> list[list[str | int]]:
        """Changes when a file of the data set changes."""
        require_path(self.path, "a data set on this machine")
        files = [self.path] if self.path.is_file() else sorted(file for file in self.path.rglob("*") if file.is_file())
        return [file_stamp(file) for file in files]

    def _own_reader(self) -> JsonlSource | TableSource | None:
        """The source that reads a single file of this format: the library would guess types (an id "001" is 1, quotes
        are mended, a field too many moves the rest) and name no line."""
        if not self.path.is_file() or self.path.suffix.lower() not in _OWN_FORMATS:
            return None
        if self.part != "train":
            raise InputError(f"{self.path} has no part {self.part!r}; a single file is the part 'train'. Set `part`.")
        fields = {name: getattr(self, name) for name in FieldSource.model_fields}
        return _OWN_FORMATS[self.path.suffix.lower()](path=self.path, **fields)

    def _rows(self, cache: str) -> Iterator[Mapping[str, object]]:
        import datasets

        try:
            if self.path.is_dir() and any((self.path / mark).exists() for mark in SAVED_MARKS):
                saved = datasets.load_from_disk(str(self.path))
                yield from self._part_of(saved) if isinstance(saved, datasets.DatasetDict) else saved
                return
            kind, files = self._loader()
            yield from datasets.load_dataset(
                kind, self.config_name, data_files=files, split=self.part, streaming=True, cache_dir=cache
            )
        except InputError:
            raise
        except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
            # The library's messages can quote rows, so only the kind of error is passed on.
            raise InputError(
                f"{self.path}: the datasets library cannot read part {self.part!r} ({type(error).__name__}). Check "
                "`part` and `config_name`, and that `datasets.load_dataset` reads this path offline."
            ) from None

    def _part_of(self, saved: Mapping[str, Iterable[Mapping[str, object]]]) -> Iterable[Mapping[str, object]]:
        if self.part not in saved:
            raise InputError(f"{self.path} has no part {self.part!r}; its parts are {', '.join(saved)}. Set `part`.")
        return saved[self.part]

    def _loader(self) -> tuple[str, str | None]:
        """What `load_dataset` is asked for: a folder as it is, a single file by its format."""
        if self.path.is_dir():
            return str(self.path), None
        formats = {".json": "json", ".arrow": "arrow", ".txt": "text"}
        if self.path.suffix.lower() not in formats:
            raise InputError(
                f"{self.path}: a single file must end in {', '.join((*formats, *_OWN_FORMATS))}; or give its folder."
            )
        return formats[self.path.suffix.lower()], str(self.path)
