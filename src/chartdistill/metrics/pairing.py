"""Emitted items and gold items, paired one to one.

In: both lists, and when two texts are the same (by default the kind's own rule). Out: a `Pairing`. Must hold: no other
assignment has more pairs; among those with as many, none has more equal statuses; an optional gold item takes only
what no other can use.

"Same" need not carry over (forecasts share words), so this is an assignment problem: `scipy.optimize`'s solution of
it, with the three aims as digits of one weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded by their first use

from chartdistill.clinical.entities import EntityType
from chartdistill.clinical.same_as import NOTHING_JUDGED, SameAs
from chartdistill.schema import Item

RULES = "keys by kind, forecasts by content words (10)"
"""Named beside every score, and raised with every change of what counts as the same or as harm, of intervals, or of
what is measured: stored answers are then scored anew."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Places in the two lists."""

    pairs: tuple[tuple[int, int], ...]
    """(emitted, gold), without optional gold items."""
    counted: tuple[int, ...]
    """Emitted items that count: all but those that are the same as an optional item and in no pair."""
    alike: tuple[tuple[int, ...], ...]
    """Per emitted item, every gold item that is the same, optional ones too."""

    @property
    def strangers(self) -> list[int]:
        """Emitted items that are the same as no gold item."""
        return [place for place in self.counted if not self.alike[place]]


def pair_up(
    items: Sequence[Item],
    gold: Sequence[Item],
    entity: EntityType,
    same_as: SameAs = NOTHING_JUDGED,
    same: Callable[[str, str], bool] | None = None,
) -> Pairing:
    """Pair emitted items with gold items. `same`: another rule than the kind's own."""
    known = same_as.keys(entity)
    rule = same or (lambda one, other: entity.same(one, other, known))
    alike = tuple(tuple(place for place, of in enumerate(gold) if rule(item.text, of.text)) for item in items)
    pairs = _assigned(items, gold, alike)
    paired = {said for said, _ in pairs}
    counted = tuple(
        place
        for place in range(len(items))
        if place in paired or not any(gold[other].optional for other in alike[place])
    )
    return Pairing(pairs, counted, alike)


def each_once(items: Sequence[Item], gold: Sequence[Item], entity: EntityType) -> tuple[Sequence[Item], Sequence[Item]]:
    """Both lists where gold wants a thing once, however often it lists it with one status, under whatever names: as
    many repeats of it are left out of the items. Other repeats stay, and count as they do."""
    repeats: Counter[tuple[str, str | None]] = Counter()
    wanted: set[tuple[str, str | None]] = set()
    kept = []
    for item in gold:
        thing = (entity.key(item.text), item.status)
        if not item.optional and thing in wanted:
            repeats[thing] += 1
            continue
        kept.append(item)
        if not item.optional:
            wanted.add(thing)
    if not repeats:
        return items, gold
    said: set[tuple[str, str | None]] = set()
    left = []
    for item in items:
        thing = (entity.key(item.text), item.status)
        if thing in said and repeats[thing] > 0:
            repeats[thing] -= 1
            continue
        said.add(thing)
        left.append(item)
    return left, kept


def is_exact(items: Sequence[Item], gold: Sequence[Item], entity: EntityType) -> bool:
    """Whether the items are those of gold with their statuses, each once: what `record_exact` counts."""
    items, gold = each_once(items, gold, entity)
    found = pair_up(items, gold, entity)
    wanted = sum(not item.optional for item in gold)
    equal = all(items[said].status == gold[meant].status for said, meant in found.pairs)
    return len(found.counted) == len(found.pairs) == wanted and equal


def _assigned(
    items: Sequence[Item], gold: Sequence[Item], alike: Sequence[Sequence[int]]
) -> tuple[tuple[int, int], ...]:
    if not any(alike):
        return ()
    base = min(len(items), len(gold)) + 1  # more than any sum of a lower digit
    worth = np.zeros((len(items), len(gold)))
    for said, places in enumerate(alike):
        for meant in places:
            equal = items[said].status == gold[meant].status
            worth[said, meant] = 1 if gold[meant].optional else base * base + base * equal
    rows, columns = scipy.optimize.linear_sum_assignment(worth, maximize=True)
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return tuple((said, meant) for said, meant in chosen if worth[said, meant] > 1)
