"""How sure the distilled student is, and how far that can be trusted: figures, plots and sentences for all pages.

In: `Scores`. Out: tables, sentences, plots, without record text. What must hold: only the arm `student` has these;
where the teacher's labels stood in for gold nothing is called right; where a wanted precision is not reached, that is
said in words; where there is no calibration, why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from chartdistill.evaluation import AGREES, Confidence, Scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import MetricInfo, task_title
from chartdistill.metrics.reliability import Bin, Reliability
from chartdistill.reporting.svg import (
    BASE,
    LEFT,
    QUARTERS,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    corners,
    element,
    rule_across,
    rules_left,
    svg,
    words,
)  # fmt: skip
from chartdistill.reporting.tables import Cell, Table, TableRow, write_cell

NOT_ASKED = "The student was not asked how sure it is (evaluate.confidence)."
_CURVES = {"platt": "logistic (Platt)", "isotonic": "isotonic"}
_SCORES = {
    "sum": "the sum of its tokens' log-probabilities",
    "lowest": "the lowest of its tokens' log-probabilities, and its status'",
    "mean": "the mean of its tokens' log-probabilities, and its status'",
}
_ECE = MetricInfo("ece", "Calibration error", "", "lower", "score")
_BRIER = MetricInfo("brier", "Brier score", "", "lower", "score")
_SHARE = MetricInfo("share", "Share", "")


@dataclass(frozen=True)
class ConfidencePart:
    """What pages show."""

    sentences: tuple[str, ...]
    """The first says what the student can do by itself."""
    table: Table | None = None
    reliability_plot: Markup | None = None
    coverage_plot: Markup | None = None
    right: str = "right"
    """What is likely, in a word or two."""


def confidence_part(scores: Scores | None) -> ConfidencePart:
    """Of a run."""
    found = None if scores is None else scores.confidence
    if found is None:
        return ConfidencePart((NOT_ASKED,))
    if found.absent is not None:
        return ConfidencePart((f"No confidence of items: {found.absent}.",))
    right = "in agreement with the teacher" if found.meaning == AGREES else "right"
    pooled = found.tasks[ALL_TASKS]
    if not pooled.items:
        held = (
            "how far it holds was not measured: no scored record has what it takes to judge an item "
            f"({'a kept label of the teacher' if found.meaning == AGREES else 'gold'})"
        )
        return ConfidencePart(
            (f"The confidence of items was calibrated, but {held}.", *_how(found, right)), right=right
        )
    return ConfidencePart(
        (_coverage(found, pooled, right), *_how(found, right)),
        _table(found, right),
        _reliability_plot(pooled.bins, right),
        _coverage_plot(found, pooled, right),
        right,
    )


def _coverage(found: Confidence, pooled: Reliability, right: str) -> str:
    wanted = f"{100 * found.wanted:g}%"
    if found.threshold is None or pooled.coverage is None or pooled.precision is None:
        return (
            f"At no confidence do the validation records show that {wanted} of the items are {right} (one-sided 95% "
            "limit), so none can be kept without review at that precision."
        )
    if pooled.precision.value is None:
        return (
            f"From a confidence of {found.threshold:.4f} on {wanted} of the items are {right} by the validation "
            "records; no item of the scored records is that sure, so all go to review."
        )
    low = pooled.precision.low
    missed = pooled.precision.value < found.wanted
    held = f" That is below {wanted}" if missed else ""
    if not missed and low is not None and low < found.wanted:
        held = f" That {wanted} are reached is not shown, since the interval begins below"
    return (
        f"At {wanted} precision the student answers for {_share(pooled.coverage)} of its items"
        f"{' that have a confidence' if found.without else ''}, the rest goes to review: from a confidence of "
        f"{found.threshold:.4f} on, a threshold chosen on the validation records, "
        f"{_share(pooled.precision)} of them are {right}.{held + '.' if held else ''}"
    )


def _share(estimate: Estimate) -> str:
    interval = "" if estimate.low is None or estimate.high is None else _SHARE.write_range(estimate.low, estimate.high)
    n = f"n {estimate.n:,}"
    return f"{_SHARE.write(estimate.value or 0.0)} ({interval + ', ' if interval else ''}{n})"


def _how(found: Confidence, right: str) -> list[str]:
    known = found.validation
    kinds = sorted({_CURVES[kind] for kind in found.curves.values()})
    own = [task_title(name).lower() for name in found.curves if name != ALL_TASKS]
    lines = [
        f"Calibrated on {known['items']:,} items of {known['records']:,} validation records, {known['right']:,} of "
        f"them {right}; on no scored record. The curve is {' and '.join(kinds)}"
        + (f", with one of its own for {', '.join(own)}" if own else "")
        + f"; the score of an item is {_SCORES[found.score or 'sum']}.",
    ]
    if found.meaning == AGREES:
        lines.append(
            "The validation records have no gold: a confidence says how likely the item agrees with the teacher, whose "
            "kept labels stand in for it. Nothing here says how often the teacher is right."
        )
    wrong = known["items"] - known["right"]
    if min(known["right"], wrong) < 10:
        few = f"{wrong:,} were not {right}" if wrong <= known["right"] else f"{known['right']:,} were {right}"
        lines.append(
            f"Of the validation items {few}: too few to tell sure items from unsure ones, so the confidences are rough."
        )
    if found.left_out:
        named = ", ".join(f"{task_title(name).lower()} ({number})" for name, number in found.left_out.items())
        lines.append(f"No confidence for tasks with under ten items on the validation records: {named}.")
    if found.without:
        lines.append(f"{found.without:,} items of the scored records have no confidence, and are in no figure here.")
    if found.seconds is not None:
        lines.append(f"Asking about the validation records took {found.seconds:,.0f} s.")
    return lines


def _table(found: Confidence, right: str) -> Table:
    wanted = f"{100 * found.wanted:g}%"
    columns = (
        "Items", f"{right[:1].upper()}{right[1:]}", "ECE before", "ECE", "ECE by chance", "Brier before", "Brier",
        f"Kept at {wanted}", f"{right[:1].upper()}{right[1:]} of those",
    )  # fmt: skip
    rows = []
    for name in (ALL_TASKS, *(task for task in found.tasks if task != ALL_TASKS)):
        of = found.tasks[name]
        chance = Cell("\u2013") if of.ece_by_chance is None else Cell(_ECE.write(of.ece_by_chance))
        cells = [
            Cell(f"{of.items:,}"), Cell(f"{of.right:,}"), write_cell(of.ece_before, _ECE), write_cell(of.ece, _ECE),
            chance, write_cell(of.brier_before, _BRIER), write_cell(of.brier, _BRIER),
            *(Cell("\u2013", note="no threshold") if one is None else write_cell(one, _SHARE)
              for one in (of.coverage, of.precision)),
        ]  # fmt: skip
        rows.append(TableRow(task_title(name), "", cells))
    bins = len(found.tasks[ALL_TASKS].bins)
    about = (
        f"ECE: mean gap between confidence and share {right}, in {bins} bins of equal mass (all tasks; fewer where "
        "items are few), with a 95% interval by clusters; before: the model's own probability; by chance: what "
        "confidences that are exactly true would show with so many items. Brier: mean squared error"
    )
    return Table("How far the confidence holds", about, columns, rows)


def _begin(values: Iterable[float]) -> float:
    """Of an axis up to 1: the highest of a few round places that no value is below."""
    least = min(values, default=0.0)
    return next(one for one in (0.8, 0.6, 0.4, 0.2, 0.0) if one <= least or one == 0)


def _frame(left: float, bottom: float, across: str) -> tuple[Scale, Scale, list[Markup]]:
    """Both axes, from there up to 1; what each one is stands below the plot and in its caption."""
    over, rise = Scale(left, 1, LEFT, WIDTH - RIGHT), Scale(bottom, 1, BASE, TOP)
    parts = rules_left(rise, [(tick, f"{100 * tick:.3g}%") for tick in _ticks(bottom)])
    parts += [words(over.at(tick), BASE + 16, f"{100 * tick:.3g}%", "middle") for tick in _ticks(left)]
    parts.append(words((LEFT + WIDTH) / 2, BASE + 31, across, "middle"))
    return over, rise, parts


def _ticks(begin: float) -> list[float]:
    return [begin + (1 - begin) * share for share in QUARTERS]


def _reliability_plot(bins: tuple[Bin, ...], right: str) -> Markup:
    begin = _begin([share for one in bins for share in (one.probability, one.right)])
    over, rise, parts = _frame(begin, begin, "confidence")
    ideal = corners(*((over.at(end), rise.at(end)) for end in (begin, 1.0)))
    parts.append(element("polyline", class_="line", points=ideal))
    places = [(over.at(one.probability), rise.at(one.right)) for one in bins]
    parts.append(element("polyline", class_="line validation", points=corners(*places)))
    for (x, y), one in zip(places, bins, strict=True):
        hint = f"{one.items:,} items: confidence {100 * one.probability:.1f}%, {right} {100 * one.right:.1f}%"
        parts.append(element("circle", element("title", hint), class_="point", cx=x, cy=y, r=3.5))
    return svg(f"Share {right} by confidence", BASE + 38, parts)


def _coverage_plot(found: Confidence, pooled: Reliability, right: str) -> Markup:
    begin = _begin([found.wanted, *(precision for _, precision in pooled.curve)])
    over, rise, parts = _frame(0.0, begin, "items kept, surest first")
    parts.append(rule_across("grid", rise.at(found.wanted)))
    places = [(over.at(coverage), rise.at(precision)) for coverage, precision in pooled.curve]
    parts.append(element("polyline", class_="line validation", points=corners(*places)))
    if pooled.coverage is not None and pooled.precision is not None and pooled.precision.value is not None:
        x, y = over.at(pooled.coverage.value or 0.0), rise.at(pooled.precision.value)
        hint = f"from {found.threshold:.4f} on: {_share(pooled.coverage)} kept, {_share(pooled.precision)} {right}"
        parts.append(element("circle", element("title", hint), class_="point", cx=x, cy=y, r=4))
    return svg(f"Share {right} by share of items kept", BASE + 38, parts)
