"""`study`: what is learned from whom, with which filter, from how much; and does it matter? One folder, one report.

    <run_dir>/
      teacher/  direct/  self/  gold/    runs that end at `label`: the chain, the consolidated question, the student's
                                         own labels, and gold in the place of labels
      parts/<arm>-n<size>-s<seed>/       a run each: labels of so many training records -> curate -> train
      predictions/<part>.jsonl           answers of every arm on the test records, one engine life for all
      study.json  study.md  study.html

Every part is a run of the ordinary verbs with a config of its own beside it, so any of them can be looked at or run
again by hand. What is finished is not done again; a kill at any point loses what was under way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chartdistill import rules
from chartdistill.answers import format_answer, parse_answer
from chartdistill.config import Run, load_run
from chartdistill.errors import ConfigError, InputError, TrainingError
from chartdistill.evaluate import VARIANTS, held_out_records, intervention_options, teacher_predictions
from chartdistill.filters import Format
from chartdistill.interventions import askings, write_variants
from chartdistill.pipeline import ChildError, run_all
from chartdistill.progress import StageBar
from chartdistill.report_pages.study_page import render_study_markdown, render_study_page
from chartdistill.schema import Label, Prediction, Record, Task, content_hash
from chartdistill.sheets import Question, Sheet, ask_sheets, plain_questions, stored_answers
from chartdistill.store import (
    RowWriter,
    begin,
    fingerprint,
    is_done,
    make_folder,
    read_manifest,
    read_rows,
    require_manifest,
    write_manifest,
    write_text,
)
from chartdistill.study_scores import score_study

TrainedArm = Literal["distilled_raw", "distilled_filtered", "self_raw", "self_filtered", "gold_trained"]
LABELS_OF: dict[TrainedArm, tuple[str, bool]] = {
    "distilled_raw": ("teacher", False),
    "distilled_filtered": ("teacher", True),
    "self_raw": ("self", False),
    "self_filtered": ("self", True),
    "gold_trained": ("gold", False),
}
"""Arm -> (whose labels, whether they go through the config's filters). Raw labels must only follow the format."""

Answers = dict[str, list[Prediction]]
"""Arm -> its answers."""
RunVerbs = Callable[[Path, str, str], None]
"""Runs the verbs from the first to the last of a config file."""


class StudyConfig(BaseModel):
    """A study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the study in its report."""
    config: Path
    """The run that everything is derived from, relative to this file."""
    run_dir: Path
    """Where everything is written, relative to the current folder."""
    sizes: tuple[int, ...] = Field(min_length=1)
    """Training records of the learning curve; the largest is the size arms are compared at."""
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1)
    """Each draws its own training records and its own order of training."""
    arms: tuple[TrainedArm, ...] = tuple(LABELS_OF)
    """Arms trained at the largest size, with every seed."""
    curve: tuple[TrainedArm, ...] = ("distilled_filtered",)
    """Arms of `arms` trained at every size."""


@dataclass(frozen=True)
class Part:
    """One student to train."""

    arm: TrainedArm
    size: int
    seed: int

    @property
    def name(self) -> str:
        """Folder of the part, and its arm in the predictions."""
        return f"{self.arm}-n{self.size}-s{self.seed}"


def load_study(path: Path) -> StudyConfig:
    """Read a study's YAML file.

    Raises:
        ConfigError: naming file, option and what is wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        study = StudyConfig.model_validate(values)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    if stray := set(study.curve) - set(study.arms):
        raise ConfigError(f"{path}: curve names {', '.join(sorted(stray))}, which `arms` does not.")
    return study.model_copy(update={"config": path.resolve().parent / study.config})


def parts_of(study: StudyConfig) -> list[Part]:
    """All students of a study, the largest first: those answer most questions."""
    largest = max(study.sizes)
    compared = [Part(arm, largest, seed) for seed in study.seeds for arm in study.arms]
    curve = [
        Part(arm, size, seed)
        for size in sorted(set(study.sizes), reverse=True)
        for seed in study.seeds
        for arm in study.curve
    ]
    return list(dict.fromkeys([*compared, *curve]))


def run_verbs(config: Path, first: str, last: str) -> None:
    """The verbs of a config file, heavy ones in processes of their own."""
    run_all(load_run(config), [str(config)], first, last)


def study(path: Path, run: RunVerbs = run_verbs) -> dict[str, Any]:
    """Run a study and write its report; returns the figures.

    A part that cannot be trained (no label left, loss not finite) is reported as such and the others go on.

    Raises:
        ConfigError: the study's or the run's config is wrong, or asks for more records than there are.
    """
    options = load_study(path)
    folder = make_folder(options.run_dir)
    base = _derive(load_run(options.config), folder / "teacher", {})
    run(base, "prepare", "label")
    shared = load_run(base)
    learned = _train_records(shared, options)
    direct = _label_as(shared, folder / "direct", {"label": {"strategy": "direct"}}, ("test",), run)
    labels: dict[str, Path] = {"teacher": shared.dir}
    if any(LABELS_OF[arm][0] == "self" for arm in options.arms):
        own = {"teacher": shared.config.student.model_dump(mode="json")}
        labels["self"] = _label_as(shared, folder / "self", own, ("train", "validation"), run)
    if any(LABELS_OF[arm][0] == "gold" for arm in options.arms):
        labels["gold"] = _write_gold_labels(shared, folder / "gold")
    failed: dict[str, str] = {}
    for part in parts_of(options):
        try:
            _train_part(part, shared, labels[LABELS_OF[part.arm][0]], folder / "parts" / part.name, learned, run)
        except (InputError, TrainingError, ChildError) as error:
            failed[part.name] = str(error)
    answers, changed = _predict(options, shared, direct, folder, failed)
    figures = score_study(answers, changed, shared, options.model_dump(mode="json"), failed)
    for name, text in (
        ("study.json", json.dumps(figures, indent=1, allow_nan=False, default=str) + "\n"),
        ("study.md", render_study_markdown(figures)),
        ("study.html", render_study_page(figures)),
    ):
        write_text(folder / name, text)
    return figures


def _derive(run: Run, folder: Path, changes: Mapping[str, Any]) -> Path:
    """A config file in `folder`: the run's, with absolute paths and the changes (one level deep)."""
    values = run.config.model_dump(mode="json", exclude_none=True)
    for section, change in changes.items():
        values[section] = {**values[section], **change} if isinstance(change, dict) else change
    values["run_dir"] = str(folder.resolve())
    values["tasks"] = [str((run.base / task).resolve()) for task in run.config.tasks]
    for role in ("teacher", "student"):
        near = run.base / values[role]["model"]
        values[role]["model"] = str(near.resolve()) if near.is_dir() else values[role]["model"]
    make_folder(folder)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    path = folder / "config.yaml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path


def _train_records(run: Run, options: StudyConfig) -> list[str]:
    records = read_rows(run.dir / "records" / "records.jsonl", Record)
    learned = [record.id for record in records if record.split == "train"]
    if len(learned) < max(options.sizes):
        raise ConfigError(
            f"sizes asks for {max(options.sizes)} training records; {run.dir / 'records'} has {len(learned)}. Lower "
            "the sizes, or give more records."
        )
    return learned


def _share_records(shared: Run, folder: Path) -> None:
    """The shared records under a part's folder; nothing is copied."""
    link = make_folder(folder) / "records"
    if not link.exists():
        link.symlink_to((shared.dir / "records").resolve(), target_is_directory=True)


def _label_as(shared: Run, folder: Path, changes: Mapping[str, Any], splits: tuple[str, ...], run: RunVerbs) -> Path:
    """A run that labels the records of some splits in another way; returns its folder."""
    records = [r for r in read_rows(shared.dir / "records" / "records.jsonl", Record) if r.split in splits]
    mark = fingerprint(require_manifest(shared.dir / "records", "prepare")["fingerprint"], splits)
    if not is_done(folder / "records", mark):
        started = begin(folder / "records")
        with RowWriter(folder / "records" / "records.jsonl") as out:
            out.write(*records)
        write_manifest(folder / "records", mark, started, counts={"kept": len(records)})
    run(_derive(shared, folder, changes), "label", "label")
    return folder


def _write_gold_labels(shared: Run, folder: Path) -> Path:
    """Gold in the place of labels, for all records that have it."""
    mark = fingerprint("gold", require_manifest(shared.dir / "records", "prepare")["fingerprint"])
    if not is_done(folder / "labels", mark):
        started = begin(folder / "labels")
        with RowWriter(folder / "labels" / "labels.jsonl") as out:
            for record in read_rows(shared.dir / "records" / "records.jsonl", Record):
                out.write(*_gold_labels(record, shared.tasks))
        write_manifest(folder / "labels", mark, started)
    return folder


def _gold_labels(record: Record, tasks: Sequence[Task]) -> list[Label]:
    return [
        Label(
            key=content_hash("gold", record.id, task.name),
            record=record.id,
            task=task.name,
            strategy="gold",
            completion=format_answer(record.gold[task.name]),
            finish_reason="stop",
        )
        for task in tasks
        if record.gold is not None and task.name in record.gold
    ]


def _train_part(part: Part, shared: Run, labels: Path, folder: Path, learned: Sequence[str], run: RunVerbs) -> None:
    """Labels of the part's records -> curate -> train."""
    changes: dict[str, Any] = {"train": {"seed": part.seed}}
    if not LABELS_OF[part.arm][1]:
        changes["filters"] = [Format().model_dump(mode="json")]
    config = _derive(shared, folder, changes)
    _share_records(shared, folder)
    _take_labels(labels, folder / "labels", draw(learned, part.size, part.seed), shared)
    run(config, "curate", "train")


def draw(records: Sequence[str], size: int, seed: int) -> frozenset[str]:
    """So many of the records, drawn by hash: a smaller draw of the same seed is part of a larger one."""
    return frozenset(sorted(records, key=lambda name: content_hash(seed, name))[:size])


def _take_labels(source: Path, target: Path, chosen: frozenset[str], shared: Run) -> None:
    """Copy the labels of the chosen training records and of all validation records."""
    mark = fingerprint(require_manifest(source / "labels", "label")["fingerprint"], sorted(chosen))
    if is_done(target, mark):
        return
    started = begin(target)
    records = read_rows(shared.dir / "records" / "records.jsonl", Record)
    wanted = chosen | {record.id for record in records if record.split == "validation"}
    with RowWriter(target / "labels.jsonl") as out:
        for label in read_rows(source / "labels" / "labels.jsonl", Label):
            if label.record in wanted:
                out.write(label)
    write_manifest(target, mark, started, counts={"records": len(chosen)})


def _predict(
    options: StudyConfig, shared: Run, direct: Path, folder: Path, failed: Mapping[str, str]
) -> tuple[Answers, Answers]:
    """Arm -> answers to the test records, and arm -> answers to some of them in changed form.

    The teacher's arms are its labels; all students are asked in one engine life, the changed records those of the
    largest size and the first seed only.
    """
    split, changes = shared.config.evaluate.split, intervention_options(shared)
    records = [r for r in read_rows(shared.dir / "records" / "records.jsonl", Record) if r.split == split]
    wanted = {record.id for record in records}
    answers: Answers = {}
    for arm, run_dir in (("teacher_chain", shared.dir), ("teacher_direct", direct)):
        labels = [r for r in read_rows(run_dir / "labels" / "labels.jsonl", Label) if r.record in wanted]
        answers[arm] = [row.model_copy(update={"arm": arm}) for row in teacher_predictions(labels, shared.tasks)]
    again: list[Question] = []
    if changes.records:
        known = {(row.record, row.task): row for row in answers["teacher_chain"]}
        variants = write_variants(folder / VARIANTS, records, shared.tasks, known, changes)
        made = askings(variants, {record.id: record for record in records}, shared.tasks, changes)
        again = [(one.record, one.task, one.temperature) for one in made]
    plain = plain_questions(records, shared.tasks)
    adapters: list[tuple[str, Path | None, bool]] = [("base", None, True)]
    for part in parts_of(options):
        if part.name not in failed:
            held_out_records(folder / "parts" / part.name, split)
            first = part.size == max(options.sizes) and part.seed == options.seeds[0]
            adapters.append((part.name, folder / "parts" / part.name / "adapter", first))
    sheets = []
    for arm, adapter, first in adapters:
        made_from = None if adapter is None else (read_manifest(adapter) or {}).get("fingerprint")
        sheets.append(Sheet(arm, folder / "predictions" / f"{arm}.jsonl", arm, adapter, made_from, plain))
        if again and first:
            path = folder / VARIANTS / f"{arm}.jsonl"
            sheets.append(Sheet(f"{arm} changed", path, arm, adapter, made_from, again))
    with StageBar("study", unit="records") as bar:
        ask_sheets(shared, sheets, bar)
    answers |= {sheet.arm: stored_answers(sheet.path) for sheet in sheets if sheet.questions is plain}
    answers[rules.ARM] = rules.predict_by_rules(records, shared.tasks, _known_names(shared))
    return answers, {sheet.arm: stored_answers(sheet.path) for sheet in sheets if sheet.questions is again}


def _known_names(run: Run) -> dict[str, list[str]]:
    """What the teacher's labels of the training records name."""
    by_name = {task.name: task for task in run.tasks}
    train = {r.id for r in read_rows(run.dir / "records" / "records.jsonl", Record) if r.split == "train"}
    labels = (row for row in read_rows(run.dir / "labels" / "labels.jsonl", Label) if row.record in train)
    return rules.known_names(
        (row.task, parse_answer(row.completion, by_name[row.task]) or ()) for row in labels if row.completion
    )
