"""The catalogue of metrics: what each one is called, means, and how its figures are written.

In: metric names and estimates. Out: text. Whoever shows a figure (the report, the trust gates, a study) takes its words
from here. What must hold: a figure that is not defined says why and is never a number. A metric is computed by its
entry in `metrics.METRICS`, and shown by its entry here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from chartdistill.metrics import AGREEMENT, ALL_TASKS
from chartdistill.metrics import METRICS as MEASURED
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.status import OF_NAMED

SMALL_N = 50
"""Below this an estimate is marked `few`: the 95% interval of a share is then up to 14 points wide to either side
(1.96 * sqrt(0.25 / 50), normal approximation)."""


Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class MetricInfo:
    """How one metric is named, explained and written."""

    name: str
    title: str
    meaning: str
    better: Better = "higher"
    form: Literal["score", "share", "number"] = "share"
    needs_gold: bool = True

    def write(self, value: float, signed: bool = False) -> str:
        """The value as text: `0.82`, `4.1%`, `1.84`; with a sign, and shares in percentage points, when `signed`.

        What is neither none nor all has the digits that it takes to see it: 2 of 5,000 are `0.04%`.
        """
        scale, digits = {"share": (100.0, 1), "score": (1.0, 3), "number": (1.0, 2)}[self.form]
        if not signed and self.form != "number" and value not in (0, 1):
            more = range(digits, digits + 4)
            digits = next((each for each in more if round(scale * value, each) not in (0, scale)), digits)
        rounded = round(scale * value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
        sign = "+" if signed and rounded else ""
        unit = "" if self.form != "share" else " pp" if signed else "%"
        return f"{rounded:{sign}.{digits}f}{unit}".replace("-", "\u2212")

    def write_range(self, low: float, high: float, signed: bool = False) -> str:
        """Both ends of an interval: `0.77 to 0.86`."""
        return f"{self.write(low, signed).removesuffix(' pp').removesuffix('%')} to {self.write(high, signed)}"


_HARMS = {
    "harmful_status_rate": ("Harmful status", "gold items given a status that can do harm"),
    "stop_as_continue_rate": (
        "Stopped, called taken",
        "gold items stopped that were called continued, started, changed",
    ),
    "avoid_as_start_rate": ("Avoided, called taken", "gold items to avoid that were called taken in any way"),
    "hold_as_continue_rate": ("Held, called taken", "gold items on hold that were called continued or started"),
    "past_as_continue_rate": ("Past, called taken", "gold items of the past that were called continued or started"),
    "continue_as_stop_rate": ("Continued, called stopped", "gold items continued that were called stopped"),
}


def _harm_infos() -> Iterator[MetricInfo]:
    """Each once among all gold items, once among those of which the arm lists the drug."""
    for name, (title, meaning) in _HARMS.items():
        meaning += ", by any item of their drug"
        yield MetricInfo(name, title, meaning, "lower")
        yield MetricInfo(name + OF_NAMED, f"{title}, of those listed", f"{meaning}; of those the arm lists", "lower")


CATALOGUE = (
    MetricInfo(
        "joint_f1", "Joint F1", "items right in both text and status: precision and recall in one", form="score"
    ),
    MetricInfo(
        "confabulation_rate", "Confabulation", "emitted items the chart does not bear out, of all emitted", "lower"
    ),
    MetricInfo("abstention_specificity", "Abstention", "answered none, of the records that have none"),
    MetricInfo("precision", "Precision", "emitted items that are right (text only), of all emitted", form="score"),
    MetricInfo("recall", "Recall", "gold items that were emitted (text only), of all gold items", form="score"),
    MetricInfo("f1", "F1", "harmonic mean of precision and recall (text only)", form="score"),
    MetricInfo("joint_f1_macro", "Joint F1, tasks alike", "mean over tasks of the joint F1 of each", form="score"),
    MetricInfo(
        "f1_macro", "F1 per record", "mean over records; 1 where there is none and none was emitted", form="score"
    ),
    MetricInfo("record_exact", "Record exact", "records whose whole answer is right"),
    MetricInfo(
        "foretold_f1",
        "F1 of what is foretold",
        "forecasts matched by what they foretell: good, fair, guarded, poor, uncertain, a risk, a time",
        form="score",
    ),
    MetricInfo(
        "string_f1",
        "F1, by letters",
        "as F1, but free-text names must be the same letter for letter (case and space aside)",
        form="score",
    ),
    MetricInfo("string_joint_f1", "Joint F1, by letters", "as joint F1, with names matched by letters", form="score"),
    MetricInfo("raw_f1", "F1, raw text", "as F1, but the text must be the same to the last character", form="score"),
    MetricInfo("status_accuracy", "Status right", "of the items that the arm itself matched; joint F1 is fairer"),
    MetricInfo("status_f1_macro", "Status F1", "mean over statuses of the joint F1 of each", form="score"),
    *_harm_infos(),
    MetricInfo("invented_rate", "Invented", "emitted items that are nowhere in the chart", "lower", needs_gold=False),
    MetricInfo(
        "from_example_rate",
        "From an example",
        "emitted items that are nowhere in the chart, but in a worked example of the prompts; part of invented",
        "lower",
        needs_gold=False,
    ),
    MetricInfo("wrong_kind_rate", "Wrong kind", "emitted items in the chart that are not what was asked for", "lower"),
    MetricInfo(
        "contradicted_rate",
        "Contradicted",
        "emitted items whose status the chart contradicts; only tasks with statuses",
        "lower",
    ),
    MetricInfo(
        "string_confabulation_rate",
        "Confabulation, by letters",
        "as confabulation, but free-text names must be the same letter for letter (case and space aside)",
        "lower",
    ),
    MetricInfo(
        "attribute_error_rate",
        "Attribute error",
        "drugs emitted with a number (a dose) that does not stand beside them",
        "lower",
        needs_gold=False,
    ),
    MetricInfo("dosage_right_rate", "Dosage right", "dose, route, frequency ... as gold gives it, of matched drugs"),
    MetricInfo("dosage_wrong_rate", "Dosage wrong", "another value than gold's, of matched drugs", "lower"),
    MetricInfo("dosage_missing_rate", "Dosage left out", "gold gives it and the item does not", "lower"),
    MetricInfo("dose_wrong_rate", "Dose wrong", "matched drugs with another dose than gold's", "lower"),
    MetricInfo("dose_right_rate", "Dose right", "matched drugs with gold's dose, however written"),
    MetricInfo("route_right_rate", "Route right", "matched drugs with gold's route"),
    MetricInfo("frequency_right_rate", "Frequency right", "matched drugs taken as often as gold says"),
    MetricInfo("as_needed_right_rate", "As needed right", "matched drugs taken as needed that say so"),
    MetricInfo("duration_right_rate", "Duration right", "matched drugs taken as long as gold says"),
    MetricInfo("false_abstention_rate", "False none", "answered none, of the records that have items", "lower"),
    MetricInfo(
        "format_valid_rate", "Format valid", "answers that are whole and follow the answer format", needs_gold=False
    ),
    MetricInfo(
        "truncated_rate",
        "Cut off",
        "answers that ran out of room, or only repeated themselves",
        "lower",
        needs_gold=False,
    ),
    MetricInfo("none_rate", "None found", "answers that say none found", "neither", needs_gold=False),
    MetricInfo(
        "duplicate_rate", "Duplicates", "items that repeat one above them in the same answer", "lower", needs_gold=False
    ),
    MetricInfo("items_per_record", "Items per record", "emitted items, mean over records", "neither", "number", False),
    MetricInfo(
        "teacher_recall",
        "Teacher's items listed",
        "items of the teacher that the arm lists too (text); not correctness",
        "neither",
        needs_gold=False,
    ),
    MetricInfo(
        "teacher_f1",
        "F1 to teacher",
        "agreement with the teacher's items (text); not correctness",
        "neither",
        "score",
        False,
    ),
    MetricInfo(
        "teacher_joint_f1",
        "Joint F1 to teacher",
        "agreement with the teacher's items and status; not correctness",
        "neither",
        "score",
        False,
    ),
)


ROBUSTNESS_METRICS = (
    MetricInfo(
        "vanish_rate", "Vanishes", "its sentence deleted, an item named before is named no more", needs_gold=False
    ),
    MetricInfo("appear_rate", "Appears", "a sentence inserted, its item is named, with its status", needs_gold=False),
    MetricInfo(
        "flip_rate",
        "Follows",
        "continue turned into stop (or back), a status right before is right after",
        needs_gold=False,
    ),
    MetricInfo(
        "vanish_placebo_rate",
        "Vanishes, placebo",
        "another sentence deleted, the item is named no more or with another status",
        "lower",
        needs_gold=False,
    ),
    MetricInfo(
        "appear_placebo_rate",
        "Appears, placebo",
        "a sentence inserted that says nothing, an item is named that was not before",
        "lower",
        needs_gold=False,
    ),
    MetricInfo(
        "flip_placebo_rate",
        "Follows, placebo",
        "another item's sentence turned round, the item is named no more or with another status",
        "lower",
        needs_gold=False,
    ),
    MetricInfo(
        "vanish_effect", "Vanishes, minus placebo", "what deleting its own sentence does", "neither", needs_gold=False
    ),
    MetricInfo(
        "appear_effect", "Appears, minus placebo", "what inserting its own sentence does", "neither", needs_gold=False
    ),
    MetricInfo(
        "flip_effect", "Follows, minus placebo", "what turning its own sentence does", "neither", needs_gold=False
    ),
    MetricInfo("consistent_right", "Always the same, right", "all answers alike, and exactly the gold"),
    MetricInfo("consistent_wrong", "Always the same, WRONG", "all answers alike, and not the gold", "lower"),
    MetricInfo(
        "inconsistent_right",
        "Right at first, then other",
        "the chart as it is answered right, another form not so",
        "neither",
    ),
    MetricInfo(
        "inconsistent_wrong",
        "Wrong at first, then other",
        "the chart as it is answered wrong, another form not so",
        "neither",
    ),
    MetricInfo(
        "share_identical",
        "Same answer",
        "all answers alike; says nothing about whether they are right",
        needs_gold=False,
    ),
    MetricInfo(
        "alpha",
        "Krippendorff's alpha",
        "agreement of the answers over items beyond chance; 1 is always the same",
        form="score",
        needs_gold=False,
    ),
)
"""Figures of records in changed form."""


BY_NAME = {metric.name: metric for metric in CATALOGUE}


GOLD_HEADLINE = ("joint_f1", "confabulation_rate", "abstention_specificity")


UNUSABLE_BESIDE = {"confabulation_rate": "format_valid_rate", "invented_rate": "format_valid_rate"}
"""Metric -> what must be shown with it: an arm that answers nothing usable has invented nothing."""


PLAIN_HEADLINE = ("invented_rate", "format_valid_rate", "teacher_joint_f1")
"""What can be shown without gold."""


def with_unusable(metrics: Iterable[str]) -> tuple[str, ...]:
    """The metrics, each with what must be shown beside it, every one once."""
    beside = (name for metric in metrics for name in (metric, UNUSABLE_BESIDE.get(metric, metric)))
    return tuple(dict.fromkeys(beside))


def describe(name: str) -> MetricInfo:
    """The metric of that name; one this report does not know is shown as it was recorded."""
    return BY_NAME.get(name) or MetricInfo(name, name, "as recorded by evaluate", "neither", "number", False)


def metric_in_text(metric: MetricInfo) -> str:
    """A metric's name inside a sentence."""
    return metric.title.lower().replace("f1", "F1")


def task_title(task: str) -> str:
    """A task's name on the page."""
    return "All tasks" if task == ALL_TASKS else task


def explain(metric: MetricInfo) -> str:
    """The meaning of a metric, which way is better, and what its n counts."""
    ratio = MEASURED.get(metric.name) or AGREEMENT.get(metric.name)
    way = "" if metric.better == "neither" else f"; {metric.better} is better"
    return metric.meaning + way + ("" if ratio is None else f"; n: {ratio.unit}")


def complement(estimate: Estimate) -> Estimate:
    """One minus a share, with its interval."""
    ends = [None if end is None else 1 - end for end in (estimate.value, estimate.high, estimate.low)]
    return estimate.model_copy(update=dict(zip(("value", "low", "high"), ends, strict=True)))


def write_n(estimate: Estimate) -> str:
    """`n 312 in 160 clusters`, for F1 `n 312 in 170 records and 160 clusters`; with `(few)`, of a difference in how
    many clusters the arms differ, and the number of unscored records where there are any."""
    few = " (few)" if estimate.n < SMALL_N else ""
    places = [(estimate.records, "record"), (estimate.clusters, "cluster")]
    among = " and ".join(f"{number} {word}{'s' if number > 1 else ''}" for number, word in places if number)
    differ = "" if estimate.discordant is None else f", {estimate.discordant} differ"
    unscored = f", {estimate.unscored} unscored" if estimate.unscored else ""
    return f"n {estimate.n}{few}{f' in {among}' if among else ''}{differ}{unscored}"


def write_estimate(estimate: Estimate, metric: MetricInfo, signed: bool = False) -> str:
    """Value and 95% interval, for text that says so once: `+0.12, 0.08 to 0.15`."""
    if estimate.value is None:
        return f"not defined: {estimate.reason}"
    if estimate.low is None or estimate.high is None:
        return f"{metric.write(estimate.value, signed)}, no interval"
    return f"{metric.write(estimate.value, signed)}, {metric.write_range(estimate.low, estimate.high, signed)}"


def write_figure(estimate: Estimate, metric: MetricInfo, signed: bool = False) -> str:
    """A figure for a sentence: value, 95% interval and n; why, where there is no value."""
    if estimate.value is None:
        return f"not defined ({estimate.reason or 'no reason recorded'}; {write_n(estimate)})"
    value = metric.write(estimate.value, signed)
    if estimate.low is None or estimate.high is None:
        return f"{value} (no interval, {write_n(estimate)})"
    return f"{value} (95% interval {metric.write_range(estimate.low, estimate.high, signed)}, {write_n(estimate)})"
