"""Rejects items that are not in the record.

Necessary, not sufficient: an item in the record can still be of the wrong kind or have the wrong status.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from chartdistill.clinical.lexica.drugs import LexiconUse, lexicon
from chartdistill.clinical.text.grounding import (
    DRUG_ITEMS,
    FUZZY_THRESHOLD,
    Alignment,
    locate_item,
    locate_words,
    numbers,
)
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_FACTS, RunFacts
from chartdistill.schema import Item, Label, Record, Rejection, Task

_EXPLANATION = re.compile(r",\s+(?:which|that|who)\b.*$", re.DOTALL)
_EVERY_ITEM = re.compile(
    r"\b(?:repeat|scans?|tests?|stud(?:y|ies)|levels?|patient|further|follow-?up)\b", re.IGNORECASE
)
"""Words that teachers add to what the chart says."""


class Grounding(ItemFilter):
    """Reason codes: `invented`, the item stands nowhere in the record, under any name; `boilerplate`, it stands only
    in what cleaning cut off (search keywords, a site's notice); `invented_number`, its name is in the record but not
    its numbers (a dose, for example)."""

    type: Literal["grounding"] = "grounding"
    fuzzy_threshold: float = Field(default=FUZZY_THRESHOLD, ge=50, le=101)
    """Similarity (0 to 100) from which a window of the record counts as the item. 101: only the same words count."""
    lexicon: LexiconUse = "auto"
    """Whether a drug is also found by its other names, brand or ingredient: see `lexica.drugs.LexiconUse`."""
    word_share: float | None = Field(default=None, gt=0, le=1)
    """For free text: an item that is no drug is also found where this share of its words stand together."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: RunFacts = NO_FACTS,
    ) -> list[Rejection]:
        """Reject each item that cannot be located in the record's text."""
        findings = []
        recorded: frozenset[str] | None = None
        for item in items or ():
            place = self._locate(item, record.text, task)
            if place is None:
                cut = run.removed.get(record.id, "")
                if cut and self._locate(item, cut, task) is not None:
                    evidence = "stands only in the search keywords or the notice at the chart's end"
                    findings.append(self.finding("boilerplate", item, evidence))
                    continue
                evidence = f"no window of the record is {self.fuzzy_threshold:g}% like the item"
                findings.append(self.finding("invented", item, evidence))
                continue
            if wanted := numbers(item.text):
                recorded = frozenset(numbers(record.text)) if recorded is None else recorded
                if missing := [number for number in wanted if number not in recorded]:
                    evidence = f"the name is in the record, {', '.join(missing)} is not"
                    findings.append(self.finding("invented_number", item, evidence, (place.start, place.end)))
        return self.verdict(findings, len(items or ()))

    def _locate(self, item: Item, text: str, task: Task) -> Alignment | None:
        is_drug = task.item.casefold() in DRUG_ITEMS
        known = lexicon(self.lexicon) if is_drug else None
        aliases = known.aliases if known else None
        place = locate_item(item, text, task, self.fuzzy_threshold, aliases, abbreviations=not is_drug)
        if place is None and self.word_share is not None and not is_drug:
            said = _EVERY_ITEM.sub(" ", _EXPLANATION.sub("", item.text))
            return locate_words(said, text, self.word_share)
        return place
