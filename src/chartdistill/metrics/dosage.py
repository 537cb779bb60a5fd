"""How a drug is taken, of the matched items whose gold says it: right, wrong or left out.

Each attribute that the gold gives (`dosage_counting.py`) counts once. The shares of the three `dosage_` metrics add up
to 1; those of single attributes tell which one an arm gets wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from chartdistill.clinical.text.dosage import ATTRIBUTES
from chartdistill.metrics.dosage_counting import AttributeCounts
from chartdistill.metrics.matching import Metric, Ratio, with_gold

_Share = Callable[[AttributeCounts], int]


def _of_all(share: _Share) -> Ratio:
    return Ratio(
        "dosage attributes that gold gives of matched items",
        with_gold(lambda _, gold: _sums(list(gold.dosage.values()), share)),
    )


def _of_one(attribute: str, share: _Share) -> Ratio:
    return Ratio(
        f"matched items whose gold gives {attribute.replace('_', ' ')}",
        with_gold(lambda _, gold: _sums([one for name, one in gold.dosage.items() if name == attribute], share)),
    )


def _sums(counts: list[AttributeCounts], share: _Share) -> tuple[float, float] | None:
    return (sum(map(share, counts)), sum(one.given for one in counts)) if counts else None


METRICS: dict[str, Metric] = {
    "dosage_right_rate": _of_all(lambda counts: counts.right),
    "dosage_wrong_rate": _of_all(lambda counts: counts.wrong),
    "dosage_missing_rate": _of_all(lambda counts: counts.missing),
    "dose_wrong_rate": _of_one("dose", lambda counts: counts.wrong),
    **{f"{name}_right_rate": _of_one(name, lambda counts: counts.right) for name in ATTRIBUTES},
}
"""Over the matched items of kinds that are taken (drugs)."""
