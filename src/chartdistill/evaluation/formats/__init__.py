"""Drawer of output formats of `predict`: what others read. The JSONL of `predict` itself is not among them.

A format is one file with `write(charts, out, tasks)`, which puts the answers of all charts at a path as they come, one
chart at a time in memory, and one line in `FORMATS`. In: `Answered`s in the order of the source. Which format says what
how: docs/outputs.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from chartdistill.evaluation.formats import brat, fhir, label_studio, table
from chartdistill.evaluation.formats.answered import Answered
from chartdistill.schema import Task

__all__ = ["FILES", "FOLDERS", "FORMATS", "JSONL", "Answered"]

JSONL = "jsonl"
"""What `predict` writes by itself: all that is known, and the only format that a killed call goes on with directly."""
FILES: dict[str, Callable[[Iterator[Answered], IO[str], Sequence[Task]], None]] = {
    "fhir": fhir.write,
    "csv": table.write,
    "label-studio": label_studio.write,
}
"""Formats that are one file."""
FOLDERS: dict[str, Callable[[Iterator[Answered], Path, Sequence[Task]], None]] = {"brat": brat.write}
"""Formats that are a folder."""
FORMATS = (JSONL, *FILES, *FOLDERS)
