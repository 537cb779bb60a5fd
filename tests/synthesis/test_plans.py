"""What a chart is to say: drawn from the project's own names, the same for the same number, rare things common."""

from __future__ import annotations

from collections import Counter

import pytest

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.brands import BRANDS
from chartdistill.clinical.lexica.made_up_drugs import drug_pool
from chartdistill.config import load_task
from chartdistill.synthesis import SynthesizeOptions
from chartdistill.synthesis.plans import RARE, draw_plan
from places import ROOT

TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "diagnosis", "tests", "prognosis")]
OPTIONS = SynthesizeOptions(count=400, rare_share=0.6)


def test_a_plan_follows_from_its_number_and_seed_alone() -> None:
    first = [draw_plan(number, OPTIONS, TASKS) for number in range(20)]
    more = OPTIONS.model_copy(update={"count": 9000})
    assert first[::-1] == [draw_plan(number, more, TASKS) for number in reversed(range(20))]
    other = OPTIONS.model_copy(update={"seed": 1})
    assert all(draw_plan(plan.number, other, TASKS) != plan for plan in first)


def test_rare_things_are_common_and_all_kinds_come() -> None:
    plans = [draw_plan(number, OPTIONS, TASKS) for number in range(400)]
    kinds = Counter(kind for plan in plans for kind in plan.rare)
    assert set(kinds) == set(RARE) and min(kinds.values()) > 20
    assert 0.5 < sum(bool(plan.rare) for plan in plans) / len(plans) < 0.7
    assert {status for plan in plans for status in (item.status for item in plan.findings["medication"])} >= {
        "stop", "start", "hold", "change", "avoid", "continue", "past",
    }  # fmt: skip
    assert any(not items for plan in plans for items in plan.findings.values()), "charts without any are charts too"


def test_what_must_be_read_is_told_and_no_name_stands_twice() -> None:
    for number in range(300):
        plan = draw_plan(number, OPTIONS, TASKS)
        named = [item.text.casefold() for items in plan.findings.values() for item in items]
        named += [item.text.casefold() for item in plan.decoys]
        names = [name for name in named if name != "guarded"]
        assert len(set(names)) == len(names)
        told = plan.as_text().casefold()
        assert all(name in told for name in named), plan
        for task in TASKS:
            allowed = set(task.statuses) or {None}
            assert all(item.status in allowed for item in plan.findings[task.name])


def test_no_drug_stands_twice_under_two_brands() -> None:
    drugs, options = entity_of(TASKS[0]), SynthesizeOptions(count=1, drugs="known")
    for number in range(600):
        plan = draw_plan(number, options, TASKS)
        items = [*plan.findings["medication"], *(item for item in plan.decoys if item.text.casefold() in BRANDS)]
        assert len({drugs.match_key(item.text) for item in items}) == len(items), plan


def test_a_task_without_statuses_has_drugs_in_its_plans_too() -> None:
    """Those that the patient has now: whether a stopped one is to be listed is not said."""
    plain = TASKS[0].model_copy(update={"statuses": ()})
    plans = [draw_plan(number, OPTIONS, [plain]) for number in range(200)]
    found = [plan for plan in plans if plan.findings["medication"]]
    assert 0.4 < len(found) / len(plans) < 0.95 and {kind for plan in plans for kind in plan.rare} == {"relative"}
    assert all(item.status is None for plan in found for item in plan.findings["medication"])
    assert not any("stopped" in line or "years ago" in line for plan in plans for line in plan.lines)


def test_plans_hold_what_the_run_asks_for() -> None:
    drugs = TASKS[0].model_copy(update={"statuses": ("start", "stop")})
    plans = [draw_plan(number, OPTIONS, [drugs]) for number in range(200)]
    assert {kind for plan in plans for kind in plan.rare} == {"switch", "relative"}
    assert all(set(plan.findings) == {"medication"} for plan in plans)
    made_up = OPTIONS.model_copy(update={"drugs": "made_up"})
    names = {i.text for n in range(50) for i in draw_plan(n, made_up, TASKS).findings["medication"]}
    assert names and {drug_pool(name) for name in names} == {"train"}


def test_options_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="the smaller first"):
        SynthesizeOptions(count=1, length_factors=(2.0, 1.0))
