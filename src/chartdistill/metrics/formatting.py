"""Whether answers can be used at all. None of these needs gold."""

from __future__ import annotations

from chartdistill.metrics.matching import Metric, Ratio

METRICS: dict[str, Metric] = {
    "format_valid_rate": Ratio("records", lambda outcome: (outcome.valid, 1)),
    "truncated_rate": Ratio("records", lambda outcome: (outcome.cut, 1)),
    "items_per_record": Ratio("records", lambda outcome: (outcome.emitted, 1), bounded=False),
}
"""Answers in the task's format; answers cut by the token limit; items emitted per record."""
