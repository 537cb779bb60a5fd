"""Report tables of changed charts, gates and leaks: consistency is never shown without correctness, leaks are loud."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chartdistill.evaluation.scores import Overlap
from chartdistill.metrics.significance import PValue
from chartdistill.reporting.findings import state_findings
from chartdistill.reporting.report import report
from chartdistill.reporting.robustness import changed_claims, consistency_tables, effect_tables, overlap_limits
from chartdistill.reporting.run_results import RunResults, read_results
from chartdistill.runtime.run_folder import write_text
from report_run import TASKS, invent_scores, write_run

OVERLAP: dict[str, Any] = {
    "trained": 36, "scored": 24, "same_id": 0, "same_cluster": 0, "same_text": 0, "near_duplicates": 2,
    "largest_share": 0.84,
    "longest_run": {
        "words": 31, "scored_record": "chart-003", "trained_record": "chart-040",
        "records_by_words": {"10": 12, "20": 3, "50": 0},
    },
    "naive_leak": {"entries": 64, "dropped_duplicates": 4, "clusters": 40, "expected_leak": 0.412},
}  # fmt: skip


def figure(value: float | None, n: int = 40) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "n": 0, "unscored": 0, "reason": "no deleted items"}
    return {"value": value, "low": value - 0.04, "high": value + 0.04, "n": n, "unscored": 0, "reason": None}


def changed(gold: bool) -> dict[str, Any]:
    crossed = {
        "consistent_right": 0.31,
        "consistent_wrong": 0.42,
        "inconsistent_right": 0.11,
        "inconsistent_wrong": 0.16,
    }
    figures = {"alpha": figure(0.77), "share_identical": figure(0.73)}
    figures |= {name: figure(value if gold else None) for name, value in crossed.items()}
    effects = {"vanish_rate": figure(0.93), "appear_rate": figure(0.81), "flip_rate": figure(None)}
    return {
        "effects": {"all": effects, "medication": effects},
        "consistency": {kind: {"all": figures, "medication": figures} for kind in ("any", "tailed")},
    }


def facts_of(folder: Path, gold: bool, **more: Any) -> RunResults:
    write_run(folder, gold=gold)
    scores = invent_scores(gold) | {"interventions": {"student": changed(gold)}, "overlap": OVERLAP} | more
    write_text(folder / "predictions" / "scores.json", json.dumps(scores))
    return read_results(folder, TASKS, "Changed")


def test_consistency_stands_beside_correctness(tmp_path: Path) -> None:
    results = facts_of(tmp_path, gold=True)
    assert results.scores is not None
    first, *others = consistency_tables(results, results.scores)
    assert [row.label for row in first.rows][:2] == ["Always the same, right", "Always the same, WRONG"]
    assert [row.cells[0].value for row in first.rows] == ["31.0%", "42.0%", "11.0%", "16.0%", "73.0%", "0.770"]
    assert {table.title for table in others} >= {"Always the same, WRONG, by change", "Always the same, WRONG, by task"}
    claims = " ".join(changed_claims(results, results.scores))
    assert "always the same and right 31.0% (95% interval 27.0 to 35.0%, n 40 (few)" in claims
    assert "always the same and WRONG 42.0%" in claims
    assert "a flipped status follows in (not defined: no deleted items)" in claims


def test_without_gold_the_tables_say_what_is_not_known(tmp_path: Path) -> None:
    results = facts_of(tmp_path, gold=False)
    assert results.scores is not None
    tables = consistency_tables(results, results.scores)
    assert "whether the same answer is the right one is not known" in tables[0].meaning
    assert not any("right" in table.title.lower() for table in tables)
    claims = " ".join(changed_claims(results, results.scores))
    assert "the same answer 73.0%" in claims
    assert "not known without gold" in claims
    assert "WRONG" not in claims
    assert "inserted item appears in 81.0%" in claims, "following a change needs no gold"


def test_effects_leave_out_what_was_not_tried(tmp_path: Path) -> None:
    results = facts_of(tmp_path, gold=True)
    assert results.scores is not None
    tables = effect_tables(results, results.scores)
    assert [table.title for table in tables] == ["Vanishes", "Appears"]
    assert [row.label for row in tables[0].rows] == ["All tasks", "medication"]


def test_each_effect_stands_beside_its_placebo_and_the_difference(tmp_path: Path) -> None:
    found = changed(gold=True)
    for effects in found["effects"].values():
        effects |= {"vanish_placebo_rate": figure(0.22), "vanish_effect": figure(0.71)}
    results = facts_of(tmp_path, gold=True, interventions={"student": found})
    assert results.scores is not None
    rows = effect_tables(results, results.scores)[0].rows
    assert [row.label for row in rows[:3]] == ["All tasks", "All tasks, placebo", "All tasks, minus placebo"]
    assert [row.cells[0].value for row in rows[:3]] == ["93.0%", "22.0%", "+71.0 pp"]
    assert rows[2].cells[0].interval == "+67.0 to +75.0 pp"
    claims = " ".join(changed_claims(results, results.scores))
    assert "a deleted item vanishes in 93.0% (95% interval 89.0 to 97.0%, n 40 (few)), as placebo 22.0% (" in claims


def test_gold_that_training_knows_is_said_on_the_first_screen(tmp_path: Path) -> None:
    def counts(items: int, known: int) -> dict[str, int]:
        return {"items": items, "items_known": known, "names": 9, "names_known": 3}

    gold = {"medication": counts(80, 3), "tests": counts(50, 50), "diagnosis": counts(30, 21), "all": counts(160, 74)}
    facts_of(tmp_path, gold=True, overlap=OVERLAP | {"gold": gold})
    report(tmp_path, TASKS, "Known")
    text, page, card = (
        (tmp_path / name).read_text() for name in ("report/report.md", "report/report.html", "adapter/README.md")
    )
    sentence = "this also occurs in training gold: tests 100% (50 of 50), diagnosis 70% (21 of 30)."
    assert sentence in page.partition('<section id="run"')[0]
    assert sentence in text.partition("## What can be claimed")[0]
    assert sentence in card.partition("## What cannot be claimed")[0]
    assert "3 of 80 (3.8%; distinct names 3 of 9)" in text
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert figures["overlap"]["gold"] == gold
    facts_of(tmp_path / "new", gold=True, overlap=OVERLAP | {"gold": {"medication": counts(80, 3)}})
    assert state_findings(read_results(tmp_path / "new", TASKS, "New")).cautions == ()


def test_figures_that_count_what_was_erased_since_say_so(tmp_path: Path) -> None:
    """`erase` takes the answers; the scores count their records until `evaluate` makes them again."""
    facts_of(tmp_path, gold=True, overlap=OVERLAP | {"scored": 26})
    report(tmp_path, TASKS, "Erased")
    title, first, card = (
        (tmp_path / name).read_text() for name in ("report/report.html", "report/report.md", "adapter/README.md")
    )
    for text in (title, first, card.partition("## Figures")[2]):
        assert re.search(r"26 held-out (charts|records), 2 of which were erased since", text)
    facts_of(tmp_path, gold=True)
    report(tmp_path, TASKS, "Whole")
    assert "24 held-out records." in (tmp_path / "report" / "report.md").read_text()


def test_label_precision_stands_beside_label_recall(tmp_path: Path) -> None:
    names = ("precision", "recall", "joint_f1", "confabulation_rate")
    labels = {
        arm: {
            task: {name: figure(value + place / 100) for place, name in enumerate(names)} for task in ("all", "tests")
        }
        for arm, value in (("raw", 0.81), ("kept", 0.91), ("kept_of_all", 0.71))
    }
    facts_of(tmp_path, gold=True, labels=labels)
    report(tmp_path, TASKS, "Labels")
    text, page = ((tmp_path / "report" / name).read_text() for name in ("report.md", "report.html"))
    for title, cells in (("Precision", ("0.810", "0.910", "0.710")), ("Recall", ("0.820", "0.920", "0.720"))):
        part = text.partition(f"### {title} of the labels")[2].partition("###")[0]
        row = next(line for line in part.splitlines() if line.startswith("| All tasks"))
        assert [cell.split()[0] for cell in row.split("|")[2:5]] == list(cells)
        assert f"{title} of the labels" in page
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert figures["label_quality"]["kept"]["tests"]["recall"]["n"] == 40


def test_the_leak_check_is_in_every_format(tmp_path: Path) -> None:
    facts_of(tmp_path, gold=True)
    report(tmp_path, TASKS, "Changed")
    text, page = ((tmp_path / "report" / name).read_text() for name in ("report.md", "report.html"))
    for shown in (
        "31 words (chart-003 with chart-040)",
        "41.2% (of 64 entries in 40 clusters; 4 duplicates were dropped)",
    ):
        assert shown in text
        assert shown in page
    limits = json.loads((tmp_path / "report" / "report.json").read_text())["limits"]
    assert any(limit.startswith("2 of 24 scored records share 80% or more") for limit in limits)


@pytest.mark.parametrize("which", ["same_id", "same_text", "same_cluster"])
def test_a_leak_is_loud(which: str) -> None:
    found = list(overlap_limits(Overlap.model_validate(OVERLAP | {which: 3})))
    assert found[0].startswith("LEAK: 3 scored records were learned from too")
    assert not any("LEAK" in limit for limit in overlap_limits(Overlap.model_validate(OVERLAP)))
    assert "was not checked" in next(iter(overlap_limits(None)))


def test_a_difference_that_correction_takes_away_is_not_shown(tmp_path: Path) -> None:
    def tested(p: float) -> dict[str, Any]:
        values = {"joint_f1": PValue(p=p / 3, holm=p, clusters=24).model_dump()}
        return {"student-base": {"all": values}, "student-teacher": {"all": values}}

    claims = state_findings(facts_of(tmp_path / "a", gold=True, p_values=tested(0.12))).claims
    taken = next(claim for claim in claims if "no difference shown between distilled student and base student" in claim)
    assert "corrected p 0.120)" in taken
    assert not any("is better than" in claim for claim in claims)
    claims = state_findings(facts_of(tmp_path / "b", gold=True, p_values=tested(0.0003))).claims
    better = next(claim for claim in claims if "is better than base student" in claim)
    assert "corrected p below 0.001)" in better


def test_gates_are_shown_by_what_they_said(tmp_path: Path) -> None:
    wrong = {"records": 7} | {name: figure(0.8) for name in ("confabulation_rate", "invented_rate")}
    right = {"records": 90} | {name: figure(0.1) for name in ("confabulation_rate", "invented_rate")}
    facts_of(tmp_path, gold=True, gates={"teacher": {"all": {"right yes": right, "wrong yes": wrong}}})
    report(tmp_path, TASKS, "Gates")
    text = (tmp_path / "report" / "report.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| All tasks: ")]
    assert [line.split("|")[1].strip().split(" (")[0] for line in lines] == [
        "All tasks: wrong yes",
        "All tasks: right yes",
    ]
    assert "answered yes, but the chart has none; 7 answers" in lines[0]
    assert "80.0%" in lines[0]
