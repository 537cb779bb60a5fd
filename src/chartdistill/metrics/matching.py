"""What happened in one prediction, as counts: every metric is a ratio of sums of these.

In: emitted items, gold items, a record. Out: a `Matching`, an `Outcome`. Must hold: items match one to one, on equal
keys (`grounding.item_key`); as many texts match as possible, and among those matchings as many statuses as possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chartdistill.grounding import item_key, locate_item
from chartdistill.schema import Item, Prediction, Record, Task


@dataclass(frozen=True, slots=True)
class Matching:
    """How many emitted items match a gold item."""

    text: int
    joint: int
    """Text and status; equals `text` for tasks without statuses. Never above `text`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts for one scored prediction. Those of gold are None where the record has no gold for the task."""

    valid: bool
    """Follows the answer format (another spelling of none does not).

    If not, nothing was emitted, nothing is right, and it is not an abstention.
    """
    cut: bool
    emitted: int
    invented: int
    """Emitted items that match no gold item and cannot be located in the record."""
    gold: GoldOutcome | None

    @property
    def none_found(self) -> bool:
        """The answer is "none found"."""
        return self.valid and self.emitted == 0


@dataclass(frozen=True, slots=True)
class GoldOutcome:
    """Counts against gold."""

    items: int
    matched: int
    matched_joint: int
    wrong_kind: int
    """Emitted items that can be located in the record but have the text of no gold item."""
    contradicted: int
    """Emitted items that have the text of a gold item, but a status that no gold item of this text has."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A metric: sum of numerators over sum of denominators, over predictions."""

    unit: str
    """What the denominator, and so `Estimate.n`, counts."""
    count: Callable[[Outcome], tuple[float, float] | None]
    """(numerator, denominator) of one prediction; None where it says nothing about the metric."""
    bounded: bool = True
    """Whether the value lies between 0 and 1."""


def with_gold(
    count: Callable[[Outcome, GoldOutcome], tuple[float, float]],
) -> Callable[[Outcome], tuple[float, float] | None]:
    """A count that only predictions on records with gold take part in."""
    return lambda outcome: None if outcome.gold is None else count(outcome, outcome.gold)


def match(items: Sequence[Item], gold: Sequence[Item], task: Task) -> Matching:
    """One-to-one maximum matching of emitted and gold items.

    Items match when their keys are equal, so the graph falls apart into complete pieces, one per key: in each, the
    smaller side is matched whole, and statuses are matched first. No assignment matches more of either.
    """
    emitted_texts = Counter(item_key(item.text, task) for item in items)
    gold_texts = Counter(item_key(item.text, task) for item in gold)
    emitted_pairs = Counter((item_key(item.text, task), item.status) for item in items)
    gold_pairs = Counter((item_key(item.text, task), item.status) for item in gold)
    return Matching((emitted_texts & gold_texts).total(), (emitted_pairs & gold_pairs).total())


def outcome(prediction: Prediction, gold: Sequence[Item] | None, record: Record, task: Task) -> Outcome:
    """Count what happened in a prediction whose engine did answer."""
    valid = prediction.items is not None
    items = (prediction.items or ()) if valid else ()
    statuses: dict[str, set[str | None]] = {}
    for item in gold or ():
        statuses.setdefault(item_key(item.text, task), set()).add(item.status)
    invented = wrong_kind = contradicted = 0
    for item in items:
        key = item_key(item.text, task)
        if key in statuses:
            contradicted += item.status not in statuses[key]
        elif locate_item(item, record.text, task) is None:
            invented += 1
        else:
            wrong_kind += 1
    against: GoldOutcome | None = None
    if gold is not None:
        found = match(items, gold, task)
        against = GoldOutcome(len(gold), found.text, found.joint, wrong_kind, contradicted)
    return Outcome(
        valid=valid,
        cut=prediction.finish_reason == "length",
        emitted=len(items),
        invented=invented,
        gold=against,
    )
