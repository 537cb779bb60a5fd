"""Rejects items whose status the chart contradicts: stopped drugs listed as taken, a father's disease, an allergy.

Conservative on purpose. Every mention of the item is looked at; one that is neutral, or speaks for the item, clears it.
"""

from __future__ import annotations

from typing import Literal

from chartdistill.clinical.lexica.drugs import LexiconUse, lexicon
from chartdistill.clinical.text.context import Cue, cues
from chartdistill.clinical.text.grounding import DRUG_ITEMS, item_key, plain_key
from chartdistill.clinical.text.sections import Mention, outline
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_FACTS, RunFacts
from chartdistill.schema import Item, Label, Record, Rejection, Task

_EXCLUDES: dict[Cue, frozenset[str]] = {
    "stopped": frozenset({"continue", "start", "given-once", "avoid", "hold"}),
    "held": frozenset({"continue", "start", "past", "avoid", "given-once"}),
    "started": frozenset({"stop", "hold", "past", "avoid"}),
    "continued": frozenset({"start", "stop", "hold", "past", "avoid", "given-once"}),
    "changed": frozenset({"start", "hold", "past", "avoid", "given-once"}),
    "tried": frozenset({"start", "continue", "change", "hold"}),
    "once": frozenset({"start", "continue", "change", "stop", "hold", "avoid"}),
    "allergy": frozenset({"start", "continue", "change", "hold", "given-once"}),
}
"""Cue -> the statuses it rules out when it is the only thing the chart says of a drug."""

_ABSENT: dict[Cue, str] = {"negated": "negated", "family": "family_member", "declined": "declined"}
"""Cue -> reason code: the item is not the patient's at all."""


_SETTLED: frozenset[Cue] = frozenset({"started", "continued", "changed", "stopped", "held", "once"})
"""Cues that say what was done with a drug, whatever else the sentence weighs."""


class Status(ItemFilter):
    """Reason codes:

    - `conflicting_status`: one item with two statuses. A change of dose, "X 10 mg | stop", "X 20 mg | start", is none.
    - `contradicted_status`: all the chart says of the drug rules the given status out.
    - `negated`, `family_member`, `declined`, `only_considered`: every mention is denied, a relative's, refused, or
      (drugs only) a thing for later.
    - `allergy`, `stopped`, `held`: the same, for tasks without statuses, whose items are taken to be the patient's now.
    """

    type: Literal["status"] = "status"
    lexicon: LexiconUse = "auto"
    """Whether mentions of a drug under its other names count too: see `lexica.drugs.LexiconUse`."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: RunFacts = NO_FACTS,
    ) -> list[Rejection]:
        """Reject each item that every mention speaks against."""
        findings = _conflicts(self, items or ())
        for item in items or ():
            found = self._contradiction(item, record, task)
            if found is not None:
                reason, evidence, mention = found
                findings.append(self.finding(reason, item, evidence, (mention.start, mention.end)))
        return self.verdict(findings, len(items or ()))

    def _contradiction(self, item: Item, record: Record, task: Task) -> tuple[str, str, Mention] | None:
        is_drug = task.item.casefold() in DRUG_ITEMS
        if not is_drug and task.item.casefold() != "diagnosis":
            return None
        key = item_key(item.text, task)
        known = lexicon(self.lexicon) if is_drug else None
        names = [item.text, key, *(known.aliases(key) if known else ())]
        mentions = outline(record.text).mentions(names)
        said = [cues(mention) for mention in mentions]
        if not said or not all(said):
            return None
        absent = {**_ABSENT, "considered": "only_considered"} if is_drug else _ABSENT
        for cue, reason in absent.items():
            # "His father takes X": what is continued there is the father's.
            settled = _SETTLED - {"continued"} if cue == "family" else _SETTLED
            if all(cue in one and not one & settled for one in said):
                return reason, f"{_times(len(said))}, each one {reason.replace('_', ' ')}", mentions[0]
        if not is_drug:
            return None
        for cue, excluded in _EXCLUDES.items():
            only = all(cue in one and not one - {cue, *_COMPATIBLE.get(cue, ())} for one in said)
            if not only:
                continue
            if not task.statuses and cue in ("allergy", "stopped", "held"):
                return cue, f"{_times(len(said))}, each one {cue}", mentions[0]
            if task.statuses and item.status in excluded:
                return (
                    "contradicted_status",
                    f"{_times(len(said))}, each one {cue}; listed as {item.status}",
                    mentions[0],
                )
        return None


_COMPATIBLE: dict[str, tuple[str, ...]] = {"allergy": ("negated",)}


def _times(count: int) -> str:
    return "one mention" if count == 1 else f"{count} mentions"


def _conflicts(own: Status, items: tuple[Item, ...]) -> list[Rejection]:
    """Every item whose text also occurs with another status."""
    statuses: dict[str, set[str | None]] = {}
    for item in items:
        statuses.setdefault(plain_key(item.text), set()).add(item.status)
    findings = []
    for item in items:
        said = statuses[plain_key(item.text)]
        if len(said) > 1:
            names = " and ".join(sorted(str(status) for status in said))
            findings.append(own.finding("conflicting_status", item, f"listed as {names}"))
    return findings
