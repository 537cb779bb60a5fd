"""Whether "none found" is said where, and only where, there is nothing to find. A broken format never abstains.

A record all of whose gold items are optional takes no part: neither answer is wrong for it.
"""

from __future__ import annotations

from chartdistill.metrics.matching import Metric, Ratio, with_gold

METRICS: dict[str, Metric] = {
    "abstention_specificity": Ratio(
        "records without gold items",
        with_gold(lambda outcome, gold: None if gold.items or gold.optional else (outcome.none_found, 1)),
    ),
    "false_abstention_rate": Ratio(
        "records with gold items",
        with_gold(lambda outcome, gold: (outcome.none_found and gold.items > 0, gold.items > 0)),
    ),
    "none_rate": Ratio("records", lambda outcome: (outcome.none_found, 1)),
}
"""None on records that have none; none on records that have some; none at all, which needs no gold."""
