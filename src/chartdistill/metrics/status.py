"""Whether items have the right status, and the confusions that can do harm. Only of tasks with statuses.

`status_accuracy` is over the items that the arm itself matched, so an arm that finds only easy items can look good in
it: `joint_f1` is the figure to compare arms by.

Harm (see harm.py) is counted by gold item: whether any item that the arm lists of this drug has a harmful status. So
listing a drug twice, or under two statuses, neither hides harm nor adds to it. Over all gold items of the status an arm
that leaves drugs out does little harm; over those whose drug it lists (`..._of_named`) leaving out does not help.
"""

from __future__ import annotations

from collections.abc import Iterator

from chartdistill.metrics.harm import HARMFUL
from chartdistill.metrics.matching import GoldOutcome, Mean, Metric, Outcome, Ratio, with_gold

HARM_RATES = {
    "stop_as_continue_rate": "stop",
    "avoid_as_start_rate": "avoid",
    "hold_as_continue_rate": "hold",
    "past_as_continue_rate": "past",
    "continue_as_stop_rate": "continue",
}
"""Metric -> gold status, of those in `HARMFUL`."""
ANY_HARM = "harmful_status_rate"
OF_NAMED = "_of_named"
"""End of the metric whose n are the gold items of which the arm lists the drug."""


def _by_status(outcome: Outcome) -> dict[str, tuple[float, float]]:
    if outcome.gold is None:
        return {}
    return {name: (2 * found.right, found.emitted + found.gold) for name, found in outcome.gold.statuses.items()}


def _with_statuses(outcome: Outcome) -> float:
    return outcome.gold.by_key.in_question if outcome.gold is not None and outcome.gold.has_statuses else 0


def _harm(statuses: tuple[str, ...], named: bool) -> Ratio:
    def count(_: Outcome, gold: GoldOutcome) -> tuple[float, float]:
        found = [gold.statuses[status] for status in statuses if status in gold.statuses]
        return sum(one.harmed for one in found), sum(one.named if named else one.gold for one in found)

    which = f"status {statuses[0]}" if len(statuses) == 1 else f"a status of {', '.join(statuses)}"
    return Ratio(f"gold items with {which}" + (" whose drug was emitted" if named else ""), with_gold(count))


def _harms() -> Iterator[tuple[str, Ratio]]:
    for name, statuses in {ANY_HARM: tuple(HARMFUL), **{name: (one,) for name, one in HARM_RATES.items()}}.items():
        yield name, _harm(statuses, named=False)
        yield name + OF_NAMED, _harm(statuses, named=True)


METRICS: dict[str, Metric] = {
    "status_accuracy": Ratio(
        "matched items that have statuses",
        with_gold(lambda _, gold: (gold.matched_joint, gold.matched) if gold.has_statuses else None),
    ),
    "status_f1_macro": Mean("items that have statuses, emitted or in gold", _by_status, size=_with_statuses),
    **dict(_harms()),
}
"""`status_f1_macro`: mean over the statuses of the joint F1 of each."""
