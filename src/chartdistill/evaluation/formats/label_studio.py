"""Label Studio's JSON, for correction: an array of tasks, each answer as an annotation with regions and choices.

Offsets are UTF-16 code units, as JavaScript counts; beside each stands its text, by which our reader tells the count
(records/annotations/offsets.py). An item without a place in the chart has no region: `data.without_place` names it.
A chart of which an answer failed, or something is in the review file, has its regions as a prediction, which Label
Studio shows, and which no reader takes for finished work. Read back by records/annotations/label_studio.py. Format: https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

from chartdistill.evaluation.formats.answered import Answered
from chartdistill.schema import Task


def write(charts: Iterator[Answered], out: IO[str], tasks: Sequence[Task]) -> None:
    """Write all charts that have a text, and say how many have none: a task is nothing without one."""
    out.write("[")
    first = True
    left_out: Counter[str] = Counter()
    for chart in charts:
        if chart.text is not None:
            out.write(("" if first else ",") + "\n" + json.dumps(task_of(chart, tasks), ensure_ascii=True))
            first = False
        else:
            left_out[(chart.failure or "no text").partition(":")[0]] += 1
    out.write("\n]\n")
    if left_out:
        why = ", ".join(f"{reason} {number}" for reason, number in sorted(left_out.items()))
        number = left_out.total()
        told = "1 chart has no text and is" if number == 1 else f"{number} charts have no text and are"
        print(f"chartdistill predict: {told} not among the tasks of Label Studio ({why})", file=sys.stderr)


def task_of(chart: Answered, tasks: Sequence[Task] = ()) -> dict[str, Any]:
    """One chart as a task of Label Studio."""
    text = chart.text or ""
    result: list[dict[str, Any]] = []
    homeless = []
    for number, (task, _, item) in enumerate(chart.items(), 1):
        if item.get("span") is None:
            homeless.append({"task": task, "text": item["text"], "status": item.get("status")})
            continue
        start, end = item["span"]
        place = {"start": _units(text, start), "end": _units(text, end), "text": text[start:end]}
        region = {"id": f"i{number}", "to_name": "text", "origin": "prediction"}
        score = {} if item.get("confidence") is None else {"score": item["confidence"]}
        result.append(region | score | {"from_name": "label", "type": "labels", "value": place | {"labels": [task]}})
        if item.get("status") is not None:
            choice = place | {"choices": [item["status"]]}
            result.append(region | {"from_name": "status", "type": "choices", "value": choice})
    data: dict[str, Any] = {"text": text, "record": chart.id}
    failures = {task: said.get("failure") for task, said in chart.tasks.items() if said.get("items") is None}
    data |= {"without_place": homeless} if homeless else {}
    data |= {"without_answer": failures} if failures else {}
    waiting = {task: what for task, _, what in chart.waiting(tasks)}
    data |= {"in_review": waiting} if waiting else {}
    if failures or waiting:
        return {"data": data, "annotations": [], "predictions": [{"result": result}]}
    return {"data": data, "annotations": [{"was_cancelled": False, "ground_truth": False, "result": result}]}


def _units(text: str, at: int) -> int:
    return len(text[:at].encode("utf-16-le", "surrogatepass")) // 2
