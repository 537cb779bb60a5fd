"""`study`: what is learned from whom, with which filter, from how much; and does it matter? One folder, one report.

    <run_dir>/
      teacher/  direct/  self/  gold/    runs that end at `label`: the chain, the consolidated question, the student's
                                         own labels, and gold in the place of labels
      imported/  audited/                the same of an API version's file, with charts of their own
      parts/<arm>-n<size>-s<seed>/       a run each: labels of so many training records -> curate -> train
      predictions/<part>.jsonl           answers of every arm on the test records, one engine life for all
      variants/                          test records in changed form, and the answers of some arms to them
      memorisation/                      one more student, trained on planted canaries
      study.json  study.md  study.html

Every part is a run of the ordinary verbs with a config of its own beside it, so any of them can be looked at or run
again by hand. What is finished is not done again; a kill at any point loses what was under way.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chartdistill.config import Run, load_run
from chartdistill.errors import ConfigError
from chartdistill.pipeline import run_all
from chartdistill.reporting.study_page import render_study_markdown, render_study_page
from chartdistill.run_file import derive
from chartdistill.runtime.run_folder import make_folder, write_text
from chartdistill.runtime.run_locks import lock
from chartdistill.study.imported import import_counts
from chartdistill.study.memorisation import Planted, measure, plant_and_train
from chartdistill.study.options import StudyConfig, load_study, parts_of
from chartdistill.study.predictions import predict
from chartdistill.study.records import held_out, train_records
from chartdistill.study.runs import CHAIN, DIRECT, RunVerbs, imported_labels, label_all, label_as, make_students
from chartdistill.study.scores import score_study


def run_verbs(config: Path, first: str, last: str) -> None:
    """The verbs of a config file, heavy ones in processes of their own."""
    run_all(load_run(config), first, last, apart=True)


def study(path: Path, run: RunVerbs = run_verbs) -> dict[str, Any]:
    """Run a study and write its report; returns the figures.

    A part that cannot be trained (no label left, loss not finite) is reported as such and the others go on.

    Raises:
        ConfigError: the study's or the run's config is wrong, or asks for more records than there are.
        ArtefactError: another process is writing to the study's folder.
    """
    options = load_study(path)
    folder = make_folder(options.run_dir)
    with lock(folder):
        base = derive(_asked_run(options), folder / "teacher", CHAIN)
        shared = load_run(base)
        with _said("records", folder):
            run(base, "prepare", "prepare")
            train_records(shared.dir, options)  # too few: said now, not after an hour of labelling
            imported_labels(shared, folder, options)  # the same
            held_out(shared, options)
        with _said("labels", folder):
            run(base, "label", "label")
            direct = label_as(shared, folder / "direct", DIRECT, (shared.config.evaluate.split,), run)
            labels = label_all(shared, folder, options, run)
        with _said(f"{len(parts_of(options))} students", folder):
            failed = make_students(options, shared, labels, folder, run)
        planted = None
        if options.canaries is not None:
            with _said("canaries", folder):
                planted = plant_and_train(options, shared, folder, failed, run)
            if isinstance(planted, str):
                print(f"study: no canaries: {planted}", file=sys.stderr)
        with _said("answers", folder):
            more = planted.sheets() if isinstance(planted, Planted) else ()
            answers = predict(options, shared, direct, folder, failed, more)
        with _said("scores", folder):
            beside = {"memorisation": measure(planted, answers.plain, shared), "imported": import_counts(labels)}
            figures = score_study(answers, shared, options, folder, failed, beside)
        for name, text in (
            ("study.json", json.dumps(figures, indent=1, allow_nan=False, default=str) + "\n"),
            ("study.md", render_study_markdown(figures)),
            ("study.html", render_study_page(figures)),
        ):
            write_text(folder / name, text)
    for entry in figures["answers"]:
        print(f"{entry['question']} {entry['verdict']}")
    print(f"report: {folder / 'study.html'}")
    return figures


def _asked_run(options: StudyConfig) -> Run:
    """The run that everything is derived from.

    Raises:
        ConfigError: it has no teacher that could be asked.
    """
    run = load_run(options.config)
    if run.teacher_labels is not None:
        raise ConfigError(
            "teacher.labels: a study asks its teacher in several ways, so its config needs teacher.model; labels that "
            "exist come in as `imported:` of the study."
        )
    return run


@contextmanager
def _said(part: str, folder: Path) -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"study: {part} done in {time.monotonic() - begun:.0f} s ({folder})", file=sys.stderr)
