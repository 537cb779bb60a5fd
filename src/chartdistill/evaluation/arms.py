"""What `evaluate` asks of the student, and who answers: one engine, or several side by side, each for a shard of the
records.

In: held-out records, their changed forms, the trained adapter. Out: the answers of each arm in predictions/, and the
seconds they took. Must hold: the files are those that one engine would have written, whatever the number of engines.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from chartdistill.config import Run
from chartdistill.engines import Replica, SideBySide, replicas_of
from chartdistill.evaluation.generation import (
    SHARDS,
    Sheet,
    ask_sheets,
    plain_questions,
    unanswered,
    validation_records,
)
from chartdistill.evaluation.interventions import Asking
from chartdistill.evaluation.options import StudentArm
from chartdistill.evaluation.student_arms import arm_file, asked_arms
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.shards import Shard
from chartdistill.schema import Record

VARIANTS = "variants"
"""Folder, in predictions/, of records in changed form and the answers to them."""
VALIDATION = "validation"
"""Folder, in predictions/, of the student's answers about validation records, which its confidence is learned from."""


def student_sheets(
    run: Run, records: Sequence[Record], changed: Sequence[Asking], upstream: Sequence[str]
) -> list[Sheet]:
    """All arms of the student on all records, base and student on changed ones too.

    Args:
        upstream: fingerprints of what the adapter was made from.
    """
    folder, plain, sure = run.dir / "predictions", plain_questions(records, run.tasks), run.config.evaluate.confidence
    again = [(one.record, one.task, one.temperature) for one in changed]
    trained, made_from = run.dir / "adapter", list(upstream)
    sheets = []
    for arm, adapter, mark, logprobs in (("base", run.start(), None, False), ("student", trained, made_from, sure)):
        sheets.append(Sheet(arm, folder / f"{arm}.jsonl", arm, adapter, mark, plain, logprobs=logprobs))
        if again:
            path = folder / VARIANTS / f"{arm}.jsonl"
            sheets.append(Sheet(f"interventions {arm}", path, arm, adapter, mark, again))
    for arm, held_to in asked_arms(run.config.evaluate.also).items():
        sheets.append(Sheet(arm, folder / arm_file(arm), arm, trained, made_from, plain, held_to))
    if sure:
        asked, path = plain_questions(validation_records(run), run.tasks), folder / VALIDATION / "student.jsonl"
        sheets.append(Sheet("confidence", path, "student", trained, made_from, asked, logprobs=True))
    return sheets


def forget_student(folder: Path) -> None:
    """Remove what an adapter answered that is no more, from predictions/: the keys of answers tell what an adapter was
    made from, and one that was made from the same again may answer otherwise."""
    places = [folder / arm_file(arm) for arm in ("student", *get_args(StudentArm))]
    for path in (*places, folder / VARIANTS / "student.jsonl", folder / VALIDATION / "student.jsonl"):
        path.unlink(missing_ok=True)


def student_engines(run: Run) -> list[Replica]:
    """Those that answer side by side here; one where no other process could be told of this run."""
    replicas = replicas_of(run.config.student.engine)
    return replicas if run.arguments else replicas[:1]


def ask_student(run: Run, sheets: Sequence[Sheet], progress: ProgressCallback) -> dict[str, float | None]:
    """Answer all sheets; returns the seconds of each (see `ask_sheets`).

    With several engines a process is started for each, which answers its shard; answers that such a process has given
    are kept whatever becomes of the others.

    Raises:
        EngineError: an engine did not start, or died: which, on which card.
    """
    engines = SideBySide("evaluate", student_engines(run), run.arguments)
    if len(engines.replicas) < 2:
        seconds = ask_sheets(run, sheets, progress)
    else:
        tasks = max(1, len(run.tasks))
        unfinished = {shard: count // tasks for shard, count in unanswered(run, sheets, engines.shards).items()}
        engines.ask(unfinished, sum(len(sheet.questions) for sheet in sheets) // tasks, progress)
        ask_sheets(run, sheets, _already_shown, len(engines.replicas))
        seconds = {sheet.name: _slowest(sheet, engines.told, engines.shards) for sheet in sheets}
    for shards in list((run.dir / "predictions").rglob(f"*{SHARDS}")):
        shutil.rmtree(shards)  # all that is wanted of them is in the arms' files now
    return seconds


def shards_lock_folder(run: Run) -> Path:
    """Where the processes of shards hold them; it goes with the shards."""
    return run.dir / "predictions" / f"all{SHARDS}"


def _slowest(sheet: Sheet, told: Mapping[Shard, Mapping[str, Any]], shards: Sequence[Shard]) -> float | None:
    """Engines work at the same time, so the slowest counts; None where one of them had answers stored already."""
    asked = [shard for shard in shards if sheet.of(shard).questions]
    each = [told.get(shard, {}).get("seconds", {}).get(sheet.name) for shard in asked]
    return None if None in each else max(each, default=0.0)


def _already_shown(done: int, total: int | None = None, tokens: int = 0) -> None:
    """No progress: the engines' own has been shown."""
