"""Rejects answers of "none found" for charts that plainly have what was asked for."""

from __future__ import annotations

import re
from typing import Literal

from chartdistill.clinical.lexica.drugs import LexiconUse, lexicon
from chartdistill.clinical.text.context import cues
from chartdistill.clinical.text.forecasts import forecasts_of
from chartdistill.clinical.text.order_status import use_of
from chartdistill.clinical.text.phrases import is_normal_finding, names_disease, names_procedure, names_test
from chartdistill.clinical.text.sections import outline
from chartdistill.curation.filters.items import LabelFilter
from chartdistill.curation.label_statistics import NO_FACTS, RunFacts
from chartdistill.schema import Item, Label, Record, Rejection, Task

_TAKEN = frozenset({"started", "continued"})
_ORDERED_DOSE = re.compile(
    r"\b(?:start|begin|continue|resume|prescribed|takes|taking)\s+[A-Za-z][\w-]+\s+\d[\d.,]*\s?(?:mg|mcg|g|units?|ml)\b",
    re.IGNORECASE,
)
_DRUG_SECTION = re.compile(r"\b(?:medications?|meds)\b")
_DIAGNOSIS_SECTION = re.compile(
    r"^(?:\w+[- ]?(?:operative|charge)?\s*)?diagnos[ie]s$|^(?:final|principal|admitting)\s+diagnos[ie]s$"
)
_ASSESSMENT_SECTION = re.compile(r"^(?:assessment|impression|final\s+impression|assessment\s+and\s+plan)$")
_UNSURE = re.compile(
    r"\b(?:no|not|without|negative|rule|versus|vs|possible|question|normal|resolved|screening)\b|\?", re.IGNORECASE
)
_LIST_MARK = re.compile(r"^\s*\d{1,2}[.)]\s*")
_MAX_WORDS = 8
_PLAN_ENTRY = re.compile(
    r"(?:^|\n)\s*(?:\d{1,2}[.)]\s*)?(?:check|obtain|order|schedule|repeat|get|re-?check)\s+(?:an?\s+|the\s+)?"
    r"(?P<test>[\w-]+(?:\s+[\w-]+){0,3})",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"^\W*(?:none|no\b|n/?a\b|nil|unknown|same|as\s+above|negative|not\b|deferred|see\b|unremarkable)", re.IGNORECASE
)
_ORDER_PHRASE = re.compile(
    r"\b(?:will|shall|going\s+to)\s+(?:also\s+|then\s+)?(?:obtain|check|re-?check|get|order|send|schedule|repeat)\s+"
    r"(?:an?\s+|the\s+|for\s+|her\s+|his\s+)?(?P<test>[\w-]+(?:\s+[\w-]+){0,3})",
    re.IGNORECASE,
)
_CONSULT = re.compile(r"\b(?:surgery|consult\w*|appointment|records?)\b", re.IGNORECASE)


class Abstention(LabelFilter):
    """Reason code `false_none`. The evidence says what kind of thing the chart has; the span, where."""

    type: Literal["abstention"] = "abstention"
    lexicon: LexiconUse = "auto"
    """Whether drugs are looked for by name: see `lexica.drugs.LexiconUse`."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: RunFacts = NO_FACTS,
    ) -> list[Rejection]:
        """Reject an empty answer when the chart's own words leave no doubt that something was to be found."""
        if items is None or items:
            return []
        finders = {
            "medication": self._drug,
            "drug": self._drug,
            "diagnosis": _diagnosis,
            "prognosis": _forecast,
            "test": _order,
        }
        finder = finders.get(task.item.casefold())
        found = finder(record.text) if finder else None
        if found is None:
            return []
        evidence, span = found
        return [Rejection(filter=self.type, reason="false_none", evidence=evidence, span=span)]

    def _drug(self, chart: str) -> tuple[str, tuple[int, int]] | None:
        known = lexicon(self.lexicon)
        if known is None:
            match = _ORDERED_DOSE.search(chart)
            return ("the chart orders a drug with its dose", match.span()) if match else None
        plan = outline(chart)
        for start, end in known.find(chart):
            mention = plan.mention(start, end)
            said = cues(mention)
            listed = _DRUG_SECTION.search(mention.heading) and not said
            dosed = re.match(r"\s*\d[\d.,]*\s?(?:mg|mcg|units?|cc|ml|%)", chart[end : end + 12]) and not said
            if listed or dosed or (said and said <= _TAKEN):
                return "the chart has a drug of the lexicon that is listed, dosed or started", (start, end)
        return None


def _diagnosis(chart: str) -> tuple[str, tuple[int, int]] | None:
    for pattern, told in ((_DIAGNOSIS_SECTION, False), (_ASSESSMENT_SECTION, True)):
        for span in outline(chart).section(pattern):
            first = _LIST_MARK.sub("", span.text.strip().split("\n")[0]).strip(" .")
            if len(first) <= 3 or _EMPTY.match(first) or is_normal_finding(first) or names_procedure(first):
                continue
            # An assessment can be anything; a short one that ends in a disease's name is a diagnosis.
            if told and (len(first.split()) > _MAX_WORDS or not names_disease(first) or _UNSURE.search(first)):
                continue
            return "the chart has a heading for diagnoses with something under it", (span.start, span.end)
    return None


def _forecast(chart: str) -> tuple[str, tuple[int, int]] | None:
    spans = [
        (start, end) for start, end in forecasts_of(chart) if "prognosis" in chart[max(0, start - 20) : end].casefold()
    ]
    return ("the chart states a prognosis", spans[0]) if spans else None


def _order(chart: str) -> tuple[str, tuple[int, int]] | None:
    for pattern in (_ORDER_PHRASE, _PLAN_ENTRY):
        for match in pattern.finditer(chart):
            test = match["test"]
            if names_test(test) and not _CONSULT.search(test) and use_of(test, chart).what == "ordered":
                return "the chart orders a test", match.span()
    return None
