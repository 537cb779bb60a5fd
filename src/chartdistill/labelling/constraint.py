"""What an answer is held to while it is written: nothing, the answer format, or the words of its chart."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from chartdistill.clinical.text.quoting import quotable
from chartdistill.engines import Request
from chartdistill.prompting.answer_format import answer_pattern
from chartdistill.prompting.chart_spans import SpanGrammar
from chartdistill.schema import Task

Constraint = bool | Literal["spans"]
"""false: nothing. true: the answer format. spans: also, an item is words of its chart (`prompting.chart_spans`)."""
SPANS: Literal["spans"] = "spans"


def constrained(request: Request, constraint: Constraint, task: Task, chart: str) -> Request:
    """A request whose answer is held to it. `chart`: the text that the prompt holds."""
    if constraint == SPANS:
        return replace(request, spans=SpanGrammar.of(task, quotable(chart)))
    return replace(request, pattern=answer_pattern(task)) if constraint else request
