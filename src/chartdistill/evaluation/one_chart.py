"""One chart from standard input, and its answer for a person: items by task, with words of the chart."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from chartdistill.errors import ConfigError, InputError
from chartdistill.evaluation.formats import FILES, FOLDERS, JSONL, Answered
from chartdistill.evaluation.predict import Student
from chartdistill.records import chart_of_bytes
from chartdistill.schema import Task

STDIN = "-"
_AROUND = 40
"""Characters of the chart shown on either side of an item."""
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")


def read_chart(data: bytes) -> str:
    """The text of a chart that was given as bytes.

    Raises:
        InputError: it is empty, or no text.
    """
    text = chart_of_bytes(data)
    if isinstance(text, str):
        return text
    raise InputError(f"standard input: {text.detail}. Give one chart as text: chartdistill predict ... - < chart.txt")


def answer(student: Student, data: bytes, tasks: Sequence[Task], form: str | None) -> str:
    """What is printed of one chart. `form`: a format of `predict`; None: a page for a person.

    Raises:
        ConfigError: the format is a folder.
        InputError: the chart cannot be read.
    """
    if form in FOLDERS:
        raise ConfigError(f"--format {form} is a folder of files, which standard output is not. Give --records FOLDER.")
    text = read_chart(data)
    chart = Answered(STDIN, "standard input", text, student.read([text])[0])
    if form is None:
        return page(chart, tasks)
    if form == JSONL:
        return json.dumps({"id": chart.id, "source": chart.source, "tasks": chart.tasks}) + "\n"
    out = io.StringIO()
    FILES[form](iter([chart]), out, tasks)
    return out.getvalue()


def page(chart: Answered, tasks: Sequence[Task]) -> str:
    """The answer to one chart. Control characters of the chart never reach the terminal."""
    lines = []
    for task in tasks:
        said = chart.tasks[task.name]
        lines.append(f"{task.name}")
        if said.get("items") is None:
            lines.append(f"  no answer: {said.get('failure')}")
        elif not said["items"]:
            lines.append("  none found")
        for item in said.get("items") or ():
            status = f" [{item['status']}]" if item.get("status") else ""
            sure = f" ({sureness(item['confidence'])})" if item.get("confidence") is not None else ""
            lines.append(f"  {_plain(item['text'])}{status}{sure}")
            lines.append(f"      {_where(chart, item)}")
    return "\n".join(lines) + "\n"


def sureness(confidence: float) -> str:
    """A confidence in whole percent, never 0 or 100: no calibration shows either. `items.js` says it in these words."""
    whole = round(100 * confidence)
    return "over 99% sure" if whole > 99 else "under 1% sure" if whole < 1 else f"{whole}% sure"


def _where(chart: Answered, item: Mapping[str, Any]) -> str:
    span, text = item.get("span"), chart.text or ""
    if span is None:
        return "NOT IN THE CHART: do not rely on it"
    start, end = int(span[0]), int(span[1])
    before, after = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
    more = ("... " if start > _AROUND else "", " ..." if end + _AROUND < len(text) else "")
    shown = f"{more[0]}{_plain(before)}>>{_plain(text[start:end])}<<{_plain(after)}{more[1]}"
    missing = item.get("not_in_chart")
    wrong = f"   (not in the chart: {_plain(', '.join(map(str, missing)))})" if missing else ""
    return f"{shown}   characters {start} to {end}{wrong}"


def _plain(text: str) -> str:
    return _UNSEEN.sub(" ", text)
