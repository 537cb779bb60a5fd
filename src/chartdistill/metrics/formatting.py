"""Whether answers can be used at all. None of these needs gold."""

from __future__ import annotations

from chartdistill.metrics.matching import Metric, Ratio

METRICS: dict[str, Metric] = {
    "format_valid_rate": Ratio("records", lambda outcome: (outcome.valid, 1)),
    "truncated_rate": Ratio("records", lambda outcome: (outcome.cut, 1)),
    "items_per_record": Ratio("records", lambda outcome: (outcome.listed, 1), bounded=False),
    "duplicate_rate": Ratio("items as written", lambda outcome: (outcome.repeated, outcome.lines)),
}
"""Answers in the task's format; answers cut by the token limit; items per record; items that repeat one above them, in
text (by the kind's rule) and status. An exact repeat costs nothing in other metrics, any other costs precision."""
