"""What happened in one prediction, as counts: every metric is a ratio of sums of these.

In: emitted items, gold items, a record. Out: an `Outcome`. Must hold: items match one to one (see pairing.py); an item
of gold that is `optional` counts neither way, and neither does an emitted item that is the same as one and matches no
other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from chartdistill.clinical.entities import EntityType, entity_of
from chartdistill.clinical.same_as import NOTHING_JUDGED, SameAs
from chartdistill.metrics.dosage_counting import AttributeCounts, dosage_counts
from chartdistill.metrics.harm import harmful_statuses
from chartdistill.metrics.pairing import Pairing, each_once, pair_up
from chartdistill.prompting.answer_format import parse_lines
from chartdistill.schema import CUT, Item, Prediction, Record, Task


@dataclass(frozen=True, slots=True)
class Tally:
    """How emitted items stand to gold, by one rule of when two are the same."""

    emitted: int
    items: int
    """Of gold, without the optional ones; so in all that follows."""
    matched: int
    """Pairs of an emitted and a gold item, each in one pair."""
    matched_joint: int
    """Of these, those with equal statuses; all for tasks without statuses."""
    unsupported: int
    """Emitted items that are the same as no gold item: invented or of the wrong kind."""
    contradicted: int
    """Emitted items that are the same as a gold item, but with a status that no such gold item has."""

    @property
    def in_question(self) -> int:
        """Items emitted or in gold, a matched pair once."""
        return self.emitted + self.items - self.matched


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """Of one status: items that match in text and status, emitted with it, in gold with it; and what harm was done."""

    right: int
    emitted: int
    gold: int
    named: int
    """Of those in gold, those whose drug was emitted at all."""
    harmed: int
    """Of those in gold, those whose drug was emitted, once or more, with a harmful status (see harm.py)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts for one scored prediction. Those of gold are None where the record has no gold for the task."""

    task: str
    valid: bool
    """Ended by itself and follows the answer format (another spelling of none does not).

    If not, nothing was emitted, nothing is right, and it is not an abstention.
    """
    cut: bool
    lines: int
    """Items as they were written, each as often as it was."""
    repeated: int
    """Of these, those that are the same in text and status as one above them."""
    listed: int
    """Items of the answer, with those that count neither way."""
    emitted: int
    """Items that count."""
    invented: int | None
    """Emitted items that match no gold item and cannot be located in the record; None without the record's text."""
    detailed: int | None
    """Emitted drugs that come with a number (a dose, a frequency) and stand in the record; None without its text."""
    misdetailed: int
    """Of these, those whose numbers do not all stand beside the drug in the record."""
    gold: GoldOutcome | None
    from_example: int | None = None
    """Of those invented, the ones that stand in the chart of a worked example; None where prompts had none."""

    @property
    def none_found(self) -> bool:
        """The answer is "none found"."""
        return self.valid and self.listed == 0


@dataclass(frozen=True, slots=True)
class GoldOutcome:
    """Counts against gold."""

    by_key: Tally
    """By the kind's own rule: what all metrics go by that do not say otherwise."""
    by_string: Tally
    """By the letters."""
    by_gist: Tally | None
    """By what is foretold; None for kinds whose items are names."""
    matched_raw: int
    """Items whose text is that of a gold item to the last character."""
    optional: int
    """Gold items that count neither way."""
    has_statuses: bool
    statuses: Mapping[str, StatusCounts]
    """Status -> counts, for those that occur."""
    dosage: Mapping[str, AttributeCounts] = field(default_factory=dict)
    """Attribute of the dosage -> counts, over the matched items whose gold gives it."""

    @property
    def items(self) -> int:
        """Gold items."""
        return self.by_key.items

    @property
    def matched(self) -> int:
        """Emitted items that match a gold item."""
        return self.by_key.matched

    @property
    def matched_joint(self) -> int:
        """Those that match in text and status."""
        return self.by_key.matched_joint


@dataclass(frozen=True, slots=True)
class Ratio:
    """A metric: sum of numerators over sum of denominators, over predictions."""

    unit: str
    """What `Estimate.n` counts: the denominator, or `size`."""
    count: Callable[[Outcome], tuple[float, float] | None]
    """(numerator, denominator) of one prediction; None where it says nothing about the metric."""
    bounded: bool = True
    """Whether the value lies between 0 and 1."""
    needs_text: bool = False
    """Whether it needs the record's text."""
    size: Callable[[Outcome], float] | None = None
    """What n counts of one prediction, where it is not the denominator: F1 counts a matched item twice."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A metric: the unweighted mean of the ratios of groups (statuses, tasks). Groups without denominator are left
    out, of the value as of each resample."""

    unit: str
    groups: Callable[[Outcome], Mapping[str, tuple[float, float]]]
    """Group -> (numerator, denominator) of one prediction."""
    bounded: bool = True
    needs_text: bool = False
    size: Callable[[Outcome], float] | None = None


Metric = Ratio | Mean


def with_gold(
    count: Callable[[Outcome, GoldOutcome], tuple[float, float] | None],
) -> Callable[[Outcome], tuple[float, float] | None]:
    """A count that only predictions on records with gold take part in."""
    return lambda outcome: None if outcome.gold is None else count(outcome, outcome.gold)


def outcome(
    prediction: Prediction,
    gold: Sequence[Item] | None,
    record: Record,
    task: Task,
    same_as: SameAs = NOTHING_JUDGED,
) -> Outcome:
    """Count what happened in a prediction whose engine did answer."""
    valid = prediction.items is not None
    items: Sequence[Item] = prediction.items or ()
    lines, entity = _lines(prediction, task), entity_of(task)
    if gold is not None:
        items, gold = each_once(items, gold, entity)
    found = pair_up(items, gold or (), entity, same_as)
    invented = [item for place in found.strangers if not is_located(item := items[place], record, task)]
    counted = [items[place] for place in found.counted]
    details = [right for item in counted if (right := entity.details_hold(item.text, record.text)) is not None]
    said = Counter((entity.match_key(item.text, same_as.keys(entity)), item.status) for item in lines)
    return Outcome(
        task=task.name,
        valid=valid,
        cut=prediction.finish_reason in CUT,
        lines=len(lines),
        repeated=len(lines) - len(said),
        listed=len(items),
        emitted=len(counted),
        invented=len(invented) if record.text else None,
        detailed=len(details) if record.text else None,
        misdetailed=sum(not right for right in details),
        gold=None if gold is None else _against(items, gold, task, found),
        from_example=sum(any(_is_located(item.text, chart, entity) for chart in task.shown_charts) for item in invented)
        if record.text and task.shown_charts
        else None,
    )


def _lines(prediction: Prediction, task: Task) -> Sequence[Item]:
    """The items as they were written; those of the prediction where its completion is not at hand."""
    lines = parse_lines(prediction.completion or "", task)
    items = prediction.items or ()
    return lines if lines is not None and tuple(dict.fromkeys(lines)) == items else items


def _against(items: Sequence[Item], gold: Sequence[Item], task: Task, found: Pairing) -> GoldOutcome:
    entity = entity_of(task)
    by_string = pair_up(items, gold, entity, same=lambda one, other: entity.string_key(one) == entity.string_key(other))
    by_gist = pair_up(items, gold, entity, same=_foretell_the_same(entity)) if entity.has_gist else None
    raw = [Counter(side[place].text for place in places) for side, places in _counted(items, gold, found)]
    return GoldOutcome(
        by_key=_tally(items, gold, found),
        by_string=_tally(items, gold, by_string),
        by_gist=None if by_gist is None else _tally(items, gold, by_gist),
        matched_raw=(raw[0] & raw[1]).total(),
        optional=sum(item.optional for item in gold),
        has_statuses=bool(task.statuses),
        statuses=_by_status(items, gold, found) if task.statuses else {},
        dosage=dosage_counts(items, gold, entity, found.pairs),
    )


def _counted(
    items: Sequence[Item], gold: Sequence[Item], found: Pairing
) -> tuple[tuple[Sequence[Item], Sequence[int]], tuple[Sequence[Item], Sequence[int]]]:
    return (items, found.counted), (gold, [place for place, item in enumerate(gold) if not item.optional])


def _foretell_the_same(entity: EntityType) -> Callable[[str, str], bool]:
    def same(one: str, other: str) -> bool:
        said = entity.gist(one)
        return entity.gist(other) == said if said is not None else entity.same(one, other)

    return same


def _tally(items: Sequence[Item], gold: Sequence[Item], found: Pairing) -> Tally:
    return Tally(
        emitted=len(found.counted),
        items=sum(not item.optional for item in gold),
        matched=len(found.pairs),
        matched_joint=sum(items[said].status == gold[meant].status for said, meant in found.pairs),
        unsupported=len(found.strangers),
        contradicted=sum(
            bool(found.alike[place]) and items[place].status not in {gold[other].status for other in found.alike[place]}
            for place in found.counted
        ),
    )


def _by_status(items: Sequence[Item], gold: Sequence[Item], found: Pairing) -> dict[str, StatusCounts]:
    right = Counter(gold[of].status for said, of in found.pairs if items[said].status == gold[of].status)
    emitted = Counter(items[place].status for place in found.counted)
    meant: Counter[str | None] = Counter()
    named: Counter[str | None] = Counter()
    harmed: Counter[str | None] = Counter()
    for place, item in enumerate(gold):
        if item.optional:
            continue
        naming, against = _named_as(place, items, gold, found)
        meant[item.status] += 1
        named[item.status] += bool(naming)
        harmed[item.status] += bool(against & harmful_statuses(item.status))
    return {
        status: StatusCounts(right[status], emitted[status], meant[status], named[status], harmed[status])
        for status in emitted | meant
        if status is not None
    }


def _named_as(
    place: int, items: Sequence[Item], gold: Sequence[Item], found: Pairing
) -> tuple[list[int], set[str | None]]:
    """Where the drug of a gold item is listed; and as what, by statuses that gold does not give it.

    Every item of the drug counts, not only the one it was paired with: listed as both stop and continue, a stopped drug
    is taken. What gold itself says of the drug harms nobody (an old dose stopped, a new one begun).
    """
    naming = [other for other in range(len(items)) if place in found.alike[other]]
    against = {
        items[one].status
        for one in naming
        if items[one].status not in {gold[other].status for other in found.alike[one]}
    }
    return naming, against


def harmful_pairs(items: Sequence[Item], gold: Sequence[Item], task: Task) -> Iterator[tuple[str, frozenset[str]]]:
    """Of each gold item whose drug is listed with a status that can do harm: gold's status, and those it is listed
    with. Who counts them by gold's status gets `StatusCounts.harmed`."""
    found = pair_up(items, gold, entity_of(task))
    for place, item in enumerate(gold):
        if task.statuses and item.status is not None and not item.optional:
            _, against = _named_as(place, items, gold, found)
            if harmful := harmful_statuses(item.status) & against:
                yield item.status, harmful


def is_located(item: Item, record: Record, task: Task) -> bool:
    """Whether the item, or another name of the same thing, stands in the record."""
    return _is_located(item.text, record.text, entity_of(task))


@lru_cache(maxsize=1 << 14)
def _is_located(item_text: str, text: str, entity: EntityType) -> bool:
    """Kept, because arms often say the same of the same record and finding that something is not there is slow."""
    return entity.locate(item_text, text, lexicon="auto", initials=True) is not None
