"""A made-up fine-tuning file as an API version writes it: synthetic charts, labels with the faults such files have.

In: a count of charts and a seed. Out: lines `{"prompt": "<chart>\\n\\nLIST ALL MEDICATION: ", "completion": " ..."}`.
What must hold: free-form answers without statuses; faults of the kinds and about as often as measured on a real run
of the API version (a third of the drugs left out, a fifth of what is listed no drug, nearly every prognosis wrong).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.demo.charts import TASKS, Chart, GoldItem, write_chart

_LEFT_OUT = 0.25
"""Of the items of a chart."""
_LEFT_OUT_BY_STATUS: dict[str | None, float] = {"avoid": 0.9, "stop": 0.6, "hold": 0.6, "past": 0.6}
"""Drugs that are not taken are still listed at times, as if they were."""
_OTHER_KIND = 0.2
"""Answers that also list something of another kind, from the chart or its keywords."""
_WRONG_YES = 0.1
"""Charts without an item of which something else is listed."""
_WRONG_PROGNOSIS = 0.8
_CUT = 0.04
_NONES = ("None Found", "None Found", "None Found", "None Found", "None specified.", "N/A")
_FORECASTS = (
    "The prognosis is good.",
    "The patient is expected to recover well without any complications.",
    "The prognosis is that the patient will improve with treatment.",
    "The patient will follow up with the doctor.",
)


def api_version_lines(count: int, seed: int) -> Iterator[str]:
    """Four JSON lines for each of `count` charts."""
    for index in range(count):
        rng = random.Random(f"api:{seed}:{index}")
        chart = write_chart(rng, "train")
        filed = chart.as_filed(rng)
        for task in TASKS:
            said = _prognosis(chart, rng) if task == "prognosis" else _listed(chart, task, rng)
            if rng.random() < _CUT and len(said) > 12:
                said = said[: rng.randint(len(said) // 2, len(said) - 3)]
            yield json.dumps({"prompt": f"{filed}\n\nLIST ALL {task.upper()}: ", "completion": f" {said}"})


def _listed(chart: Chart, task: str, rng: random.Random) -> str:
    names = [text for text, status in chart.gold[task] if rng.random() >= _LEFT_OUT_BY_STATUS.get(status, _LEFT_OUT)]
    strays = _of_other_kinds(chart, task)
    if strays and rng.random() < (_OTHER_KIND if names else _WRONG_YES):
        names += rng.sample(strays, min(len(strays), rng.randint(1, 2)))
    if not names:
        return rng.choice(_NONES)
    if task == "diagnosis" and len(names) == 1 and rng.random() < 0.5:
        return f"The diagnosis is {names[0]}."
    return ", ".join(names)


def _of_other_kinds(chart: Chart, task: str) -> Sequence[str]:
    others = [text for other, items in chart.gold.items() if other not in (task, "prognosis") for text, _ in items]
    known = {name.casefold() for name in (*CONDITION_NAMES, *TEST_NAMES)}
    return [*others, *(word for word in chart.keywords if word.casefold() not in known)]


def _prognosis(chart: Chart, rng: random.Random) -> str:
    items: list[GoldItem] = chart.gold["prognosis"]
    if rng.random() < _WRONG_PROGNOSIS * (1 if items else 0.3):
        return rng.choice(_FORECASTS)
    return items[0][0] if items else rng.choice(_NONES)
