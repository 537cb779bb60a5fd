"""Emitted items that the record does not bear out, in three classes that exclude each other.

`invented_rate` needs no gold; `from_example_rate` is the part of it that stands in a worked example of the run's
prompts (no class beside it: what a gate on invented items allows must not depend on whether there were examples). With
gold, `confabulation_rate` is the sum of the three classes, where a task has statuses; where it has none, nothing can be
contradicted, and that rate is not defined rather than 0. It can be had without the record's text, the first two cannot.
A gold item said twice is none of them (it costs precision). Wrong details (`attribute_error_rate`) are counted apart
and need no gold.
"""

from __future__ import annotations

from chartdistill.metrics.matching import GoldOutcome, Metric, Outcome, Ratio, Tally, with_gold


def _wrong_kind(outcome: Outcome, gold: GoldOutcome) -> tuple[float, float] | None:
    return None if outcome.invented is None else (gold.by_key.unsupported - outcome.invented, outcome.emitted)


def _contradicted(_: Outcome, gold: GoldOutcome) -> tuple[float, float] | None:
    return (gold.by_key.contradicted, gold.by_key.emitted) if gold.has_statuses else None


def _confabulated(found: Tally) -> tuple[float, float]:
    return found.unsupported + found.contradicted, found.emitted


METRICS: dict[str, Metric] = {
    "invented_rate": Ratio(
        "emitted items",
        lambda outcome: None if outcome.invented is None else (outcome.invented, outcome.emitted),
        needs_text=True,
    ),
    "from_example_rate": Ratio(
        "emitted items behind prompts with worked examples",
        lambda outcome: None if outcome.from_example is None else (outcome.from_example, outcome.emitted),
        needs_text=True,
    ),
    "wrong_kind_rate": Ratio("emitted items", with_gold(_wrong_kind), needs_text=True),
    "contradicted_rate": Ratio("emitted items that have statuses", with_gold(_contradicted)),
    "confabulation_rate": Ratio("emitted items", with_gold(lambda _, gold: _confabulated(gold.by_key))),
    "string_confabulation_rate": Ratio("emitted items", with_gold(lambda _, gold: _confabulated(gold.by_string))),
    "attribute_error_rate": Ratio(
        "emitted drugs with a dose or other number",
        lambda outcome: None if outcome.detailed is None else (outcome.misdetailed, outcome.detailed),
        needs_text=True,
    ),
}
"""Shares of emitted items. Not in the record; in it but of another kind; of the kind but with a wrong status."""
