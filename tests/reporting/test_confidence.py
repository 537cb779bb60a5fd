"""What the pages say of confidence: the figures that were measured, and in words what was not reached or not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chartdistill.evaluation import AGREES, Confidence, Scores
from chartdistill.metrics.reliability import JudgedItems, reliability, threshold_for
from chartdistill.reporting.confidence import NOT_ASKED, confidence_part
from chartdistill.reporting.report import report
from report_run import TASKS, write_run


def measured(top: float = 0.99, seed: int = 1, n: int = 300, **more: Any) -> Confidence:
    """Items that are right with their probability, up to `top`."""
    generator = np.random.default_rng(seed)

    def items() -> JudgedItems:
        probabilities = generator.beta(9, 0.6, n) * top
        return JudgedItems(probabilities, generator.random(n) < probabilities, [f"c{i // 3}" for i in range(n)])

    threshold, scored = threshold_for(items(), 0.95), items()
    figures = reliability(scored, scored.probabilities**2, threshold, resamples=200)
    values: dict[str, Any] = {
        "meaning": "right", "score": "sum", "curves": {"all": "platt"}, "threshold": threshold,
        "validation": {"records": 100, "clusters": 100, "items": n, "right": n - 40},
        "tasks": {"all": figures, "medication": figures}, "seconds": 4.2,
    }  # fmt: skip
    return Confidence(**{**values, **more})


def scores(found: Confidence | None) -> Scores:
    return Scores(gold={}, arms={}, costs={}, confidence=found)


def test_what_is_reached_is_said_with_interval_and_n() -> None:
    part = confidence_part(scores(measured()))
    first = part.sentences[0]
    assert first.startswith("At 95% precision the student answers for ")
    assert "the rest goes to review" in first and "chosen on the validation records" in first and "n 300" in first
    assert part.table is not None and [row.label for row in part.table.rows] == ["All tasks", "medication"]
    assert part.reliability_plot is not None and part.coverage_plot is not None
    assert str(part.reliability_plot).count('class="point"') == 10


def test_what_is_not_reached_is_said_in_words() -> None:
    part = confidence_part(scores(measured(top=0.8)))
    assert "At no confidence do the validation records show that 95% of the items are right" in part.sentences[0]
    assert part.table is not None and {cell.note for row in part.table.rows for cell in row.cells[-2:]} == {
        "no threshold"
    }
    assert '<circle class="point"' not in str(part.coverage_plot)


def test_a_precision_below_the_wanted_one_is_called_so() -> None:
    generator = np.random.default_rng(3)
    sure = JudgedItems(np.full(200, 0.97), generator.random(200) < 0.7, [f"c{i}" for i in range(200)])
    found = measured(threshold=0.96, tasks={"all": reliability(sure, sure.probabilities, 0.96, resamples=200)})
    assert confidence_part(scores(found)).sentences[0].endswith("That is below 95%.")
    nobody = measured(threshold=0.99, tasks={"all": reliability(sure, sure.probabilities, 0.99, resamples=200)})
    assert "no item of the scored records is that sure" in confidence_part(scores(nobody)).sentences[0]


def test_agreement_with_the_teacher_is_never_called_right() -> None:
    part = confidence_part(scores(measured(meaning=AGREES)))
    assert part.table is not None
    told = " ".join([*part.sentences, part.table.meaning, *part.table.columns, str(part.reliability_plot)])
    assert "right" not in told.replace("how often the teacher is right", "").replace("text-anchor", "")
    assert "in agreement with the teacher" in part.sentences[0]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, NOT_ASKED),
        (Confidence(absent="there are no validation records"), "there are no validation records"),
        (measured(left_out={"prognosis": 4}), "under ten items on the validation records: prognosis (4)"),
        (measured(without=7), "7 items of the scored records have no confidence"),
        (measured(without=7), "of its items that have a confidence, the rest goes to review"),
        (measured(), "of its items, the rest goes to review"),
        (
            measured(validation={"records": 9, "clusters": 9, "items": 40, "right": 40}),
            "items 0 were not right: too few",
        ),
        (measured(validation={"records": 9, "clusters": 9, "items": 40, "right": 3}), "items 3 were right: too few"),
    ],
)
def test_what_is_missing_is_named(found: Confidence | None, said: str) -> None:
    assert said in " ".join(confidence_part(scores(found)).sentences)


def test_without_what_it_takes_to_judge_an_item_nothing_is_claimed() -> None:
    none = JudgedItems(np.array([]), np.array([], dtype=bool), [])
    part = confidence_part(scores(measured(tasks={"all": reliability(none, none.probabilities, 0.9)})))
    assert "how far it holds was not measured" in part.sentences[0] and part.table is None


@pytest.mark.parametrize("top", [0.99, 0.8, None])
def test_all_pages_of_a_report_have_it(tmp_path: Path, top: float | None) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "predictions" / "scores.json"
    found = Confidence(absent="there are none <b>") if top is None else measured(top)
    path.write_text(json.dumps({**json.loads(path.read_text()), "confidence": found.model_dump(mode="json")}))
    report(folder, TASKS, "Sure")
    first = confidence_part(scores(found)).sentences[0]
    pages = {name: (folder / "report" / name).read_text() for name in ("report.json", "report.md", "report.html")}
    assert json.loads(pages["report.json"])["confidence"] == found.model_dump(mode="json")
    assert "How sure it is of an item" in pages["report.md"]
    assert first.replace("<", "&lt;") in pages["report.md"]
    assert first.replace("<", "&lt;").replace(">", "&gt;") in pages["report.html"]
    assert 'id="confidence"' in pages["report.html"] and 'href="#confidence-in"' in pages["report.html"]
    assert ("Share right by confidence" in pages["report.html"]) is (top is not None)


def test_a_run_of_an_earlier_version_says_that_it_was_not_asked(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    report(folder, TASKS, "Old")
    assert NOT_ASKED in (folder / "report" / "report.html").read_text()
    assert json.loads((folder / "report" / "report.json").read_text())["confidence"] is None
