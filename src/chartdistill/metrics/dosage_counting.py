"""How a drug is taken, where the gold says it: dose, route, frequency, as needed, duration, of the items that match.

In: emitted and gold items of one prediction. Out: attribute -> counts. Each matched pair whose gold gives an attribute
counts once under it: right (equal in value, however written), wrong (another value) or missing (nothing said). What an
arm says beyond its gold is not counted here; `attribute_error_rate` holds it against the chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chartdistill.clinical.entities import EntityType
from chartdistill.clinical.text.dosage import ATTRIBUTES, Dosage
from chartdistill.schema import Item


@dataclass(frozen=True, slots=True)
class AttributeCounts:
    """Of one attribute: matched pairs whose gold gives it."""

    right: int = 0
    wrong: int = 0
    missing: int = 0

    @property
    def given(self) -> int:
        """All of them."""
        return self.right + self.wrong + self.missing

    def __add__(self, other: AttributeCounts) -> AttributeCounts:
        return AttributeCounts(self.right + other.right, self.wrong + other.wrong, self.missing + other.missing)


def dosage_counts(
    items: Sequence[Item], gold: Sequence[Item], entity: EntityType, pairs: Sequence[tuple[int, int]]
) -> Mapping[str, AttributeCounts]:
    """The counts of each attribute that some gold item gives; empty for kinds that nobody takes.

    `pairs`: (emitted, gold) places that match, see `pairing.Pairing`.
    """
    found: dict[str, AttributeCounts] = {}
    for said, meant in pairs:
        wanted = _dosage(gold[meant].text, entity)
        if wanted is None:
            continue
        for attribute, counts in _judged(_dosage(items[said].text, entity) or Dosage(), wanted).items():
            found[attribute] = found.get(attribute, AttributeCounts()) + counts
    return found


def _judged(said: Dosage, meant: Dosage) -> dict[str, AttributeCounts]:
    judged = {}
    for attribute in ATTRIBUTES:
        if getattr(meant, attribute) is None:
            continue
        if getattr(said, attribute) is None:
            judged[attribute] = AttributeCounts(missing=1)
        else:
            right = meant.same(attribute, said)
            judged[attribute] = AttributeCounts(right=right, wrong=not right)
    return judged


@lru_cache(maxsize=1 << 14)
def _dosage(text: str, entity: EntityType) -> Dosage | None:
    return entity.dosage(text)
