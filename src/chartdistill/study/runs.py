"""The runs of a study: labels in four ways, and a student for each arm, size and seed.

In: the study's options and the base run. Out: run folders with labels, curated labels and adapters. Must hold: all
arms of a seed learn from the same records; what is finished is not done again, whatever the order of the rest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chartdistill.config import Run, load_run
from chartdistill.curation import Format
from chartdistill.errors import ChartDistillError, InputError
from chartdistill.prompting.answer_format import format_answer
from chartdistill.run_file import derive
from chartdistill.runtime.processes import end_with_parent
from chartdistill.runtime.run_folder import (
    MADE_BY,
    RowWriter,
    begin,
    fingerprint,
    is_done,
    link_folder,
    read_manifest,
    read_rows,
    require_manifest,
    write_manifest,
)
from chartdistill.schema import Label, Record, Task, content_hash
from chartdistill.study.imported import import_labels
from chartdistill.study.options import IMPORTED, LABELS_OF, Part, StudyConfig, parts_of
from chartdistill.study.records import draw, records_of, train_records

RunVerbs = Callable[[Path, str, str], None]
"""Runs the verbs from the first to the last of a config file."""
CHAIN = {"label": {"strategy": "chain", "strategy_by_task": {}}, "synthesize": None}
"""The teacher's arm is called after its strategy, so the study sets it, whatever the config says. All other runs of a
study are derived from this one; none of them learns from charts that a teacher writes, so none is written."""
DIRECT = {"label": {"strategy": "direct", "strategy_by_task": {}}}
LAST = {"keep": "last", "validation_passes": 0}
"""A student is its last state: to choose among states takes labels of other records, which would count as seen."""
LOG = "train.log"
_POLL_SECONDS = 0.2


def label_as(shared: Run, folder: Path, changes: Mapping[str, Any], splits: tuple[str, ...], run: RunVerbs) -> Run:
    """Label the records of some splits in another way; returns the run that did."""
    mark = fingerprint(require_manifest(shared.dir / "records", "prepare")["fingerprint"], splits)
    if not is_done(folder / "records", mark):
        started = begin(folder / "records")
        records = records_of(shared.dir, *splits)
        with RowWriter(folder / "records" / "records.jsonl") as out:
            out.write(*records)
        write_manifest(folder / "records", mark, started, counts={"kept": len(records)})
    config = derive(shared, folder, changes)
    run(config, "label", "label")
    return load_run(config)


def label_all(shared: Run, folder: Path, options: StudyConfig, run: RunVerbs) -> dict[str, Path]:
    """Whose labels -> the run folder that has them, for all that the arms learn from."""
    labels: dict[str, Path] = {"teacher": shared.dir}
    wanted = {LABELS_OF[arm][0] for arm in options.arms}
    if "self" in wanted:
        own = {"teacher": shared.config.student.model_dump(mode="json")}
        labels["self"] = label_as(shared, folder / "self", own, ("train",), run).dir
    labels |= imported_labels(shared, folder, options)
    if "gold" in wanted:
        labels["gold"] = write_gold_labels(shared, folder / "gold")
    return labels


def imported_labels(shared: Run, folder: Path, options: StudyConfig) -> dict[str, Path]:
    """The same for the labels of a file; nothing where no arm learns from one.

    Raises:
        ConfigError: a size asks for more records than the file has labels of.
        InputError: the file cannot be read, or no line of it can be used.
    """
    sizes = {part.size: LABELS_OF[part.arm][0] for part in parts_of(options) if LABELS_OF[part.arm][0] in IMPORTED}
    if options.imported is None or not sizes:
        return {}
    labels = import_labels(options.imported, shared, folder)
    train_records(labels[sizes[max(sizes)]], options, max(sizes))
    return labels


def write_gold_labels(shared: Run, folder: Path) -> Path:
    """Gold in the place of labels, for all training records that have it."""
    names = [task.name for task in shared.tasks]
    mark = fingerprint("gold", require_manifest(shared.dir / "records", "prepare")["fingerprint"], names)
    if not is_done(folder / "labels", mark):
        started = begin(folder / "labels")
        with RowWriter(folder / "labels" / "labels.jsonl") as out:
            for record in records_of(shared.dir, "train"):
                out.write(*_gold_labels(record, shared.tasks))
        write_manifest(folder / "labels", mark, started, **{MADE_BY: "study"})
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


def make_students(
    options: StudyConfig, shared: Run, labels: Mapping[str, Path], folder: Path, run: RunVerbs
) -> dict[str, str]:
    """Curate and train every part that is not done; returns the parts that could not be trained, with why.

    Such a part (no label left, loss not finite, killed for memory) does not stop the others.
    """
    learned = train_records(shared.dir, options)
    failed: dict[str, str] = {}
    configs: dict[str, Path] = {}
    for part in parts_of(options):
        home, whose = folder / "parts" / part.name, LABELS_OF[part.arm][0]
        try:
            own = train_records(labels[whose], options, part.size) if whose in IMPORTED else learned
            records = (labels[whose] if whose in IMPORTED else shared.dir) / "records"
            configs[part.name] = _curate(
                part, shared, records, labels[whose], home, draw(own, part.size, part.seed), run
            )
        except InputError as error:
            failed[part.name] = str(error)
    return failed | train_students(configs, options.jobs, run)


def _curate(
    part: Part, shared: Run, records: Path, labels: Path, home: Path, chosen: frozenset[str], run: RunVerbs
) -> Path:
    """Give a part its records and labels and curate them; returns its config."""
    filters: list[Any] = [Format()]
    if LABELS_OF[part.arm][1]:
        # A run stops when a filter rejects nearly everything; for a study that is a finding, and it goes on.
        filters = [one.model_copy(update={"max_rejected_fraction": 1.0}) for one in shared.config.filters]
    changes = {"train": {"seed": part.seed, **LAST}, "filters": [one.model_dump(mode="json") for one in filters]}
    config = derive(shared, home, changes)
    link_folder(home / "records", records)
    _take_labels(labels, home / "labels", chosen)
    run(config, "curate", "curate")
    return config


def _take_labels(source: Path, target: Path, chosen: frozenset[str]) -> None:
    """Copy the labels of the chosen records."""
    mark = fingerprint(require_manifest(source / "labels", "label")["fingerprint"], sorted(chosen))
    if is_done(target, mark):
        return
    started = begin(target)
    with RowWriter(target / "labels.jsonl") as out:
        for label in read_rows(source / "labels" / "labels.jsonl", Label):
            if label.record in chosen:
                out.write(label)
    write_manifest(target, mark, started, counts={"records": len(chosen)}, **{MADE_BY: "study"})


def _mark(config: Path) -> str:
    """What a part's adapter depends on. A finished part is known by it without starting a process."""
    run = load_run(config)
    curated = require_manifest(run.dir / "curated", "curate")["fingerprint"]
    options = run.config.model_dump(mode="json", exclude={"gates", "report", "rounds"})  # which no adapter depends on
    return fingerprint(curated, options, run.model_mark("student"))


def _adapter(home: Path) -> str | None:
    return (read_manifest(home / "adapter") or {}).get("fingerprint")


def train_students(configs: Mapping[str, Path], jobs: int, run: RunVerbs) -> dict[str, str]:
    """Train the students of these configs that are not done, so many at once; returns those that failed, with why."""
    missing: dict[str, tuple[Path, str]] = {}
    for name, config in configs.items():
        home, mark = config.parent, _mark(config)
        if not (is_done(home, mark) and _adapter(home) == (read_manifest(home) or {}).get("adapter")):
            missing[name] = (config, mark)
    failed: dict[str, str] = {}
    trained = _train_beside(missing, jobs) if jobs > 1 else _train_in_turn(missing, run)
    for number, (name, seconds, error) in enumerate(trained, 1):
        config, mark = missing[name]
        if error is None:
            started = time.monotonic() - seconds
            write_manifest(config.parent, mark, started, adapter=_adapter(config.parent))
        else:
            failed[name] = error
        print(f"study: {number}/{len(missing)} students, {name} {error or f'{seconds:.0f} s'}", file=sys.stderr)
    return failed


_Trained = Iterable[tuple[str, float, str | None]]
"""(part, seconds, why it failed)."""


def _train_in_turn(missing: Mapping[str, tuple[Path, str]], run: RunVerbs) -> _Trained:
    for name, (config, _) in missing.items():
        begun = time.monotonic()
        error = None
        try:
            run(config, "train", "train")
        except ChartDistillError as problem:  # whatever it is: in a process of its own it would stop this part alone
            error = str(problem)
        yield name, time.monotonic() - begun, error


def _train_beside(missing: Mapping[str, tuple[Path, str]], jobs: int) -> _Trained:
    """So many at once, each in a process of its own with its share of the cores; what it says goes to its log."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    surroundings = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    waiting = [(name, config) for name, (config, _) in missing.items()]
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name, config = waiting.pop(0)
                with (config.parent / LOG).open("wb") as log:
                    child = subprocess.Popen(
                        [sys.executable, "-m", "chartdistill", "train", str(config), "--quiet"],
                        env=surroundings, stdout=log, stderr=log, preexec_fn=end_with_parent,
                    )  # fmt: skip
                running[name] = (child, time.monotonic())
            ended = [name for name, (child, _) in running.items() if child.poll() is not None]
            for name in ended:
                child, begun = running.pop(name)
                yield name, time.monotonic() - begun, _why(missing[name][0].parent / LOG, child.returncode)
            if not ended:
                time.sleep(_POLL_SECONDS)
    finally:
        for child, _ in running.values():
            child.terminate()
            child.wait()


def _why(log: Path, code: int) -> str | None:
    """Why a training failed: the last line it wrote; None when it did not."""
    if code == 0:
        return None
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return (lines[-1].removeprefix("chartdistill: ") if lines else "it said nothing") + f" (exit code {code})"
