"""Which charts are kept: plan and reading agree both ways, nothing is copied, length and words are a chart's."""

from __future__ import annotations

import pytest

from chartdistill.config import load_task
from chartdistill.schema import Item, Label
from chartdistill.synthesis import SynthesizeOptions
from chartdistill.synthesis.judging import KnownCharts, reading_reasons, text_reasons
from chartdistill.synthesis.plans import Plan
from places import ROOT

TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "tests")]
PLAN = Plan(
    number=0,
    style="letter",
    specialty="neurology",
    num_words=20,
    findings={
        "medication": (Item(text="Velorim", status="stop"), Item(text="Dormax", status="start")),
        "tests": (Item(text="chest X-ray"),),
    },
    decoys=(Item(text="Quilane"),),
    lines=("Velorim is stopped, and Dormax is tried in its place", "a test is ordered: chest X-ray"),
)
OPTIONS = SynthesizeOptions(count=1)
CHART = (
    "The patient came for review and feels somewhat better. Velorim was stopped and Dormax begun. A chest X-ray was "
    "ordered. Sister takes Quilane."
)


def reasons(medication: str | None, tests: str | None, **options: float) -> list[str]:
    answers = {"medication": medication, "tests": tests}
    labels = {
        name: Label(key="k", record="r", task=name, strategy="direct", completion=answer,
                    failure=None if answer else "x", finish_reason="stop" if answer else None)
        for name, answer in answers.items()
    }  # fmt: skip
    return reading_reasons(PLAN, labels, TASKS, OPTIONS.model_copy(update=options))[0]


def test_a_share_that_is_just_reached_is_reached() -> None:
    drugs = tuple(Item(text=f"Aabb{'bcdfghklmnprstvzwxyq'[i]}a", status="start") for i in range(20))
    plan = PLAN.model_copy(update={"findings": {"medication": drugs, "tests": ()}, "decoys": ()})
    read = {
        "medication": "\n".join(f"{one.text} | start" for one in drugs[:11]),
        "tests": "None found",
    }
    labels = {
        name: Label(key="k", record="r", task=name, strategy="direct", completion=said, finish_reason="stop")
        for name, said in read.items()
    }
    found, counts = reading_reasons(plan, labels, TASKS, OPTIONS.model_copy(update={"min_plan_read": 0.55}))
    assert (counts["both"], found) == (11, [])


@pytest.mark.parametrize(
    ("medication", "tests", "expected"),
    [
        ("Velorim | stop\nDormax | start", "Chest x-ray", []),
        ("Velorim 5 mg | stop\nDormax | start", "chest X-ray", []),
        ("Velorim | continue\nDormax | start", "chest X-ray", ["plan_not_read", "not_planned"]),
        ("Dormax | start", "chest X-ray", ["plan_not_read"]),
        ("Velorim | stop\nDormax | start", "None found", ["plan_not_read"]),
        ("Velorim | stop\nDormax | start\nAspirin | start", "chest X-ray\nCBC", ["not_planned"]),
        ("Velorim | stop\nDormax | start\nQuilane | continue", "chest X-ray", ["decoy_read", "not_planned"]),
        ("None found", "None found", ["plan_not_read"]),
        (None, "chest X-ray", ["not_read"]),
        ("Velorim was stopped", "chest X-ray", ["not_read"]),
    ],
)
def test_plan_and_reading_are_held_against_each_other_both_ways(
    medication: str | None, tests: str | None, expected: list[str]
) -> None:
    assert reasons(medication, tests) == expected


def test_how_much_must_agree_is_an_option() -> None:
    assert reasons("Dormax | start", "chest X-ray", min_plan_read=0.6) == []
    assert reasons("Velorim | stop\nDormax | start\nAspirin | start", "chest X-ray", min_reading_planned=0.7) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHART, []),
        ("Velorim was stopped, not quilane.", ["too_short"]),
        (CHART * 3, ["too_long"]),
        ("the same Quilane " * 10, ["strange_vocabulary"]),
        ("12 34 5 67 8 9 10 11 12 13 14 15 16 17 Quilane", ["strange_vocabulary"]),
        (PLAN.as_text() + "\n- QUILANE", ["plan_repeated"]),
        (
            "Velorim is stopped, and Dormax is tried in its place.\nA test is ordered: chest X-ray\nNo Quilane",
            ["plan_repeated"],
        ),
        (CHART.replace("Quilane", "Quilanes"), ["decoy_not_written"]),
        (CHART.replace(" Sister takes Quilane.", " Her sister takes something, too."), ["decoy_not_written"]),
    ],
)
def test_a_text_that_is_no_chart_is_named(text: str, expected: list[str]) -> None:
    assert text_reasons(PLAN, text, OPTIONS) == expected


def test_no_chart_of_any_split_is_copied() -> None:
    known = " ".join(f"word{i}" for i in range(60))
    run = " ".join(f"word{i}" for i in range(20, 33))  # thirteen in a row
    charts = KnownCharts([known], most_shared_words=12)
    found = charts.reasons([f"{CHART} {run}", CHART, known.upper() + " more", " ".join(run.split()[1:]) + CHART])
    assert found == [["copied"], [], ["copied", "near_duplicate"], []]


def test_of_two_that_are_alike_the_first_is_kept() -> None:
    charts = KnownCharts([], most_shared_words=12)
    again = CHART.replace("somewhat", "much")
    assert charts.reasons([CHART, again]) == [[], []]
    assert charts.keep(CHART) and not charts.keep(again)
    assert charts.reasons([again]) == [["near_duplicate"]], "also in a later batch"
