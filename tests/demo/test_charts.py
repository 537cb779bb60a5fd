"""The charts of the demo: exact gold, disjoint drug names."""

from __future__ import annotations

import random

from chartdistill.clinical.lexica.made_up_drugs import drug_name, drug_pool
from chartdistill.demo.charts import TASKS, write_chart


def test_gold_is_verbatim_and_in_reading_order() -> None:
    for seed in range(150):
        chart = write_chart(random.Random(seed), "train")
        for task in TASKS:
            places = [chart.text.find(item) for item, _ in chart.gold[task]]
            assert -1 not in places, (seed, task)


def test_lengths_and_empty_gold_are_as_promised() -> None:
    charts = [write_chart(random.Random(seed), "heldout") for seed in range(600)]
    lengths = [len(chart.text.split()) for chart in charts]
    assert min(lengths) <= 65
    assert max(lengths) > 600
    for task in TASKS:
        assert sum(not chart.gold[task] for chart in charts) >= 0.3 * len(charts), task
    statuses = {status for chart in charts for _, status in chart.gold["medication"]}
    assert statuses == {"start", "continue", "change", "stop", "hold", "past", "avoid", "given-once"}


def test_drug_names_of_different_pools_never_meet() -> None:
    rng = random.Random(0)
    names = {pool: {drug_name(rng, pool).lower() for _ in range(2000)} for pool in ("pretraining", "train", "heldout")}
    assert names["train"].isdisjoint(names["heldout"])
    assert names["pretraining"].isdisjoint(names["train"] | names["heldout"])
    assert all(drug_pool(name) == pool for pool, members in names.items() for name in members)


def test_same_seed_same_chart() -> None:
    assert write_chart(random.Random(5), "train") == write_chart(random.Random(5), "train")
