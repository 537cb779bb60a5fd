"""CSV (RFC 4180, UTF-8): one item a row, and one row for each answer without items, so that none is told from failure.

Cells that a spreadsheet would compute (they begin with = + - @, a tab or a line end) get an apostrophe before them, as
OWASP advises against CSV injection; numbers of ours stay numbers.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from chartdistill.evaluation.formats.answered import Answered
from chartdistill.schema import Task

COLUMNS = (
    "record", "source", "task", "result", "item", "status", "start", "end", "words", "grounded", "not_in_chart",
    "confidence", "dose", "route", "frequency", "as_needed", "duration", "failure",
    "in_review",
)  # fmt: skip
"""`result`: item, none (found), failure, or review: `in_review` more items, or an answer that
failed, stand in that file. `start`, `end`: characters of the chart, the end behind the last. Dose, frequency and
duration as JSON."""
_COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the wide forms, which spreadsheets of East Asian languages take for the same."""


def write(charts: Iterator[Answered], out: IO[str], tasks: Sequence[Task]) -> None:
    """Write all charts."""
    rows = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    rows.writeheader()
    for chart in charts:
        rows.writerows({name: safe(value) for name, value in row.items()} for row in _rows(chart, tasks))


def _rows(chart: Answered, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    of = {"record": chart.id, "source": chart.source}
    if chart.failure is not None:
        yield of | {"result": "failure", "failure": chart.failure}
    for task, said in chart.tasks.items():
        if said.get("items") is None:
            yield of | {"task": task, "result": "failure", "failure": said.get("failure")}
        elif chart.none_found(task):
            yield of | {"task": task, "result": "none"}
        for item in said.get("items") or ():
            yield of | {"task": task, "result": "item"} | _cells(chart, item)
    for task, number, _ in chart.waiting(tasks):
        yield of | {"task": task, "result": "review", "in_review": number}


def _cells(chart: Answered, item: Mapping[str, Any]) -> dict[str, Any]:
    start, end = item.get("span") or ("", "")
    data = {
        name: json.dumps(item[name], ensure_ascii=False) for name in ("dose", "frequency", "duration") if name in item
    }
    return data | {
        "item": item["text"], "status": item.get("status"), "start": start, "end": end, "words": chart.words(item),
        "grounded": "yes" if item.get("grounded") else "no", "not_in_chart": "; ".join(item.get("not_in_chart", ())),
        "confidence": item.get("confidence"), "route": item.get("route"),
        "as_needed": "yes" if item.get("as_needed") else "",
    }  # fmt: skip


def safe(value: object) -> object:
    """A cell that no spreadsheet computes."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = value.replace("\x00", "\ufffd")
    return f"'{text}" if text.startswith(_COMPUTED) or text.lstrip(" ").startswith(_COMPUTED[:4]) else text
