"""The first screen: what the student gets wrong, in the classes that the example records are coloured by.

In: `RunResults` and scores. Out: one row per class of error, with share, interval and n. What must hold: the classes
are those of the scores; where a class needs gold and there is none, the row says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chartdistill.evaluation import Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.catalogue import BY_NAME, MetricInfo, complement, task_title
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import task_order, write_cell

STUDENT = "student"
CLASSES = {
    "right": ("\u2713", "right", "as in gold"),
    "invented": ("\u2717", "invented", "nowhere in the chart"),
    "wrong kind": ("\u25c7", "wrong kind", "in the chart, but not what was asked for"),
    "status differs": ("\u2260", "status differs", "the chart gives it another status; counted as contradicted"),
    "dangerous status": (
        "!", "dangerous status",
        "stopped, held, past or to avoid but called taken, or continued but called stopped; contradicted too",
    ),
    "not judged": ("\u00b7", "not judged", "no gold to say whether it is right, or optional in gold"),
}  # fmt: skip
"""Class of an emitted item -> (sign, name, meaning): colour is never the only thing that tells them apart."""
_SHARES = (
    ("invented", "invented_rate", "of the items it lists"),
    ("wrong kind", "wrong_kind_rate", "of the items it lists"),
    ("status differs", "contradicted_rate", "of the items with a status it lists, against the chart"),
    ("dangerous status", "harmful_status_rate", "of the drugs that could be given a harmful status"),
    ("dangerous status", "harmful_status_rate_of_named", "of those of them that it lists"),
    ("dangerous status", "stop_as_continue_rate", "of the stopped drugs, called taken"),
)
_BROKEN = MetricInfo("broken", "Broken answers", "answers that do not follow the format", "lower")
_MISSED = MetricInfo("missed", "Missed", "gold items that were not emitted", "lower")


@dataclass(frozen=True)
class GlanceRow:
    """One way of being wrong."""

    kind: str
    """A class of `CLASSES`, or `broken`, `missed`, `weakest`, `unknown`."""
    sign: str
    label: str
    figure: str


def glance(results: RunResults, scores: Scores) -> tuple[GlanceRow, ...]:
    """What the student gets wrong over all tasks; empty when it was not scored."""
    return tuple(_rows(results, scores)) if STUDENT in scores.arms else ()


def _rows(results: RunResults, scores: Scores) -> Iterator[GlanceRow]:
    has_gold = scores.has_gold(ALL_TASKS)
    unknown: list[str] = []
    for kind, name, of_what in _SHARES:
        estimate = scores.estimate(STUDENT, ALL_TASKS, name)
        sign, label, _ = CLASSES[kind]
        if estimate is None or (BY_NAME[name].needs_gold and not has_gold):
            unknown.append(label)
            continue
        yield GlanceRow(kind, sign, label, f"{write_cell(estimate, BY_NAME[name]).line()} {of_what}")
    valid = scores.estimate(STUDENT, ALL_TASKS, "format_valid_rate")
    if valid is not None:
        figure = f"{write_cell(complement(valid), _BROKEN).line()} of its answers; they list nothing, so nothing wrong"
        yield GlanceRow("broken", "\u2205", "broken answers", figure)
    recall = scores.estimate(STUDENT, ALL_TASKS, "recall") if has_gold else None
    if recall is None:
        unknown.append("missed")
    else:
        figure = f"{write_cell(complement(recall), _MISSED).line()} of what the charts hold"
        yield GlanceRow("missed", "\u2013", "missed", figure)
    if weakest := _weakest(results, scores):
        yield weakest
    if unknown:
        why = "not measured in this run" if has_gold else "the records have no gold"
        yield GlanceRow("unknown", "?", "not known", f"{', '.join(unknown)}: {why}")


def _weakest(results: RunResults, scores: Scores) -> GlanceRow | None:
    found = []
    for task in task_order(results, scores):
        estimate = scores.estimate(STUDENT, task, "joint_f1")
        if task != ALL_TASKS and scores.has_gold(task) and estimate is not None and estimate.value is not None:
            found.append((estimate.value, task, write_cell(estimate, BY_NAME["joint_f1"])))
    if len(found) < 2:
        return None
    _, task, cell = min(found, key=lambda entry: entry[0])
    figure = f"{task_title(task)}, joint F1 {cell.line()}"
    return GlanceRow("weakest", "\u2193", "weakest task", figure)
