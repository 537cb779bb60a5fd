"""Emitted items that the record does not bear out, in three classes that exclude each other.

`invented_rate` needs no gold. With gold, `confabulation_rate` is the sum of the three classes; it can be had without
the record's text, the first two cannot. A gold item said twice is none of them (it costs precision). Wrong details
(`attribute_error_rate`) are counted apart and need no gold.
"""

from __future__ import annotations

from chartdistill.metrics.matching import GoldOutcome, Metric, Outcome, Ratio, with_gold


def _wrong_kind(outcome: Outcome, gold: GoldOutcome) -> tuple[float, float] | None:
    return None if outcome.invented is None else (gold.unsupported - outcome.invented, outcome.emitted)


METRICS: dict[str, Metric] = {
    "invented_rate": Ratio(
        "emitted items",
        lambda outcome: None if outcome.invented is None else (outcome.invented, outcome.emitted),
        needs_text=True,
    ),
    "wrong_kind_rate": Ratio("emitted items", with_gold(_wrong_kind), needs_text=True),
    "contradicted_rate": Ratio("emitted items", with_gold(lambda outcome, gold: (gold.contradicted, outcome.emitted))),
    "confabulation_rate": Ratio(
        "emitted items",
        with_gold(lambda outcome, gold: (gold.unsupported + gold.contradicted, outcome.emitted)),
    ),
    "attribute_error_rate": Ratio(
        "emitted drugs with a dose or other number",
        lambda outcome: None if outcome.detailed is None else (outcome.misdetailed, outcome.detailed),
        needs_text=True,
    ),
}
"""Shares of emitted items. Not in the record; in it but of another kind; of the kind but with a wrong status."""
