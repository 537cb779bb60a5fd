"""What happened in one prediction, as counts: every metric is a ratio of sums of these.

In: emitted items, gold items, a record. Out: a `Matching`, an `Outcome`. Must hold: items match one to one, on equal
keys (`EntityType.match_key`); as many texts match as possible, and among those matchings as many statuses as possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chartdistill.clinical.entities import EntityType, entity_of
from chartdistill.schema import Item, Prediction, Record, Task


@dataclass(frozen=True, slots=True)
class Matching:
    """How many emitted items match a gold item."""

    text: int
    joint: int
    """Text and status; equals `text` for tasks without statuses. Never above `text`."""


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """Of one status: items that match in text and status, emitted with it, in gold with it."""

    right: int
    emitted: int
    gold: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts for one scored prediction. Those of gold are None where the record has no gold for the task."""

    task: str
    valid: bool
    """Follows the answer format (another spelling of none does not).

    If not, nothing was emitted, nothing is right, and it is not an abstention.
    """
    cut: bool
    emitted: int
    invented: int | None
    """Emitted items that match no gold item and cannot be located in the record; None without the record's text."""
    detailed: int | None
    """Emitted drugs that come with a number (a dose, a frequency) and stand in the record; None without its text."""
    misdetailed: int
    """Of these, those whose numbers do not all stand beside the drug in the record."""
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
    matched_raw: int
    """Items whose text is that of a gold item to the last character."""
    unsupported: int
    """Emitted items that have the text of no gold item: invented or of the wrong kind."""
    contradicted: int
    """Emitted items that have the text of a gold item, but a status that no gold item of this text has."""
    has_statuses: bool
    statuses: Mapping[str, StatusCounts]
    """Status -> counts, for those that occur."""
    confused: Mapping[tuple[str, str], int]
    """(gold status, emitted status) -> items of one key left over after equal statuses were matched."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A metric: sum of numerators over sum of denominators, over predictions."""

    unit: str
    """What the denominator, and so `Estimate.n`, counts."""
    count: Callable[[Outcome], tuple[float, float] | None]
    """(numerator, denominator) of one prediction; None where it says nothing about the metric."""
    bounded: bool = True
    """Whether the value lies between 0 and 1."""
    needs_text: bool = False
    """Whether it needs the record's text."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A metric: the unweighted mean of the ratios of groups (statuses, tasks). Groups without denominator are left
    out, of the value as of each resample."""

    unit: str
    groups: Callable[[Outcome], Mapping[str, tuple[float, float]]]
    """Group -> (numerator, denominator) of one prediction."""
    bounded: bool = True
    needs_text: bool = False


Metric = Ratio | Mean


def with_gold(
    count: Callable[[Outcome, GoldOutcome], tuple[float, float] | None],
) -> Callable[[Outcome], tuple[float, float] | None]:
    """A count that only predictions on records with gold take part in."""
    return lambda outcome: None if outcome.gold is None else count(outcome, outcome.gold)


def match(items: Sequence[Item], gold: Sequence[Item], task: Task) -> Matching:
    """One-to-one maximum matching of emitted and gold items.

    Items match when their keys are equal, so the graph falls apart into complete pieces, one per key: in each, the
    smaller side is matched whole, and statuses are matched first. No assignment matches more of either.
    """
    emitted_pairs, gold_pairs = _pairs(items, task), _pairs(gold, task)
    return Matching(
        (_texts(emitted_pairs) & _texts(gold_pairs)).total(),
        (emitted_pairs & gold_pairs).total(),
    )


_Pairs = Counter[tuple[str, str | None]]


def _pairs(items: Sequence[Item], task: Task) -> _Pairs:
    entity = entity_of(task)
    return Counter((entity.match_key(item.text), item.status) for item in items)


def _texts(pairs: _Pairs) -> Counter[str]:
    found: Counter[str] = Counter()
    for (key, _), number in pairs.items():
        found[key] += number
    return found


def outcome(prediction: Prediction, gold: Sequence[Item] | None, record: Record, task: Task) -> Outcome:
    """Count what happened in a prediction whose engine did answer."""
    valid = prediction.items is not None
    items = (prediction.items or ()) if valid else ()
    entity = entity_of(task)
    statuses: dict[str, set[str | None]] = {}
    for item in gold or ():
        statuses.setdefault(entity.match_key(item.text), set()).add(item.status)
    strangers = [item for item in items if entity.match_key(item.text) not in statuses]
    known = [item for item in items if entity.match_key(item.text) in statuses]
    against: GoldOutcome | None = None
    if gold is not None:
        contradicted = sum(item.status not in statuses[entity.match_key(item.text)] for item in known)
        against = _against(items, gold, task, len(strangers), contradicted)
    details = [found for item in items if (found := entity.details_hold(item.text, record.text)) is not None]
    return Outcome(
        task=task.name,
        valid=valid,
        cut=prediction.finish_reason == "length",
        emitted=len(items),
        invented=sum(not is_located(item, record, task) for item in strangers) if record.text else None,
        detailed=len(details) if record.text else None,
        misdetailed=sum(not right for right in details),
        gold=against,
    )


def _against(
    items: Sequence[Item], gold: Sequence[Item], task: Task, unsupported: int, contradicted: int
) -> GoldOutcome:
    emitted_pairs, gold_pairs = _pairs(items, task), _pairs(gold, task)
    right = emitted_pairs & gold_pairs
    statuses: dict[str, StatusCounts] = {}
    confused: Counter[tuple[str, str]] = Counter()
    if task.statuses:
        by_status = [_by_status(pairs) for pairs in (right, emitted_pairs, gold_pairs)]
        statuses = {name: StatusCounts(*(found[name] for found in by_status)) for name in by_status[1] + by_status[2]}
        for (key, status), number in (gold_pairs - right).items():
            for (other_key, other), others in (emitted_pairs - right).items():
                if key == other_key and status is not None and other is not None:
                    confused[status, other] += min(number, others)
    return GoldOutcome(
        items=len(gold),
        matched=(_texts(emitted_pairs) & _texts(gold_pairs)).total(),
        matched_joint=right.total(),
        matched_raw=(Counter(item.text for item in items) & Counter(item.text for item in gold)).total(),
        unsupported=unsupported,
        contradicted=contradicted,
        has_statuses=bool(task.statuses),
        statuses=statuses,
        confused=confused,
    )


def _by_status(pairs: _Pairs) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, status), number in pairs.items():
        if status is not None:
            found[status] += number
    return found


def is_located(item: Item, record: Record, task: Task) -> bool:
    """Whether the item, or another name of the same thing, stands in the record."""
    return _is_located(item.text, record.text, entity_of(task))


@lru_cache(maxsize=1 << 14)
def _is_located(item_text: str, text: str, entity: EntityType) -> bool:
    """Kept, because arms often say the same of the same record and finding that something is not there is slow."""
    return entity.locate(item_text, text, lexicon="auto", initials=True) is not None
