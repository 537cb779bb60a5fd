"""Answers of every arm of a study on the test records, as they are and in changed form.

In: the teacher's runs and the trained parts. Out: `Answers`. Must hold: all arms answer about the same records, the
students all in one engine life with the same prompts and decoding; no part has seen a test record.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from chartdistill.config import Run
from chartdistill.evaluation import rule_baseline
from chartdistill.evaluation.arms import VARIANTS
from chartdistill.evaluation.evaluate import ask_teacher_again, held_out_records, teacher_predictions
from chartdistill.evaluation.generation import (
    Question,
    Sheet,
    ask_sheets,
    plain_questions,
    stored_answers,
    whose_answers,
)
from chartdistill.evaluation.interventions import askings, write_variants
from chartdistill.evaluation.perturbations import Variant
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.runtime.progress import StageBar
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Label, Prediction, Record
from chartdistill.study.options import StudyConfig, parts_of
from chartdistill.study.records import held_out, records_of

TEACHER, DIRECT, BASE = "teacher_chain", "teacher_direct", "base"


@dataclass(frozen=True)
class Answers:
    """What all arms said. A trained arm is called as its part, `distilled_raw-n100-s1`."""

    plain: dict[str, list[Prediction]]
    """Arm -> answers to the test records."""
    changed: dict[str, list[Prediction]]
    """Arm (trained ones without size and seed) -> answers to the variants; empty where there are none."""
    unchanged: dict[str, list[Prediction]]
    """The same arms -> their answers to the test records."""
    variants: list[Variant]
    labels: dict[str, list[Label]]
    """The teacher's arms -> the labels they answered with, for what they cost."""
    seconds: dict[str, float | None]
    """Arm -> seconds of answering, without engine starts; None where some answers were stored already."""


def predict(
    options: StudyConfig, shared: Run, direct: Run, folder: Path, failed: Collection[str], more: Sequence[Sheet] = ()
) -> Answers:
    """Ask all arms that there are; what is stored is not asked again. `more`: further sheets for the same engine life,
    whose answers are no arm's."""
    records = held_out(shared, options)
    wanted = {record.id for record in records}
    labels = {
        arm: [row for row in read_rows(run.dir / "labels" / "labels.jsonl", Label) if row.record in wanted]
        for arm, run in ((TEACHER, shared), (DIRECT, direct))
    }
    plain = {
        arm: [row.model_copy(update={"arm": arm}) for row in teacher_predictions(rows, shared.tasks)]
        for arm, rows in labels.items()
    }
    variants, again = [], []
    if options.interventions.records:
        known = {(row.record, row.task): row for row in plain[TEACHER]}
        variants = write_variants(folder / VARIANTS, records, shared.tasks, known, options.interventions)
        again = askings(variants, {record.id: record for record in records}, shared.tasks, options.interventions)
    sheets, changed = _sheets(
        options, shared, folder, failed, records, [(one.record, one.task, one.temperature) for one in again]
    )
    with StageBar("study", unit="records") as bar:
        seconds = ask_sheets(shared, [*sheets, *more], bar)
    plain |= {sheet.arm: stored_answers(sheet.path) for sheet in sheets if sheet.path.parent.name == "predictions"}
    named = {name: arm for arm, name in changed.items()}
    answered = {named[sheet.arm]: stored_answers(sheet.path) for sheet in sheets if sheet.path.parent.name == VARIANTS}
    if again:
        seconds[f"{TEACHER} changed"] = ask_teacher_again(shared, folder / VARIANTS, again, options.interventions)
        answered = {TEACHER: stored_answers(folder / VARIANTS / "teacher.jsonl"), **answered}
    plain[rule_baseline.ARM] = rule_baseline.predict_by_rules(records, shared.tasks, _known_names(shared))
    unchanged = {arm: plain[changed.get(arm, arm)] for arm in answered}
    return Answers(plain, answered, unchanged, variants, labels, seconds)


def _sheets(
    options: StudyConfig,
    shared: Run,
    folder: Path,
    failed: Collection[str],
    records: list[Record],
    again: list[Question],
) -> tuple[list[Sheet], dict[str, str]]:
    """A sheet per student, and one more per student asked in changed form; and arm -> part of the latter."""
    plain = plain_questions(records, shared.tasks)
    sheets: list[Sheet] = []
    changed = {BASE: BASE}
    students: list[tuple[str, Path | None, bool]] = [(BASE, shared.start(), True)]
    for part in parts_of(options):
        if part.name not in failed:
            home = folder / "parts" / part.name
            held_out_records(
                home, shared.config.evaluate.split, shared.tasks
            )  # refuses a part that has seen a test record
            first = part.size == options.compared and part.seed == options.seeds[0]
            twice = first and part.arm in options.changed_arms
            if twice:
                changed[part.arm] = part.name
            students.append((part.name, home / "adapter", twice))
    for name, adapter, twice in students:
        made_from = None if adapter is None or name == BASE else whose_answers(adapter)
        sheets.append(Sheet(name, folder / "predictions" / f"{name}.jsonl", name, adapter, made_from, plain))
        if again and twice:
            path = folder / VARIANTS / f"{name}.jsonl"
            sheets.append(Sheet(f"{name} changed", path, name, adapter, made_from, again))
    return sheets, changed


def _known_names(run: Run) -> dict[str, list[str]]:
    """What the teacher's labels of the training records name."""
    by_name = {task.name: task for task in run.tasks}
    train = {record.id for record in records_of(run.dir, "train")}
    labels = (row for row in read_rows(run.dir / "labels" / "labels.jsonl", Label) if row.record in train)
    return rule_baseline.known_names(
        (row.task, parse_answer(row.completion, by_name[row.task]) or ()) for row in labels if row.completion
    )
