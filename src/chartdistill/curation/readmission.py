"""Objections that a person overrides: every one of a reason code, or every one against a label.

In: `--readmit` arguments. Out: which rejections still count. Must hold: an overridden objection is never lost, it
moves to `CuratedLabel.readmitted`; an answer that does not parse cannot be re-admitted, there is nothing to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chartdistill.schema import Rejection


@dataclass
class Readmissions:
    """What to re-admit, and what of it was met."""

    wanted: tuple[str, ...] = ()
    """Reason codes, record ids, or `record:task`."""
    asked: tuple[str, ...] = ()
    """Those of `wanted` that are asked for now; the others are remembered."""
    met: set[str] = field(default_factory=set)
    """Those of `wanted` that overrode something."""

    def split(
        self, record: str, task: str, rejections: Sequence[Rejection]
    ) -> tuple[tuple[Rejection, ...], tuple[Rejection, ...]]:
        """(rejections that stand, rejections that are overridden)."""
        names = {name for name in (record, f"{record}:{task}") if name in self.wanted}
        if names and rejections:
            self.met |= names
            return (), tuple(rejections)
        overridden = tuple(one for one in rejections if one.reason in self.wanted)
        self.met |= {one.reason for one in overridden}
        standing = tuple(one for one in rejections if one not in overridden)
        return (*standing, *_verdicts_still_due(standing, overridden)), overridden

    def takes(self, reason: str) -> bool:
        """Whether every objection against a label of this reason is overridden: of one that comes of others."""
        if reason in self.wanted:
            self.met.add(reason)
        return reason in self.wanted

    def unmet(self) -> list[str]:
        """What is asked for now and overrode nothing. What is remembered may: filters or labels are others since then,
        and who asks for nothing would be told of a slip that he did not make."""
        return [name for name in self.asked if name not in self.met]


def _verdicts_still_due(standing: Sequence[Rejection], overridden: Sequence[Rejection]) -> list[Rejection]:
    """The verdicts on the label of filters whose verdict was overridden, and which still speak against other items.

    A filter that rejects a label for its items gives its verdict the reason of the first of them (see
    `ItemFilter.verdict`). With it gone, the other items would only be dropped, and the rest of the answer taught.
    """
    due = []
    for verdict in (one for one in overridden if one.item is None):
        items_of = [one for one in overridden if (one.filter, one.reason) == (verdict.filter, verdict.reason)]
        left = [one for one in standing if one.filter == verdict.filter]
        if any(one.item is not None for one in items_of) and left and all(one.item is not None for one in left):
            evidence = f"{len({one.item for one in left})} items are rejected for another reason"
            due.append(verdict.model_copy(update={"reason": left[0].reason, "evidence": evidence}))
    return due


def merged(earlier: Iterable[str], asked: Iterable[str]) -> tuple[str, ...]:
    """Earlier and new arguments, each once, in order."""
    return tuple(dict.fromkeys([*earlier, *asked]))
