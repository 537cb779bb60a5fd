"""`rounds`: can a student teach what its teacher could not? Round after round in one folder.

    <run_dir>/                 round 0: the run itself, up to `train`
    <run_dir>/rounds/<k>/      round k, a run folder of its own (config.yaml beside it), for every verb
        labels/                those of the round before; where one was rejected, what its student answers
        curated/ adapter/      the same filters, and a student trained from the same start
    <run_dir>/rounds/<k>/answers/   what the student of round k says of validation and held-out records, and of what
                                    was rejected in its round
    <run_dir>/rounds/          rounds.json  rounds.md

It ends when the answers to validation records no longer gain, when nothing is rejected, when no filter keeps more, or
after the config's `rounds`. Held-out records are scored at the end, and decide nothing. What is finished is not done
again; a kill loses what was under way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chartdistill.config import Run, load_run
from chartdistill.errors import ConfigError
from chartdistill.evaluation.evaluate import held_out_records
from chartdistill.evaluation.generation import (
    Question,
    Sheet,
    ask_sheets,
    plain_questions,
    stored_answers,
    whose_answers,
)
from chartdistill.pipeline import run_all
from chartdistill.reporting.rounds_page import render_rounds
from chartdistill.rounds.labels import make_labels, num_kept, rejected_questions, take_decisions
from chartdistill.rounds.scores import Reference, RoundAnswers, score_rounds
from chartdistill.run_file import derive
from chartdistill.runtime.progress import StageBar
from chartdistill.runtime.run_folder import link_folder, make_folder, write_text
from chartdistill.runtime.run_locks import lock
from chartdistill.schema import Prediction

RunVerbs = Callable[[Run, str, str], None]
"""Runs the verbs from the first to the last."""


def rounds(run: Run, run_verbs: RunVerbs = run_all) -> dict[str, Any]:
    """All rounds of a run; writes rounds.json and rounds.md, and returns the figures.

    Raises:
        ConfigError: `rounds` is 0, or the run scores on its validation records, which choose here.
        InputError: no validation record has gold or a label that was kept; and as the verbs raise.
        ArtefactError: another process is writing to the folder.
    """
    _require_rounds(run)
    folder = make_folder(run.dir / "rounds")
    with lock(folder):
        run_verbs(run, "prepare", "train")
        reference = Reference.of_run(run)
        done = [_ask(run, 0, run, folder)]
        kept = [num_kept(run.dir)]
        ended = f"the {run.config.rounds} rounds of the config are over"
        for number in range(1, run.config.rounds + 1):
            before = done[-1]
            if not before.rejected:
                ended = f"round {number - 1} rejected nothing"
                break
            home = _home(run, folder, number)
            make_labels(before.run.dir, home.dir, before.rejected, number, run.config.label.gives_rationales)
            run_verbs(home, "curate", "curate")
            kept.append(num_kept(home.dir))
            if kept[-1] <= kept[-2]:
                ended = f"the filters kept no more labels in round {number} than before ({kept[-1]:,})"
                break
            run_verbs(home, "train", "train")
            done.append(_ask(home, number, run, folder))
            gain = reference.gain(done[-1].validation, done[-2].validation)
            _say(number, kept, gain, reference)
            if gain <= 0:
                ended = f"round {number} gained nothing on validation records"
                break
        figures = score_rounds(run, done, kept, reference, ended)
        write_text(folder / "rounds.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
        write_text(folder / "rounds.md", render_rounds(figures))
    chosen = done[figures["chosen"]].run.dir
    print(f"ended: {ended}. Chosen by validation records: round {figures['chosen']}, {chosen}")
    print(f"report: {folder / 'rounds.md'}")
    return figures


def _require_rounds(run: Run) -> None:
    if not run.config.rounds:
        raise ConfigError("rounds: 0, so there is nothing to do. Set `rounds: 3` in the config: three rounds at most.")
    if run.config.evaluate.split == "validation":
        raise ConfigError(
            "evaluate.split is `validation`, and rounds are chosen by validation records: they would be scored on what "
            "they were chosen by. Set evaluate.split: test."
        )


def _home(run: Run, folder: Path, number: int) -> Run:
    """The run of a round, with the records and the decisions of people of the first one."""
    home = folder / str(number)
    made = load_run(derive(run, home, {"rounds": 0}))
    link_folder(home / "records", run.dir / "records")
    take_decisions(run.dir, home)
    return made


def _ask(home: Run, number: int, run: Run, folder: Path) -> RoundAnswers:
    """The student of a round on validation and held-out records, and on what its round rejected: one engine life."""
    held_out, _ = held_out_records(home.dir, run.config.evaluate.split, run.tasks)  # refuses a student that saw one
    questions: dict[str, list[Question]] = {
        "validation": plain_questions(Reference.records_of(run), run.tasks),
        "held_out": plain_questions(held_out, run.tasks),
        "rejected": rejected_questions(home),
    }
    adapter, answers = home.dir / "adapter", make_folder(folder / str(number) / "answers")
    made_from = whose_answers(adapter)
    sheets = {
        name: Sheet(f"round {number} {name}", answers / f"{name}.jsonl", f"round {number}", adapter, made_from, asked)
        for name, asked in questions.items()
    }
    with StageBar(f"round {number}", unit="records") as bar:
        seconds = ask_sheets(home, list(sheets.values()), bar)
    said: dict[str, list[Prediction]] = {name: stored_answers(sheet.path) for name, sheet in sheets.items()}
    return RoundAnswers(home, number, said["validation"], said["held_out"], said["rejected"], seconds)


def _say(number: int, kept: list[int], gain: float, reference: Reference) -> None:
    print(
        f"round {number}: {kept[-1] - kept[-2]:,} more labels kept ({kept[-1]:,}); joint F1 of validation records "
        f"against {reference.what} {gain:+.3f}",
        file=sys.stderr,
    )
