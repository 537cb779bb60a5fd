"""Tables that all pages share, and the words for what a difference shows.

In: `RunResults`, or figures as JSON holds them, and their estimates. Out: tables of cells, as plain text. What must
hold: every cell has its n; a figure that is not defined says why and is never a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chartdistill.evaluation import Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import (
    BY_NAME,
    CATALOGUE,
    GOLD_HEADLINE,
    PLAIN_HEADLINE,
    ROBUSTNESS_METRICS,
    MetricInfo,
    describe,
    explain,
    task_title,
    with_unusable,
    write_n,
)
from chartdistill.metrics.significance import LEAST_DISCORDANT, PValue
from chartdistill.reporting.run_results import RunResults
from chartdistill.schema import LABELS_OF

Tone = Literal["good", "bad", "even", "plain", "none"]

METRICS = BY_NAME | {metric.name: metric for metric in ROBUSTNESS_METRICS}
"""Every metric of a page by its name."""
ALPHA = 0.05
"""Corrected p values below this confirm a difference."""
NO_DIFFERENCE = "no difference shown"
NO_INTERVAL = "no interval"
MISSING = "\u2013"
UNDEFINED = "not defined"
PAIRED = (
    "Differences are paired on the same records, and their n counts those records. Where n counts records, that of all "
    "tasks counts each once for each task. pp: percentage points."
)
"""What tables do not say of their n."""
ARM_TITLES = {
    "teacher": "Teacher",
    "base": "Base student",
    "student": "Distilled student",
    "student plain": "Student, plain",
    "student constrained": "Student, constrained",
    "student filtered": "Student, filtered",
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
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Table:
    """Rows under one heading."""

    title: str
    meaning: str
    columns: Sequence[str]
    rows: Sequence[TableRow]


@dataclass(frozen=True)
class Grid:
    """A table of plain text; all columns but the first are figures unless `prose`."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    absent: str = ""
    """What is said where there are no rows."""
    prose: bool = False


def arm_title(arm: str) -> str:
    """What an arm is called on the page."""
    return arm[:1].upper() + arm[1:] if arm.startswith(LABELS_OF) else ARM_TITLES.get(arm, arm)


def arm_in_text(arm: str) -> str:
    """What an arm is called within a sentence; the name of a file keeps its capitals."""
    return arm if arm.startswith(LABELS_OF) else arm_title(arm).lower()


def pair_arms(pair: str, scores: Scores) -> tuple[str, str]:
    """`student-base` -> (`student`, `base`), also for arms whose names hold a hyphen."""
    for arm in scores.arms:
        if pair.startswith(f"{arm}-") and pair[len(arm) + 1 :] in scores.arms:
            return arm, pair[len(arm) + 1 :]
    first, _, second = pair.partition("-")
    return first, second


def verdict(estimate: Estimate, metric: MetricInfo, test: PValue | None) -> tuple[str, Tone]:
    """What a paired difference shows. Something only where all three say so: the interval leaves out 0, the p value is
    below 0.05 when corrected over all verdicts of the page, and the arms differ in `LEAST_DISCORDANT` clusters or
    more."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return NO_INTERVAL, "none"
    tested = test is not None and test.holm is not None and test.holm < ALPHA
    if estimate.low <= 0 <= estimate.high or not tested or (estimate.discordant or 0) < LEAST_DISCORDANT:
        return NO_DIFFERENCE, "even"
    rises = estimate.value > 0
    if metric.better == "neither":
        return ("higher" if rises else "lower"), "plain"
    return ("better", "good") if rises == (metric.better == "higher") else ("worse", "bad")


def in_words(shown: str, better: str, worse: str, same: str, unknown: str) -> str:
    """A verdict on a difference, in the words of a sentence."""
    return {"better": better, "worse": worse, NO_DIFFERENCE: same, NO_INTERVAL: unknown}[shown]


def write_cell(estimate: Estimate | None, metric: MetricInfo, signed: bool = False, test: PValue | None = None) -> Cell:
    """An estimate as a cell; `signed` for differences. What one shows is said where it was tested in the page's
    family."""
    if estimate is None:
        return Cell(MISSING, note="not computed", tone="none")
    if estimate.value is None:
        why = estimate.reason or "no reason recorded"
        return Cell(UNDEFINED, n=write_n(estimate), note=f"({why})", tone="none")
    interval = estimate.reason or "no interval"
    if estimate.low is not None and estimate.high is not None:
        interval = metric.write_range(estimate.low, estimate.high, signed)
    in_family = signed and test is not None and test.holm is not None
    note, tone = verdict(estimate, metric, test) if in_family else ("", "plain")
    shown = "" if note == NO_INTERVAL else note
    return Cell(metric.write(estimate.value, signed), interval, write_n(estimate), shown, tone)


def write_p(value: float | None) -> str:
    """A p value as text."""
    if value is None:
        return "no p"
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def write_count(value: object) -> str:
    """A count with thousands separators; what is no number, as it is; what is missing, as a dash."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def with_estimates(figures: Any) -> Any:
    """Figures as JSON holds them, with every estimate among them as an `Estimate`."""
    if isinstance(figures, Mapping):
        fields = Estimate.model_fields
        if {name for name, of in fields.items() if of.is_required()} <= figures.keys() <= fields.keys():
            return Estimate.model_validate(figures)
        return {name: with_estimates(of) for name, of in figures.items()}
    return list(map(with_estimates, figures)) if isinstance(figures, list) else figures


def task_order(results: RunResults, scores: Scores) -> tuple[str, ...]:
    """Scored tasks: the pooled one first, then as configured, then any other by name."""
    scored = {task for arm in scores.arms.values() for task in arm}
    listed = (ALL_TASKS, *(task.name for task in results.tasks))
    return (*(task for task in listed if task in scored), *sorted(scored.difference(listed)))


def headline_metrics(scores: Scores, tasks: tuple[str, ...]) -> tuple[MetricInfo, ...]:
    """The three metrics that need gold where there is gold, and the three that do not where there is none."""
    named = [task for task in tasks if task != ALL_TASKS]
    names = GOLD_HEADLINE if any(map(scores.has_gold, named)) else ()
    if not all(map(scores.has_gold, named)):
        names = (*names, *PLAIN_HEADLINE)
    return tuple(BY_NAME[name] for name in names)


def defined_table(title: str, meaning: str, columns: Sequence[str], rows: Sequence[TableRow]) -> Table:
    """A table of the rows that have a value; those that have none are named below the title, with the reason."""
    kept = [row for row in rows if any(cell.value not in (UNDEFINED, MISSING) for cell in row.cells)]
    by_reason: dict[str, list[str]] = {}
    for row in (row for row in rows if row not in kept):
        why = next((cell.note for cell in row.cells if cell.note), "")
        by_reason.setdefault(why, []).append(row.label)
    said = "; ".join(f"{', '.join(labels)} {why}".strip() for why, labels in by_reason.items())
    return Table(title, f"{meaning}. Not defined: {said}." if said else meaning, columns, kept)


def measured_tasks(metric: MetricInfo, scores: Scores, tasks: Sequence[str]) -> list[str]:
    """The tasks whose records have what the metric needs."""
    return [task for task in tasks if scores.has_gold(task) or not metric.needs_gold]


def headline_tables(results: RunResults, scores: Scores) -> list[Table]:
    """One table per headline metric: tasks down, arms and differences across. What is broken stands beside what is
    invented."""
    tasks = task_order(results, scores)
    tables = []
    names = with_unusable(metric.name for metric in headline_metrics(scores, tasks))
    for metric in (BY_NAME[name] for name in names):
        shown = measured_tasks(metric, scores, tasks)
        rows = [TableRow(task_title(task), "", _cells(results, scores, task, metric)) for task in shown]
        tables.append(defined_table(metric.title, explain(metric), columns(results, scores), rows))
    return tables


def task_tables(results: RunResults, scores: Scores) -> list[Table]:
    """One table per task with every metric that some arm has a value of; of the others, why none has."""
    tables = []
    for task in task_order(results, scores):
        present = {name for arm in scores.arms.values() for name in arm.get(task, {})}
        if _why_undefined(scores, task, BY_NAME["from_example_rate"]):  # a run without worked examples
            present.discard("from_example_rate")
        names = [metric.name for metric in CATALOGUE if metric.name in present]
        metrics = [describe(name) for name in (*names, *sorted(present.difference(names)))]
        defined = [metric for metric in metrics if not _why_undefined(scores, task, metric)]
        rows = [TableRow(m.title, explain(m), _cells(results, scores, task, m)) for m in defined]
        about = "with gold" if scores.has_gold(task) else "no gold: nothing here says whether an answer is right"
        about += _left_out(scores, task, [metric for metric in metrics if metric not in defined])
        tables.append(Table(task_title(task), about, columns(results, scores), rows))
    return tables


def _why_undefined(scores: Scores, task: str, metric: MetricInfo) -> str:
    """Why no arm has a value; empty where one has."""
    found = [one for arm in scores.arms if (one := scores.estimate(arm, task, metric.name)) is not None]
    if any(one.value is not None for one in found):
        return ""
    return next((one.reason for one in found if one.reason), "not computed")


def _left_out(scores: Scores, task: str, metrics: Sequence[MetricInfo]) -> str:
    by_reason: dict[str, list[str]] = {}
    for metric in metrics:
        by_reason.setdefault(_why_undefined(scores, task, metric), []).append(metric.title)
    said = "; ".join(f"{', '.join(titles)} ({reason})" for reason, titles in by_reason.items())
    return f". Not defined for any arm: {said}." if said else ""


def columns(results: RunResults, scores: Scores) -> list[str]:
    """Column heads: the scored arms, then the differences."""
    pairs = (pair_arms(pair, scores) for pair in scores.differences)
    differences = (f"{arm_title(a)} \u2212 {arm_in_text(b)}" for a, b in pairs)
    return [*(arm_title(arm) for arm in results.arms if arm in scores.arms), *differences]


def _cells(results: RunResults, scores: Scores, task: str, metric: MetricInfo) -> list[Cell]:
    figures = (scores.estimate(arm, task, metric.name) for arm in results.arms if arm in scores.arms)
    gaps = (
        write_cell(scores.difference(pair, task, metric.name), metric, True, scores.p_value(pair, task, metric.name))
        for pair in scores.differences
    )
    return [*(write_cell(one, metric) for one in figures), *gaps]
