"""Emitted items that the record does not bear out, in three classes that exclude each other.

`invented_rate` needs no gold. With gold, `confabulation_rate` is the sum of the three classes. A gold item said
twice is none of them (it costs precision).
"""

from __future__ import annotations

from chartdistill.metrics.matching import Ratio, with_gold

METRICS: dict[str, Ratio] = {
    "invented_rate": Ratio("emitted items", lambda outcome: (outcome.invented, outcome.emitted)),
    "wrong_kind_rate": Ratio("emitted items", with_gold(lambda outcome, gold: (gold.wrong_kind, outcome.emitted))),
    "contradicted_rate": Ratio("emitted items", with_gold(lambda outcome, gold: (gold.contradicted, outcome.emitted))),
    "confabulation_rate": Ratio(
        "emitted items",
        with_gold(
            lambda outcome, gold: (outcome.invented + gold.wrong_kind + gold.contradicted, outcome.emitted),
        ),
    ),
}
"""Shares of emitted items. Not in the record; in it but of another kind; of the kind but with a wrong status."""
