"""Drawer of sources: where records come from.

A source is one frozen class with `read(max_bytes, scratch)`, which streams entries and rejections, and `stamp()`,
which changes when the input changes. To add one: a file here, and its class in `AnySource`.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chartdistill.errors import InputError
from chartdistill.records.sources.dataset import SAVED_MARKS, DatasetSource
from chartdistill.records.sources.entry import BAD_GROUP, MAX_BYTES, SourceEntry
from chartdistill.records.sources.folder import FolderSource, in_words
from chartdistill.records.sources.jsonl import JsonlSource
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.records.sources.table import TableSource
from chartdistill.records.sources.written import WrittenSource

AnySource = Annotated[
    FolderSource | JsonlSource | TableSource | DatasetSource | SyntheticSource | WrittenSource,
    Field(discriminator="type"),
]

__all__ = [
    "BAD_GROUP", "AnySource", "DatasetSource", "FolderSource", "JsonlSource", "PrepareOptions", "SourceEntry",
    "SyntheticSource", "TableSource", "WrittenSource", "say_passed_over", "source_for", "with_own_names",
]  # fmt: skip


class PrepareOptions(BaseModel):
    """How source entries become records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of clusters for validation."""
    test_fraction: float = Field(default=0.2, ge=0, lt=1)
    """Share of clusters for the test."""
    min_words: int = Field(default=5, ge=1)
    """Records with fewer words after cleaning are rejected as `too_short`."""
    max_bytes: int = Field(default=MAX_BYTES, ge=1)
    """Larger texts are rejected as `too_large`."""
    keep_duplicates: Literal["one", "all"] = "one"
    """Of records with the same words: keep `one` (the longest text, under the first id), or `all`, in one cluster."""

    @model_validator(mode="after")
    def _leaves_training_records(self) -> PrepareOptions:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must be below 1: nothing would be left to train on")
        return self


def with_own_names(sources: Sequence[AnySource]) -> list[AnySource]:
    """The sources of one run, of which no two name rows without an id alike: a/charts.csv and b/charts.csv, two parts
    of a data set, two columns of a file."""
    stems = [
        source.called or source.path.stem if isinstance(source, DatasetSource | JsonlSource | TableSource) else None
        for source in sources
    ]
    taken: set[str | None] = set()
    found: list[AnySource] = []
    for source, stem in zip(sources, stems, strict=True):
        name = stem
        if name in taken and not isinstance(source, FolderSource | SyntheticSource | WrittenSource):
            name = next(free for n in count(2) if (free := f"{stem}-{n}") not in taken and free not in stems)
            source = source.model_copy(update={"called": name})
        taken.add(name)
        found.append(source)
    return found


def say_passed_over(sources: Sequence[AnySource]) -> str:
    """What lies beside the charts and is none by its name, in words; empty where nothing does."""
    endings = sum((source.passed_over() for source in sources), Counter[str]())
    return f"passed over, by {'its' if endings.total() == 1 else 'their'} name: {in_words(endings)}" if endings else ""


def source_for(path: Path) -> AnySource:
    """The source for a path given on the command line, by what is there; `folder/*.TXT` is a folder of which the files
    with such names are charts.

    Raises:
        InputError: there is nothing, or nothing we read.
    """
    suffix = path.suffix.lower()
    if not path.exists() and "*" in path.name and path.parent.is_dir():
        return FolderSource(path=path.parent, pattern=path.name)
    if path.is_dir():
        if any((path / mark).exists() for mark in SAVED_MARKS):
            return DatasetSource(path=path)
        return FolderSource(path=path)
    if path.is_file() and suffix == ".jsonl":
        return JsonlSource(path=path)
    if path.is_file() and suffix in (".csv", ".tsv", ".parquet"):
        return TableSource(path=path)
    if path.is_file() and suffix == ".txt":
        raise InputError(
            f"{path} is one chart. Name the folder that holds it, {path.parent}, or one that holds nothing else: "
            f"mkdir charts && cp {shlex.quote(str(path))} charts/ (`predict` reads one chart as it comes: "
            "--records - < FILE)"
        )
    what = "is a file of another kind" if path.exists() else "does not exist"
    raise InputError(
        f"{path} {what}. Records can be a folder of .txt files (of others 'folder/*.note'), a .jsonl, .csv, .tsv or "
        ".parquet file, or a folder written by datasets' save_to_disk."
    )
