"""Rejects items that are in the record but are not what was asked for: a procedure as a diagnosis, a plan as a
prognosis, a test that is done as one that is ordered.

Judged by `Task.item`: `medication` (or `drug`), `diagnosis`, `prognosis`, `test`. Items of other tasks pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from chartdistill.clinical.lexica.drugs import Drugs, LexiconUse, lexicon, names_class, names_form
from chartdistill.clinical.text.context import used_like_a_drug
from chartdistill.clinical.text.forecasts import is_forecast, support_of
from chartdistill.clinical.text.free_text import is_sentence
from chartdistill.clinical.text.grounding import item_key, locate_item, locate_words
from chartdistill.clinical.text.order_status import use_of
from chartdistill.clinical.text.phrases import (
    is_normal_finding,
    names_care,
    names_device,
    names_disease,
    names_imaging_or_study,
    names_procedure,
    names_specialty,
    names_test,
)
from chartdistill.clinical.text.sections import Mention, outline
from chartdistill.curation.filters.items import ItemFilter
from chartdistill.curation.label_statistics import NO_FACTS, RunFacts
from chartdistill.schema import Item, Label, Record, Rejection, Task

_MAX_NAME_WORDS = 3
_MAX_DRUG_SENTENCE = 15
_MIN_DUMP = 4
_DUMP_SHARE = 0.75
_JOINED = re.compile(r"\s*(?:,|/|and|or|plus|with|,\s*and)\s*(?:\d[\d.]*\s?\S*\s+)?", re.IGNORECASE)
Finding = tuple[str, str, tuple[int, int] | None]
"""(reason code, evidence, span in the record)."""


class Kind(ItemFilter):
    """Reason codes:

    - `keyword_dump`: the answer is a run of the search keywords at the chart's end.
    - `not_a_drug`: a sentence, procedure, device, diet, disease or test; `unknown_drug`: under `unknown: reject`.
    - `not_a_diagnosis`: a procedure, test or specialty; `normal_finding`: "normal ...", "no ...".
    - `not_a_forecast`: a plan, disposition, present state or diagnosis; `unsupported_forecast`: a forecast, but no
      sentence of the chart makes it.
    - `not_a_test`; `already_done`, `not_ordered`, `only_considered`: a test the chart does not order or plan.
    """

    type: Literal["kind"] = "kind"
    lexicon: LexiconUse = "auto"
    """Whether drug names are looked up: see `lexica.drugs.LexiconUse`."""
    unknown: Literal["keep", "reject"] = "keep"
    """A short name that no list has, in a chart that uses it like a drug: no lexicon is complete, so it is kept."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: RunFacts = NO_FACTS,
    ) -> list[Rejection]:
        """Reject each item of another kind than the task's."""
        judges: dict[str, Callable[[Item, Record, Task], Finding | None]] = {
            "medication": self._drug,
            "drug": self._drug,
            "diagnosis": _diagnosis,
            "prognosis": _prognosis,
            "test": _test,
        }
        judge = judges.get(task.item.casefold())
        if judge is None or not items:
            return []
        if _is_dump(items, run.removed.get(record.id, "")):
            return [self.objection("keyword_dump", "the items follow each other as in the chart's search keywords")]
        findings = [
            self.finding(found[0], item, found[1], found[2])
            for item in items
            if (found := judge(item, record, task)) is not None
        ]
        return self.verdict(findings, len(items))

    def _drug(self, item: Item, record: Record, task: Task) -> Finding | None:
        text, name = item.text, item_key(item.text, task)
        known = lexicon(self.lexicon)
        listed = known is not None and bool(known.find(text))
        if is_sentence(text) and len(text.split()) > (_MAX_DRUG_SENTENCE if listed else 2 * _MAX_NAME_WORDS):
            return "not_a_drug", "a sentence", _span(item, record, task)
        if listed or names_form(text):
            return None
        if is_normal_finding(name):
            return "not_a_drug", "a negative finding", _span(item, record, task)
        if names_class(text):
            return None
        for says, what in _NO_DRUGS:
            if says(name):
                return "not_a_drug", what, _span(item, record, task)
        if len(name.split()) > _MAX_NAME_WORDS:
            return "not_a_drug", f"{len(name.split())} words, none of them a drug's name, dose or form", None
        if self.unknown == "reject":
            return "unknown_drug", "no drug of the lexicon, no class and no dosage form", _span(item, record, task)
        mentions = outline(record.text).mentions([text, name])
        if mentions and not any(used_like_a_drug(one) or _beside_a_drug(one, known) for one in mentions):
            return "not_a_drug", "an unknown name, and the chart does not use it like a drug", _span(item, record, task)
        return None


_NO_DRUGS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (names_procedure, "a procedure or a therapy"),
    (names_care, "a diet, an exercise or another measure that is no drug"),
    (names_device, "a device or a surgical material"),
    (names_disease, "a disease or a complaint"),
    (names_imaging_or_study, "a test"),
    (names_specialty, "a specialty or an organ system"),
)


def _beside_a_drug(mention: Mention, known: Drugs | None) -> bool:
    """Whether the name is listed with one of the lexicon: "Lisinopril and X were given"."""
    if known is None:
        return False
    before, after = mention.before, mention.after
    return any(_JOINED.fullmatch(before[end:]) for _, end in known.find(before)) or any(
        _JOINED.fullmatch(after[:start]) for start, _ in known.find(after)
    )


def _diagnosis(item: Item, record: Record, task: Task) -> Finding | None:
    if is_normal_finding(item.text):
        return "normal_finding", "says that nothing was found", _span(item, record, task)
    if names_procedure(item.text) or names_imaging_or_study(item.text):
        return "not_a_diagnosis", "a procedure, an examination or a treatment", _span(item, record, task)
    if names_specialty(item.text):
        return "not_a_diagnosis", "a specialty or an organ system", _span(item, record, task)
    return None


def _prognosis(item: Item, record: Record, task: Task) -> Finding | None:
    support = support_of(item.text, record.text)
    if support is not None:
        return None
    if is_forecast(item.text):
        return "unsupported_forecast", "no forecasting sentence of the chart says this", None
    return "not_a_forecast", "says nothing of the expected course, or the chart does not", _span(item, record, task)


def _test(item: Item, record: Record, task: Task) -> Finding | None:
    if is_sentence(item.text) and len(item.text.split()) > 2 * _MAX_NAME_WORDS:
        if not names_test(item.text):
            return "not_a_test", "a sentence that names no test", _span(item, record, task)
        return None
    if not names_test(item.text):
        return "not_a_test", "no word for a test, an image or a laboratory value", _span(item, record, task)
    use = use_of(item.text, record.text)
    reasons = {
        "done": ("already_done", "the chart reports it or has it as its title, and does not order it"),
        "considered": ("only_considered", "the chart weighs it, makes it conditional or declines it"),
        "mentioned": ("not_ordered", "no sentence that names it orders or plans it"),
    }
    if use.what not in reasons:
        return None
    return *reasons[use.what], use.span


def _span(item: Item, record: Record, task: Task) -> tuple[int, int] | None:
    place = locate_item(item, record.text, task) or locate_words(item.text, record.text, _DUMP_SHARE)
    return None if place is None else (place.start, place.end)


def _is_dump(items: tuple[Item, ...], removed: str) -> bool:
    """Whether most items are neighbours, in order, among the keywords that cleaning cut off."""
    keywords = [re.sub(r"\W+", " ", part).strip().casefold() for part in removed.split(",")]
    said = [re.sub(r"\W+", " ", item.text).strip().casefold() for item in items]
    pairs = set(pairwise(keywords))
    neighbours = sum(pair in pairs for pair in pairwise(said))
    return len(said) >= _MIN_DUMP and neighbours >= _DUMP_SHARE * (len(said) - 1)
