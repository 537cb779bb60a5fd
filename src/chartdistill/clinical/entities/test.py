"""Tests that are ordered or planned, not those done or only considered."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from chartdistill.clinical.entities.base import Objection
from chartdistill.clinical.entities.phrase_named import PhraseNamed
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.clinical.text.free_text import comma_list, is_sentence
from chartdistill.clinical.text.grounding import Alignment
from chartdistill.clinical.text.order_status import TestUse, use_of
from chartdistill.clinical.text.phrases import names_test
from chartdistill.clinical.text.sections import outline
from chartdistill.clinical.text.services import means_no_test, names_service_itself
from chartdistill.clinical.text.test_names import is_agent, is_sent_for
from chartdistill.prompting.answer_format import plain_key
from chartdistill.schema import Item

_MAX_NAME_WORDS = 6
_NOT_ORDERED = {
    "done": ("already_done", "the chart reports it or has it as its title, and does not order it"),
    "considered": ("only_considered", "the chart weighs it, makes it conditional or declines it"),
    "mentioned": ("not_ordered", "no sentence that names it orders or plans it"),
}
_PLAN_ENTRY = re.compile(
    r"(?:^|\n)\s*(?:\d{1,2}[.)]\s*)?(?:check|obtain|order|schedule|repeat|get|re-?check)\s+(?:an?\s+|the\s+)?"
    r"(?P<test>[\w-]+(?:\s+[\w-]+){0,3})",
    re.IGNORECASE,
)
_ORDER_PHRASE = re.compile(
    r"\b(?:will|shall|going\s+to)\s+(?:also\s+|then\s+)?(?:obtain|check|re-?check|get|order|send|schedule|repeat)\s+"
    r"(?:an?\s+|the\s+|for\s+|her\s+|his\s+)?(?P<test>[\w-]+(?:\s+[\w-]+){0,3})",
    re.IGNORECASE,
)
_CONSULT = re.compile(r"\b(?:surgery|consult\w*|appointment|records?)\b", re.IGNORECASE)
_ORDERED = re.compile(r"\b(?:order|obtain|schedul|check|repeat|send|will need)", re.IGNORECASE)


class Test(PhraseNamed):
    """Reason codes of its own: `not_a_test`; `already_done`, `not_ordered`, `only_considered`, a test the chart does
    not order or plan."""

    __test__ = False
    """For pytest, which collects classes by this name."""
    names = ("test",)
    also_called = ("tests",)
    task_name = "tests"
    question_words = r"\btests?\b|\blabs?\b"
    answer_nouns = r"tests?|labs?"
    not_of_kind = "not_a_test"
    never_also = frozenset({"diagnosis", "medication"})
    insertion = "Order {}."

    def objection(self, text: str, chart: str, lexicon: LexiconUse, keep_unknown: bool) -> Objection | None:
        """By the words of the name, then by what the chart does with it."""
        listed = self.listed_by_user(text)
        if not listed and is_sentence(text) and len(text.split()) > _MAX_NAME_WORDS:
            if names_test(text):
                return None
            return Objection("not_a_test", "a sentence that names no test", self.span(text, chart))
        mentions = outline(chart).mentions([text])
        agent = is_agent(text) and (not mentions or any(is_sent_for(mention) for mention in mentions))
        if not listed and not agent and (is_agent(text) or not names_test(text)):
            evidence = "no word for a test, an image or a laboratory value"
            return Objection("not_a_test", evidence, self.span(text, chart))
        if not listed and names_service_itself(text):
            return Objection("not_a_test", "a service, by its own words", self.span(text, chart))
        if not listed and mentions and all(means_no_test(text, mention) for mention in mentions):
            first = (mentions[0].start, mentions[0].end)
            return Objection("not_a_test", "a service or the patient, wherever the chart names it", first)
        uses = (use_of(name, chart) for name in self.names_in(text, chart, lexicon))
        use = next((one for one in uses if one.what != "absent"), TestUse("absent"))
        found = _NOT_ORDERED.get(use.what)
        return None if found is None else Objection(*found, use.span)

    def overlooked(self, chart: str, lexicon: LexiconUse) -> Objection | None:
        """An order, in a sentence or as an entry of a plan."""
        for pattern in (_ORDER_PHRASE, _PLAN_ENTRY):
            for match in pattern.finditer(chart):
                test = match["test"]
                if names_service_itself(test) or _is_service(test, match.start("test"), chart):
                    continue
                if names_test(test) and not _CONSULT.search(test) and use_of(test, chart).what == "ordered":
                    return Objection("false_none", "the chart orders a test", match.span())
        return super().overlooked(chart, lexicon)

    def decided_at(self, item: Item, chart: str, lexicon: LexiconUse) -> Alignment | None:
        """Where the chart orders it; else the most binding of what it does with it."""
        use = use_of(item.text, chart)
        if use.span is None:
            return super().decided_at(item, chart, lexicon)
        same = plain_key(chart[slice(*use.span)]) == self.key(item.text)
        return Alignment(*use.span, "exact" if same else "words", 100.0)

    def split(self, text: str) -> list[str]:
        """ "CT of the neck" and "chest" are one test."""
        return comma_list(text, goes_with_the_last=lambda part: not names_test(part))

    def new_names(self, synthetic: bool, rng: random.Random) -> Sequence[str]:
        """Common tests."""
        return TEST_NAMES

    def read_by_rules(self, sentence: str, known: Sequence[str]) -> list[str]:
        """Only in sentences with a word of ordering."""
        return super().read_by_rules(sentence, known) if _ORDERED.search(sentence) else []


def _is_service(phrase: str, start: int, chart: str) -> bool:
    """Whether a phrase of a chart begins with a short name that means a service there."""
    first = phrase.split()[0]
    return means_no_test(first, outline(chart).mention(start, start + len(first)))
