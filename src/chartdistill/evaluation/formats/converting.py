"""The JSONL of `predict`, and the charts it is about -> another format.

In: answers that are all there, and the source, read a second time in the same order. Out: a file or folder that appears
when it is complete. Must hold: one chart at a time is in memory; nothing is asked again; a kill costs this step alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from chartdistill.errors import ArtefactError, InputError
from chartdistill.evaluation.formats import FILES, FOLDERS, JSONL
from chartdistill.evaluation.formats.answered import Answered
from chartdistill.records import SourceEntry
from chartdistill.runtime.outputs import left_beside, require_writable, whole_file
from chartdistill.runtime.run_folder import disk_errors, make_folder
from chartdistill.schema import RejectedRecord, Task

CHANGED = "the charts were changed while they were answered. Run the same command again: it asks about the new ones."


def require_place(
    form: str, out: Path, overwrite: bool, read: Iterable[Path | None], charts: Path | None = None
) -> None:
    """That answers in this format can be written at `out`, before anything is asked. `charts`: where those lie.

    Raises:
        ArtefactError: what is wrong with the place, and what to do.
    """
    if form in FOLDERS:
        if charts is not None and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(charts)):
            raise ArtefactError(
                f"--out {out} lies among the charts ({charts}): the copies of them that {form} has would be read as "
                "charts the next time. Give a folder elsewhere."
            )
        if out.is_dir() and not any(out.iterdir()):
            return
        if out.is_dir():
            raise ArtefactError(
                f"--out {out}: the folder is not empty, and {form} writes a folder of its own. Give a new one; nothing "
                "in a folder is ever replaced."
            )
        if out.is_file():
            raise ArtefactError(f"--out {out} is a file, and {form} writes a folder. Give the name of a new one.")
    if form != JSONL and out.exists() and not out.is_file() and not out.is_dir():
        raise ArtefactError(
            f"--out {out} is no regular file, and {form} is written once all answers are there. Give a file; one chart "
            "alone goes to standard output with `--records -`."
        )
    require_writable("--out", out, overwrite, read)


def convert(
    form: str, answers: Path, entries: Iterable[SourceEntry | RejectedRecord], out: Path, tasks: Sequence[Task]
) -> None:
    """Write the answers in a format.

    Raises:
        InputError: the source has other charts than it had when they were answered.
    """
    charts = _answered(answers, entries)
    if form in FILES:
        with whole_file(out) as stream:
            FILES[form](charts, stream, tasks)
        return
    out = Path(os.path.realpath(out))  # "." has no name, and no folder takes the place of a link
    for leftover in left_beside(out, "folder"):
        shutil.rmtree(leftover)
    beside = make_folder(out.with_name(f".{out.name}.{os.getpid()}.folder"))
    try:
        with disk_errors(out):
            FOLDERS[form](charts, beside, tasks)
            os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _answered(answers: Path, entries: Iterable[SourceEntry | RejectedRecord]) -> Iterator[Answered]:
    with answers.open(encoding="utf-8") as lines:
        for line, entry in zip_longest(lines, entries):
            said = None if line is None else json.loads(line)
            if said is None or entry is None or (said["id"], said["source"]) != (entry.id, entry.source):
                raise InputError(CHANGED)
            text = None if isinstance(entry, RejectedRecord) else entry.text
            yield Answered(
                str(entry.id), entry.source, text, said.get("tasks", {}), said.get("failure"), said.get("in_review", 0)
            )
