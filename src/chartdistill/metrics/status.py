"""Whether items have the right status, and the confusions that can do harm. Only of tasks with statuses.

`status_accuracy` is over the items that the arm itself matched, so an arm that finds only easy items can look good in
it: `joint_f1` is the figure to compare arms by.
"""

from __future__ import annotations

from chartdistill.metrics.matching import GoldOutcome, Mean, Metric, Outcome, Ratio, with_gold

HARMFUL = {
    "stop_as_continue_rate": ("stop", "continue"),
    "avoid_as_start_rate": ("avoid", "start"),
    "hold_as_continue_rate": ("hold", "continue"),
}
"""Metric -> (gold status, emitted status): a drug that was stopped, is to be avoided or is held, given on or begun."""


def _by_status(outcome: Outcome) -> dict[str, tuple[float, float]]:
    if outcome.gold is None:
        return {}
    return {name: (2 * found.right, found.emitted + found.gold) for name, found in outcome.gold.statuses.items()}


def _harm(pair: tuple[str, str]) -> Ratio:
    def count(_: Outcome, gold: GoldOutcome) -> tuple[float, float]:
        meant = gold.statuses.get(pair[0])
        return gold.confused.get(pair, 0), meant.gold if meant else 0

    return Ratio(f"gold items with status {pair[0]}", with_gold(count))


METRICS: dict[str, Metric] = {
    "status_accuracy": Ratio(
        "matched items that have statuses",
        with_gold(lambda _, gold: (gold.matched_joint, gold.matched) if gold.has_statuses else None),
    ),
    "status_f1_macro": Mean("emitted + gold items that have statuses", _by_status),
    **{name: _harm(pair) for name, pair in HARMFUL.items()},
}
"""`status_f1_macro`: mean over the statuses of the joint F1 of each."""
