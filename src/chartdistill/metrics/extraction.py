"""How much of the gold was found, and how much of what was emitted is gold.

precision = TP / emitted, recall = TP / gold, F1 = 2 TP / (emitted + gold), pooled over predictions (micro). n of an F1
is the number of items it is about, a matched pair counted once, and the number of records.
"""

from __future__ import annotations

from collections.abc import Callable

from chartdistill.metrics.matching import GoldOutcome, Mean, Metric, Outcome, Ratio, Tally, with_gold

_IN_QUESTION = "items, emitted or in gold"


def _record_f1(outcome: Outcome, gold: GoldOutcome) -> tuple[float, float]:
    """F1 of one record: 1 when both sides are empty, 0 when one is, 0 for a broken format."""
    if not outcome.valid:
        return 0, 1
    size = outcome.emitted + gold.items
    return (2 * gold.matched / size if size else 1.0), 1


def _is_exact(outcome: Outcome, gold: GoldOutcome) -> tuple[float, float]:
    return outcome.valid and outcome.emitted == gold.items == gold.matched_joint, 1


def _joint_by_task(outcome: Outcome) -> dict[str, tuple[float, float]]:
    if outcome.gold is None:
        return {}
    return {outcome.task: (2 * outcome.gold.matched_joint, outcome.emitted + outcome.gold.items)}


def _f1(
    tally: Callable[[GoldOutcome], Tally | None], right: Callable[[GoldOutcome, Tally], int], unit: str = _IN_QUESTION
) -> Ratio:
    """F1 by one rule of when two items are the same; `right`: the pairs that count."""

    def count(_: Outcome, gold: GoldOutcome) -> tuple[float, float] | None:
        found = tally(gold)
        return None if found is None else (2 * right(gold, found), found.emitted + found.items)

    def size(outcome: Outcome) -> float:
        found = None if outcome.gold is None else tally(outcome.gold)
        return 0 if found is None else found.in_question

    return Ratio(unit, with_gold(count), size=size)


def _size(outcome: Outcome) -> float:
    return 0 if outcome.gold is None else outcome.gold.by_key.in_question


METRICS: dict[str, Metric] = {
    "precision": Ratio("emitted items", with_gold(lambda outcome, gold: (gold.matched, outcome.emitted))),
    "recall": Ratio("gold items", with_gold(lambda outcome, gold: (gold.matched, gold.items))),
    "f1": _f1(lambda gold: gold.by_key, lambda _, found: found.matched),
    "joint_f1": _f1(lambda gold: gold.by_key, lambda _, found: found.matched_joint),
    "joint_f1_macro": Mean(_IN_QUESTION, _joint_by_task, size=_size),
    "f1_macro": Ratio("records", with_gold(_record_f1)),
    "record_exact": Ratio("records", with_gold(_is_exact)),
    "foretold_f1": _f1(lambda gold: gold.by_gist, lambda _, found: found.matched, "forecasts, emitted or in gold"),
    "string_f1": _f1(lambda gold: gold.by_string, lambda _, found: found.matched),
    "string_joint_f1": _f1(lambda gold: gold.by_string, lambda _, found: found.matched_joint),
    "raw_f1": _f1(lambda gold: gold.by_key, lambda gold, _: gold.matched_raw),
}
"""`joint_f1` asks for text and status, `record_exact` for the whole set with statuses; the others for the text.

`joint_f1_macro`: mean over tasks (of one task, the same as `joint_f1`). `f1_macro`: mean over records. `foretold_f1`:
forecasts matched by what they foretell. `string_*`: free-text names matched by their letters, case, space and
punctuation at the ends aside. `raw_f1`: matched on the raw text, to the last character, as others report it.
"""
