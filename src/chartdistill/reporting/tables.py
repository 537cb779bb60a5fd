"""Figures in words: what each metric means, how it is written, and the tables both report formats share.

In: `RunFacts` and its estimates. Out: tables of cells, as plain text. What must hold: every cell has its n; a figure
that is not defined says why and is never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chartdistill.metrics import AGREEMENT, ALL_TASKS
from chartdistill.metrics import METRICS as MEASURED
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.reporting.run_results import RunFacts, Scores

SMALL_N = 50
"""Below this an estimate is marked `few`: the 95% interval of a share is then up to 14 points wide to either side
(1.96 * sqrt(0.25 / 50), normal approximation)."""

Better = Literal["higher", "lower", "neither"]
Tone = Literal["good", "bad", "even", "plain", "none"]


@dataclass(frozen=True)
class Metric:
    """How one metric is named, explained and written."""

    name: str
    title: str
    meaning: str
    better: Better = "higher"
    form: Literal["score", "share", "number"] = "share"
    needs_gold: bool = True

    def write(self, value: float, signed: bool = False) -> str:
        """The value as text: `0.82`, `4.1%`, `1.84`; with a sign, and shares in percentage points, when `signed`."""
        scale, digits = {"share": (100.0, 1), "score": (1.0, 3), "number": (1.0, 2)}[self.form]
        rounded = round(scale * value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
        sign = "+" if signed and rounded else ""
        unit = "" if self.form != "share" else " pp" if signed else "%"
        return f"{rounded:{sign}.{digits}f}{unit}".replace("-", "\u2212")

    def write_range(self, low: float, high: float, signed: bool = False) -> str:
        """Both ends of an interval: `0.77 to 0.86`."""
        return f"{self.write(low, signed).removesuffix(' pp').removesuffix('%')} to {self.write(high, signed)}"


METRICS = (
    Metric("joint_f1", "Joint F1", "items right in both text and status: precision and recall in one", form="score"),
    Metric("confabulation_rate", "Confabulation", "emitted items the chart does not bear out, of all emitted", "lower"),
    Metric("abstention_specificity", "Abstention", "answered none, of the records that have none"),
    Metric("precision", "Precision", "emitted items that are right (text only), of all emitted", form="score"),
    Metric("recall", "Recall", "gold items that were emitted (text only), of all gold items", form="score"),
    Metric("f1", "F1", "harmonic mean of precision and recall (text only)", form="score"),
    Metric("joint_f1_macro", "Joint F1, tasks alike", "mean over tasks of the joint F1 of each", form="score"),
    Metric("f1_macro", "F1 per record", "mean over records; 1 where there is none and none was emitted", form="score"),
    Metric("record_exact", "Record exact", "records whose whole answer is right"),
    Metric("raw_f1", "F1, raw text", "as F1, but the text must be the same to the last character", form="score"),
    Metric("status_accuracy", "Status right", "of the items that the arm itself matched; joint F1 is fairer"),
    Metric("status_f1_macro", "Status F1", "mean over statuses of the joint F1 of each", form="score"),
    Metric("stop_as_continue_rate", "Stopped, called continued", "gold items stopped that were called continued",
           "lower"),
    Metric("avoid_as_start_rate", "Avoided, called started", "gold items to avoid that were called started", "lower"),
    Metric("hold_as_continue_rate", "Held, called continued", "gold items on hold that were called continued", "lower"),
    Metric("invented_rate", "Invented", "emitted items that are nowhere in the chart", "lower", needs_gold=False),
    Metric("wrong_kind_rate", "Wrong kind", "emitted items in the chart that are not what was asked for", "lower"),
    Metric("contradicted_rate", "Contradicted", "emitted items whose status the chart contradicts", "lower"),
    Metric("attribute_error_rate", "Attribute error",
           "drugs emitted with a number (a dose) that does not stand beside them", "lower", needs_gold=False),
    Metric("false_abstention_rate", "False none", "answered none, of the records that have items", "lower"),
    Metric("format_valid_rate", "Format valid", "answers that follow the answer format", needs_gold=False),
    Metric("truncated_rate", "Cut off", "answers that ran out of room", "lower", needs_gold=False),
    Metric("none_rate", "None found", "answers that say none found", "neither", needs_gold=False),
    Metric("items_per_record", "Items per record", "emitted items, mean over records", "neither", "number", False),
    Metric("teacher_f1", "F1 to teacher", "agreement with the teacher's items (text); not correctness",
           "neither", "score", False),
    Metric("teacher_joint_f1", "Joint F1 to teacher", "agreement with the teacher's items and status; not correctness",
           "neither", "score", False),
)  # fmt: skip
CHANGED_METRICS = (
    Metric("vanish_rate", "Vanishes", "its sentence deleted, an item named before is named no more", needs_gold=False),
    Metric("appear_rate", "Appears", "a sentence inserted, its item is named, with its status", needs_gold=False),
    Metric("flip_rate", "Follows", "continue turned into stop (or back), a status right before is right after",
           needs_gold=False),
    Metric("consistent_right", "Always the same, right", "all answers alike, and exactly the gold"),
    Metric("consistent_wrong", "Always the same, WRONG", "all answers alike, and not the gold", "lower"),
    Metric("inconsistent_right", "Right at first, then other", "the chart as it is answered right, another form not so",
           "neither"),
    Metric("inconsistent_wrong", "Wrong at first, then other", "the chart as it is answered wrong, another form not so",
           "neither"),
    Metric("share_identical", "Same answer", "all answers alike; says nothing about whether they are right",
           needs_gold=False),
    Metric("alpha", "Krippendorff's alpha", "agreement of the answers over items beyond chance; 1 is always the same",
           form="score", needs_gold=False),
)  # fmt: skip
"""Figures of records in changed form."""
BY_NAME = {metric.name: metric for metric in METRICS}
GOLD_HEADLINE = ("joint_f1", "confabulation_rate", "abstention_specificity")
PLAIN_HEADLINE = ("invented_rate", "format_valid_rate", "teacher_joint_f1")
"""What can be shown without gold."""

ARM_TITLES = {
    "teacher": "Teacher",
    "base": "Base student",
    "student": "Distilled student",
    "teacher_chain": "Teacher, chain",
    "teacher_direct": "Teacher, one question",
    "self_raw": "Self-taught, raw",
    "self_filtered": "Self-taught, filtered",
    "distilled_raw": "Distilled, raw",
    "distilled_filtered": "Distilled, filtered",
    "imported_raw": "API labels, raw",
    "audited": "API labels, audited",
    "gold_trained": "Trained on gold",
    "rules": "Rules and lexicon",
}


@dataclass(frozen=True)
class Cell:
    """One figure as text."""

    value: str
    interval: str = ""
    n: str = ""
    note: str = ""
    """Why there is no value, or what a difference shows."""
    tone: Tone = "plain"

    def line(self) -> str:
        """The cell on one line, for formats without layout."""
        bracket = ", ".join(part for part in (self.interval, self.n) if part)
        return " ".join(part for part in (self.value, f"({bracket})" if bracket else "", self.note) if part)


@dataclass(frozen=True)
class TableRow:
    """One row: a task or a metric, and its figures."""

    label: str
    meaning: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under one heading."""

    title: str
    meaning: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


def describe(name: str) -> Metric:
    """The metric of that name; one this report does not know is shown as it was recorded."""
    return BY_NAME.get(name) or Metric(name, name, "as recorded by evaluate", "neither", "number", False)


def metric_in_text(metric: Metric) -> str:
    """A metric's name inside a sentence."""
    return metric.title.lower().replace("f1", "F1")


def arm_title(arm: str) -> str:
    """What an arm is called on the page."""
    return ARM_TITLES.get(arm, arm)


def pair_arms(pair: str, scores: Scores) -> tuple[str, str]:
    """`student-base` -> (`student`, `base`), also for arms whose names hold a hyphen."""
    for arm in scores.arms:
        if pair.startswith(f"{arm}-") and pair[len(arm) + 1 :] in scores.arms:
            return arm, pair[len(arm) + 1 :]
    first, _, second = pair.partition("-")
    return first, second


def verdict(estimate: Estimate, metric: Metric) -> tuple[str, Tone]:
    """What a paired difference shows: nothing, when its interval includes 0 or is missing."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "no interval", "none"
    if estimate.low <= 0 <= estimate.high:
        return "no difference shown", "even"
    rises = estimate.value > 0
    if metric.better == "neither":
        return ("higher" if rises else "lower"), "plain"
    return ("better", "good") if rises == (metric.better == "higher") else ("worse", "bad")


def write_n(estimate: Estimate) -> str:
    """`n 312`, with `(few)` and the number of unscored records where there are any."""
    few = " (few)" if estimate.n < SMALL_N else ""
    return f"n {estimate.n}{few}" + (f", {estimate.unscored} unscored" if estimate.unscored else "")


def complement(estimate: Estimate) -> Estimate:
    """One minus a share, with its interval."""
    ends = [None if end is None else 1 - end for end in (estimate.value, estimate.high, estimate.low)]
    return estimate.model_copy(update=dict(zip(("value", "low", "high"), ends, strict=True)))


def write_estimate(estimate: Estimate, metric: Metric, signed: bool = False) -> str:
    """Value and 95% interval, for text that says so once: `+0.12, 0.08 to 0.15`."""
    if estimate.value is None:
        return f"not defined: {estimate.reason}"
    if estimate.low is None or estimate.high is None:
        return f"{metric.write(estimate.value, signed)}, no interval"
    return f"{metric.write(estimate.value, signed)}, {metric.write_range(estimate.low, estimate.high, signed)}"


def write_figure(estimate: Estimate, metric: Metric, signed: bool = False) -> str:
    """A figure for a sentence: value, 95% interval and n; why, where there is no value."""
    if estimate.value is None:
        return f"not defined ({estimate.reason or 'no reason recorded'}; {write_n(estimate)})"
    value = metric.write(estimate.value, signed)
    if estimate.low is None or estimate.high is None:
        return f"{value} (no interval, {write_n(estimate)})"
    return f"{value} (95% interval {metric.write_range(estimate.low, estimate.high, signed)}, {write_n(estimate)})"


def write_cell(estimate: Estimate | None, metric: Metric, signed: bool = False) -> Cell:
    """An estimate as a cell; `signed` for differences, which also say what they show."""
    if estimate is None:
        return Cell("\u2013", note="not computed", tone="none")
    if estimate.value is None:
        return Cell(
            "not defined", n=write_n(estimate), note=f"({estimate.reason or 'no reason recorded'})", tone="none"
        )
    interval = estimate.reason or "no interval"
    if estimate.low is not None and estimate.high is not None:
        interval = metric.write_range(estimate.low, estimate.high, signed)
    note, tone = verdict(estimate, metric) if signed else ("", "plain")
    if note == "no interval":
        note = ""
    return Cell(metric.write(estimate.value, signed), interval, write_n(estimate), note, tone)


def task_order(facts: RunFacts, scores: Scores) -> tuple[str, ...]:
    """Scored tasks: the pooled one first, then as configured, then any other by name."""
    scored = {task for arm in scores.arms.values() for task in arm}
    listed = (ALL_TASKS, *(task.name for task in facts.tasks))
    return (*(task for task in listed if task in scored), *sorted(scored.difference(listed)))


def headline_metrics(scores: Scores, tasks: tuple[str, ...]) -> tuple[Metric, ...]:
    """The three metrics that need gold where there is gold, and the three that do not where there is none."""
    named = [task for task in tasks if task != ALL_TASKS]
    names = GOLD_HEADLINE if any(map(scores.has_gold, named)) else ()
    if not all(map(scores.has_gold, named)):
        names = (*names, *PLAIN_HEADLINE)
    return tuple(BY_NAME[name] for name in names)


def headline_tables(facts: RunFacts, scores: Scores) -> tuple[Table, ...]:
    """One table per headline metric: tasks down, arms and differences across."""
    tasks = task_order(facts, scores)
    tables = []
    for metric in headline_metrics(scores, tasks):
        shown = [task for task in tasks if scores.has_gold(task) or not metric.needs_gold]
        rows = tuple(TableRow(task_title(task), "", _cells(facts, scores, task, metric)) for task in shown)
        tables.append(Table(metric.title, explain(metric), columns(facts, scores), rows))
    return tuple(tables)


def task_tables(facts: RunFacts, scores: Scores) -> tuple[Table, ...]:
    """One table per task with every metric that any arm has."""
    tables = []
    for task in task_order(facts, scores):
        present = {name for arm in scores.arms.values() for name in arm.get(task, {})}
        names = [metric.name for metric in METRICS if metric.name in present]
        metrics = [describe(name) for name in (*names, *sorted(present.difference(names)))]
        rows = tuple(TableRow(m.title, explain(m), _cells(facts, scores, task, m)) for m in metrics)
        about = "with gold" if scores.has_gold(task) else "no gold: nothing here says whether an answer is right"
        tables.append(Table(task_title(task), about, columns(facts, scores), rows))
    return tuple(tables)


def explain(metric: Metric) -> str:
    """The meaning of a metric, which way is better, and what its n counts."""
    ratio = MEASURED.get(metric.name) or AGREEMENT.get(metric.name)
    way = "" if metric.better == "neither" else f"; {metric.better} is better"
    return metric.meaning + way + ("" if ratio is None else f"; n: {ratio.unit}")


def task_title(task: str) -> str:
    """A task's name on the page."""
    return "All tasks" if task == ALL_TASKS else task


def columns(facts: RunFacts, scores: Scores) -> tuple[str, ...]:
    """Column heads: the scored arms, then the differences."""
    pairs = (pair_arms(pair, scores) for pair in scores.differences)
    differences = (f"{arm_title(a)} \u2212 {arm_title(b).lower()}" for a, b in pairs)
    return (*(arm_title(arm) for arm in facts.arms if arm in scores.arms), *differences)


def _cells(facts: RunFacts, scores: Scores, task: str, metric: Metric) -> tuple[Cell, ...]:
    figures = [write_cell(scores.estimate(arm, task, metric.name), metric) for arm in facts.arms if arm in scores.arms]
    gaps = [write_cell(scores.difference(pair, task, metric.name), metric, signed=True) for pair in scores.differences]
    return (*figures, *gaps)
