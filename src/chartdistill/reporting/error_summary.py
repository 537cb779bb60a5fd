"""The first screen in plain words: of 100 items how many are right, of 100 in the charts how many are found, what harm.

In: `RunResults` and scores. Out: sentences and rows for a reader who knows charts and no metrics; and the classes that
the example records are coloured by. What must hold: every figure is one that `evaluate` wrote, or a count of the stored
answers that agrees with it, and stands with its interval and n; what needs gold and has none is said not to be known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chartdistill.evaluation import Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import BY_NAME, MetricInfo, complement, task_title, write_n
from chartdistill.metrics.harm import HARMFUL
from chartdistill.metrics.matching import harmful_pairs
from chartdistill.metrics.status import ANY_HARM, HARM_RATES, OF_NAMED
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import Table, TableRow, arm_title, task_order, write_cell, write_count

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
_CHART_SAYS = {"stop": "stopped", "avoid": "to avoid", "hold": "on hold", "past": "past", "continue": "continued"}
"""Status in gold -> how a drug with it is called."""
_RATES = {status: metric for metric, status in HARM_RATES.items()}
_SHARE = MetricInfo("share", "", "")
"""How shares without a metric of their own are written."""
_NOT_BORNE_OUT = (
    ("invented_rate", "nowhere in the chart"),
    ("wrong_kind_rate", "in the chart, but not what was asked for"),
    ("contradicted_rate", "of those with a status: not the chart's"),
)


@dataclass(frozen=True)
class PlainFigure:
    """One sentence with its figure: `Of 100 items it lists, [97] are borne out by the chart.`"""

    kind: str
    """`good` is what is right, `bad` what is wrong, `unknown` what cannot be said."""
    before: str
    number: str
    after: str
    detail: str
    """Interval and n."""

    def line(self) -> str:
        """The sentence on one line, for formats without layout."""
        words = " ".join(part for part in (self.before, self.number, self.after) if part)
        return f"{words} ({self.detail})." if self.detail else f"{words}."


@dataclass(frozen=True)
class Confusion:
    """Drugs with one status in the charts, and how many of them were listed with one that can do harm."""

    chart_says: str
    said: tuple[tuple[str, int | None], ...]
    """Each status that can do harm there, and how many drugs were listed with it; None where that was not counted."""
    count: str
    """`2 of 87`, or why there is none."""
    share: str
    """`2.3%, at most 8.2%`."""
    any_harm: bool


def plain_figures(results: RunResults, scores: Scores) -> tuple[PlainFigure, ...]:
    """What the student does over all tasks; empty when it was not scored."""
    return tuple(_figures(results, scores)) if STUDENT in scores.arms else ()


def _figures(results: RunResults, scores: Scores) -> Iterator[PlainFigure]:
    def found(metric: str) -> Estimate | None:
        estimate = scores.estimate(STUDENT, ALL_TASKS, metric)
        return None if estimate is None or estimate.value is None else estimate

    who = arm_title(STUDENT).lower()
    has_gold = scores.has_gold(ALL_TASKS)
    if has_gold and (wrong := found("confabulation_rate")):
        parts = ((found(name), words) for name, words in _NOT_BORNE_OUT)
        others = [f"{write_cell(one, _SHARE).value} {words} ({_at_most(one)})" for one, words in parts if one]
        why = f". Not borne out: {'; '.join(others)}" if others else ""
        yield _of_100(f"Of 100 items the {who} lists,", complement(wrong), "are borne out by the chart", why)
    elif grounded := found("invented_rate"):
        yield _of_100(f"Of 100 items the {who} lists,", complement(grounded), "are found in the chart")
    if has_gold and (recall := found("recall")):
        yield _of_100("Of 100 items in the charts, it finds", recall, "")
    if has_gold and (stopped := found(_RATES["stop"])):
        yield _counted(
            f"Of {stopped.n:,} stopped drugs, it called", stopped, "continued, started or changed", wrong=True
        )
    if has_gold and (none := found("abstention_specificity")):
        before = f"Of {none.n:,} times that a chart had nothing to list, it said \u201cnone found\u201d"
        yield _counted(before, none, "times")
    if valid := found("format_valid_rate"):
        after = "followed no usable format, and so list nothing, right or wrong"
        yield _counted(f"Of its {valid.n:,} answers,", complement(valid), after, wrong=True)
    if not has_gold:
        known = "how many items are right, how many are left out and whether a status is dangerous"
        yield PlainFigure("unknown", "Not known, for want of gold (right answers):", "", known, "")


def _of_100(before: str, share: Estimate, after: str, more: str = "") -> PlainFigure:
    """A share as so many of 100; whole, unless that would make all or none of what is not."""
    value = 100 * (share.value or 0.0)
    whole = round(value)
    number = f"{value:.1f}" if (whole in (0, 100) and value != whole) else f"{whole}"
    if float(number) in (0.0, 100.0) and value != float(number):
        number = "fewer than 0.1" if value < 50 else "more than 99.9"
    return PlainFigure("good", before, number, after, f"{_interval(share)}; {write_n(share)}{more}")


def _counted(before: str, share: Estimate, after: str, wrong: bool = False) -> PlainFigure:
    """A share of few things, as a count; `wrong`: of what should not happen, and is no fault where it did not."""
    bound = _at_most(share) if wrong else _at_least(share)
    kind = "bad" if wrong and share.value else "good"
    detail = f"{_SHARE.write(share.value or 0.0)}, {bound}; {write_n(share)}"
    return PlainFigure(kind, before, f"{round((share.value or 0.0) * share.n):,}", after, detail)


def _interval(share: Estimate) -> str:
    if share.low is None or share.high is None:
        return "no interval"
    return f"95% interval {_SHARE.write_range(share.low, share.high)}"


def _at_most(share: Estimate) -> str:
    return "no interval" if share.high is None else f"at most {_SHARE.write(share.high)}"


def _at_least(share: Estimate) -> str:
    return "no interval" if share.low is None else f"at least {_SHARE.write(share.low)}"


def confusions(results: RunResults, scores: Scores) -> tuple[Confusion, ...]:
    """Each status in the charts with the statuses that can do harm there, then all together. Empty where no task has
    statuses and gold."""
    of = {status: scores.estimate(STUDENT, ALL_TASKS, metric) for status, metric in _RATES.items()}
    if not any(estimate is not None and estimate.n for estimate in of.values()):
        return ()
    harmed, pairs = _count_pairs(results)
    rows = []
    for status, estimate in of.items():
        known = estimate is not None and estimate.value is not None
        agrees = known and estimate is not None and harmed[status] == round((estimate.value or 0.0) * estimate.n)
        said = tuple((word, pairs[status, word] if agrees else None) for word in sorted(HARMFUL[status]))
        rows.append(_confusion(_CHART_SAYS[status], said, estimate))
    total = _confusion("any of these", (), scores.estimate(STUDENT, ALL_TASKS, ANY_HARM))
    named = scores.estimate(STUDENT, ALL_TASKS, ANY_HARM + OF_NAMED)
    if named is not None and named.value is not None:
        share = f"{total.share}; of the {named.n:,} it lists {_SHARE.write(named.value)}, {_at_most(named)}"
        total = replace(total, share=share)
    return (*rows, total)


def _confusion(says: str, said: tuple[tuple[str, int | None], ...], estimate: Estimate | None) -> Confusion:
    if estimate is None:
        return Confusion(says, said, "not measured in this run", "", any_harm=False)
    if estimate.value is None:
        return Confusion(says, (), "none in the charts", "", any_harm=False)
    number = round(estimate.value * estimate.n)
    share = f"{_SHARE.write(estimate.value)}, {_at_most(estimate)}"
    return Confusion(says, said, f"{write_count(number)} of {write_count(estimate.n)}", share, number > 0)


def _count_pairs(results: RunResults) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Of the student's stored answers: harmed gold items by their status; the same by the status they were listed with
    too (one listed with two counts for both)."""
    harmed: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    tasks = {task.name: task for task in results.tasks}
    for name, answers in results.predictions.items():
        for (task, arm), prediction in answers.items():
            gold = (results.scored_records[name].gold or {}).get(task)
            if arm != STUDENT or task not in tasks or gold is None or not prediction.items:
                continue
            for status, said in harmful_pairs(prediction.items, gold, tasks[task]):
                harmed[status] += 1
                pairs.update((status, word) for word in said)
    return harmed, pairs


def plain_table(results: RunResults, scores: Scores) -> Table | None:
    """Tasks down: what the student lists that is borne out, what it finds and leaves out. None without gold."""
    rows = []
    for task in task_order(results, scores):
        wrong, recall = (scores.estimate(STUDENT, task, name) for name in ("confabulation_rate", "recall"))
        if task == ALL_TASKS or not scores.has_gold(task) or wrong is None or recall is None:
            continue
        right = write_cell(wrong if wrong.value is None else complement(wrong), _SHARE)
        found, missed = write_cell(recall, _SHARE), "\u2013"
        if recall.value is not None:
            missed = f"{round((1 - recall.value) * recall.n):,} of {recall.n:,}"
        cells = [right, found, replace(found, value=missed, interval="", note="")]
        rows.append(TableRow(task_title(task), "", cells))
    heads = ["Of what it lists, borne out", "Of what the charts hold, found", "Left out"]
    about = "what the distilled student gets right and what it leaves out"
    return Table("By task", about, heads, rows) if rows else None


def weakest_task(results: RunResults, scores: Scores) -> str:
    """The task with the lowest joint F1, in a sentence; empty where there are not two to compare."""
    found = [
        (estimate.value, task, write_cell(estimate, BY_NAME["joint_f1"]))
        for task in task_order(results, scores)
        if task != ALL_TASKS
        and scores.has_gold(task)
        and (estimate := scores.estimate(STUDENT, task, "joint_f1")) is not None
        and estimate.value is not None
    ]
    if len(found) < 2:
        return ""
    _, task, cell = min(found, key=lambda entry: entry[0])
    return f"Weakest task: {task_title(task)}, joint F1 {cell.line()}."
