"""Which labels a round asks its student for, on a run folder written here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chartdistill.curation.curate import curate
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.rounds.labels import rejected_questions
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
