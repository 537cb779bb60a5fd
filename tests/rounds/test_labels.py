"""Which labels a round asks its student for, on a run folder written here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chartdistill.curation.curate import curate
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.labelling import read_rationales
from chartdistill.rounds.labels import make_labels, rejected_questions
from chartdistill.runtime.run_folder import read_rows, write_text
from chartdistill.schema import Label, Prediction, Thought, ThoughtRow
from review_run import LABELS, TASKS, decide, decision, make_run


def test_what_a_person_rejected_is_no_question_of_the_next_round(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(dir=make_run(tmp_path / "run"), tasks=TASKS)

    def asked() -> set[tuple[str, str]]:
        return {(record.id, task.name) for record, task, _ in rejected_questions(run)}

    before = asked()
    assert ("b", "medication") in before
    decide(run.dir, decision(LABELS[0], None), decision(LABELS[2], None))
    curate(run.dir, TASKS, DEFAULT_FILTERS)
    assert asked() == before - {("b", "medication")}, "neither what filters kept nor what they had rejected"


def test_the_rationales_of_labels_are_handed_on_with_them(tmp_path: Path) -> None:
    """What was thought before a label that is asked again goes with it; the examples of all others keep theirs."""
    before, home = make_run(tmp_path / "run"), tmp_path / "run/rounds/1"
    labels = list(read_rows(before / "labels/labels.jsonl", Label))
    questions = {task.name: task.question for task in TASKS}
    lines = []
    for label in labels:
        said = (Thought(question=questions[label.task], text=f"About {label.key}.", tokens=3),)
        lines.append(ThoughtRow(key=label.key, record=label.record, task=label.task, thoughts=said).line() + "\n")
    write_text(before / "labels/thoughts.jsonl", "".join(lines))
    answer = Prediction(key="x", record="b", task="medication", arm="round 0", completion="None found", items=())
    make_labels(before, home, [answer], 1, rationales=True)
    thought = dict(read_rationales(home / "labels", {task.name: task for task in TASKS}))
    kept = [row.key for row in labels if (row.record, row.task) != ("b", "medication")]
    assert thought == {key: f"About {key}." for key in kept} and len(kept) < len(labels)
    make_labels(before, tmp_path / "run/rounds/2", [answer], 1)
    assert not (tmp_path / "run/rounds/2/labels/thoughts.jsonl").exists(), "words of charts that nobody reads"
