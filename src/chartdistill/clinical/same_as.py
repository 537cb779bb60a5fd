"""What somebody has judged to be the same: pairs of names, by kind of finding.

In: pairs (kind, a, b). Out: for each kind, key -> the key that stands for all that are the same. Must hold: being the
same carries over (a and b, b and c: a and c), whatever the order of the pairs. A user's vocabulary and the pairs of
`score --same-as` come this way, so every figure that matches names takes one `SameAs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chartdistill.clinical.entities import EntityType, entity_named


@dataclass(frozen=True)
class SameAs:
    """Judged equivalences."""

    by_kind: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Name of a kind (`EntityType.name`) -> key (`EntityType.match_key`) -> the key that stands for it."""
    pairs: int = 0
    """How many pairs were given."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str, str]]) -> SameAs:
        """From (kind, name, name); `kind` as in `Task.item`."""
        stands_for: dict[str, dict[str, str]] = {}
        count = 0
        for kind, *names in pairs:
            entity = entity_named(kind)
            known = stands_for.setdefault(entity.name, {})
            first, second = sorted(known.get(key, key) for key in map(entity.match_key, names))
            known |= {key: first for key, old in known.items() if old == second} | {first: first, second: first}
            count += 1
        return cls(stands_for, count)

    def keys(self, entity: EntityType) -> Mapping[str, str]:
        """Those of one kind; for `EntityType.match_key` and `EntityType.same`."""
        return self.by_kind.get(entity.name, {})


NOTHING_JUDGED = SameAs()
