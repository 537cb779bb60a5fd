"""How much of the gold was found, and how much of what was emitted is gold.

precision = TP / emitted, recall = TP / gold, F1 = 2 TP / (emitted + gold), pooled over predictions (micro).
"""

from __future__ import annotations

from chartdistill.metrics.matching import GoldOutcome, Mean, Metric, Outcome, Ratio, with_gold


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


METRICS: dict[str, Metric] = {
    "precision": Ratio("emitted items", with_gold(lambda outcome, gold: (gold.matched, outcome.emitted))),
    "recall": Ratio("gold items", with_gold(lambda outcome, gold: (gold.matched, gold.items))),
    "f1": Ratio(
        "emitted + gold items", with_gold(lambda outcome, gold: (2 * gold.matched, outcome.emitted + gold.items))
    ),
    "joint_f1": Ratio(
        "emitted + gold items", with_gold(lambda outcome, gold: (2 * gold.matched_joint, outcome.emitted + gold.items))
    ),
    "joint_f1_macro": Mean("emitted + gold items", _joint_by_task),
    "f1_macro": Ratio("records", with_gold(_record_f1)),
    "record_exact": Ratio("records", with_gold(_is_exact)),
    "raw_f1": Ratio(
        "emitted + gold items", with_gold(lambda outcome, gold: (2 * gold.matched_raw, outcome.emitted + gold.items))
    ),
}
"""`joint_f1` asks for text and status, `record_exact` for the whole set with statuses; the others for the text.

`joint_f1_macro`: mean over tasks (of one task, the same as `joint_f1`). `f1_macro`: mean over records. `raw_f1`:
matched on the raw text, to the last character, as others report it.
"""
