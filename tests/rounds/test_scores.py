"""Signs of collapse, and the page of figures that are not there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chartdistill.curation.curate import curate
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.rounds.scores import Reference, variety
from chartdistill.schema import Item, Prediction, Record
from review_run import LABELS, RECORDS, TASKS, label, record, write_labels


def said(*items: str, usable: bool = True) -> Prediction:
    found = tuple(Item(text=text) for text in items) if usable else None
    return Prediction(key="", record="r", task="t", arm="round 1", completion="-", items=found)


def test_variety_counts_different_items_without_case_and_answers_without_any() -> None:
    found = variety([said("Aspirin", "iron"), said("aspirin"), said(), said(usable=False)])
    assert found == {"answers": 4, "items": 3, "distinct": 2 / 3, "none_found": 1 / 3, "unusable": 0.25}


def test_a_model_that_says_nothing_has_no_share_of_different_items() -> None:
    assert variety([said(), said()])["distinct"] is None
    assert variety([]) == {"answers": 0, "items": 0, "distinct": None, "none_found": None, "unusable": None}
    assert variety([said(usable=False)])["none_found"] is None


def test_only_records_with_gold_are_said_to_be_held_against_it(tmp_path: Path) -> None:
    """One chart of two was read by a person: the choice hangs on that one."""
    options = SimpleNamespace(seed=0, bootstrap_resamples=100)
    run: Any = SimpleNamespace(dir=tmp_path, tasks=TASKS, config=SimpleNamespace(evaluate=options))

    def reference(*validation: Record) -> tuple[str, set[str]]:
        write_labels(tmp_path, [*RECORDS, *validation], [*LABELS, label("f", "Yasadol | stop")])
        curate(tmp_path, TASKS, DEFAULT_FILTERS)
        found = Reference.of_run(run)
        return found.what, set(found.records)

    other = record("f", "validation")
    assert reference(other) == ("the teacher's labels that were kept", {"c", "f"})
    assert reference(other.model_copy(update={"gold": {"tests": ()}})) == ("gold", {"f"})
