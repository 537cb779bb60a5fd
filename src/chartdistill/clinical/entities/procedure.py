"""Procedures and operations that the patient had or is to have; not tests, not those declined or only considered."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import ClassVar

from chartdistill.clinical.entities.base import ABSENT, EntityType, Flips, Objection, Span
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.text.context import about_a_relative, says_none_listed
from chartdistill.clinical.text.order_status import uses_of
from chartdistill.clinical.text.phrase_keys import phrase_key
from chartdistill.clinical.text.phrases import names_imaging_or_study, names_procedure, names_specialty, names_test
from chartdistill.clinical.text.sections import Mention, outline
from chartdistill.schema import Item

DONE, PLANNED = "done", "planned"
_HEADING = re.compile(r"\b(?:procedures?|operations?|surger(?:y|ies)|surgical\s+history|psh)\b")
_HAD = re.compile(
    r"\b(?:underwent|status\s+post|s/p|had|will\s+undergo|scheduled?(?:\s+for)?|plan\s+for)\s(?:\s?an?\s+|\s?the\s+)?"
    r"(?P<what>[\w-]+(?:\s+[\w-]+){0,3})",
    re.IGNORECASE,
)
_NO_PROCEDURE = re.compile(
    r"\b(?:visits?|follow-?\s?ups?|exam(?:ination)?s?|(?:re-?)?evaluations?|management|re-?checks?|admissions?|reduction|deliver(?:y|ies)|consult\w*|screening|check-?ups?|appointments?"
    r"|(?:physical|occupational|speech|drug|medical|antibiotic\w*|warfarin)\s+(?:therapy|treatment))$",
    re.IGNORECASE,
)
"""What is done with a patient, or given, and is no procedure on the patient."""
_BY_NAME = re.compile(
    r"\b(?:pci|ptca|cabg|tk[ra]|th[ra]|tavr|ercp|orif|turp|d&c|i&d|pacemaker|whipple|gastric\s+(?:sleeve|bypass|banding)"
    r"|amputation|cardioversion|stent(?:s|ing)?|dissection|radiation(?:\s+therapy)?|ablation|dialysis|transplant(?:ation)?)\b",
    re.IGNORECASE,
)
"""Procedures by a short name, or one whose form does not show it."""
_NOT_HAPPENING = re.compile(r"\b(?:never|not|no|denie[sd]|declin\w+|refus\w+)\b", re.IGNORECASE)
_IF = re.compile(r"\b(?:if|unless)\b", re.IGNORECASE)
_CALLED_OFF = re.compile(r"[^.;]{0,60}\b(?:cancel\w+|declin\w+|refus\w+|deferred|postponed)\b", re.IGNORECASE)
_JUST_DONE = re.compile(
    r"\b(?:underwent|status\s+post|s/p|had|history\s+of|(?<!recommend )after|following|since)\s+"
    r"(?:an?\s+|the\s+|his\s+|her\s+)?"
    r"(?:previous\s+|prior\s+|recent\s+)?$",
    re.IGNORECASE,
)
_IS_PLANNED = re.compile(
    r"\b(?:schedul\w+|planned|will\s+(?:have|undergo|need|proceed|be)|going\s+to|recommend\w*|book(?:ed)?|plan\s+for"
    r"|is\s+to\s+(?:have|undergo))\b",
    re.IGNORECASE,
)
_IS_DONE = re.compile(
    r"\b(?:underwent|status\s+post|s/p|had|performed|completed|history\s+of|(?:was|were)\s+(?:done|carried\s+out)"
    r"|in\s+(?:19|20)\d\d|years\s+ago)\b",
    re.IGNORECASE,
)
PROCEDURES = (
    "appendectomy", "cholecystectomy", "hernia repair", "total knee arthroplasty", "hysterectomy", "tonsillectomy",
    "coronary artery bypass", "cataract extraction", "lumbar laminectomy", "carpal tunnel release", "thyroidectomy",
    "cesarean section", "septoplasty", "mastectomy", "vasectomy", "skin graft", "hip replacement", "prostatectomy",
)  # fmt: skip
"""Common ones."""


class Procedure(EntityType):
    """Reason codes of its own: `not_a_procedure`, a test, drug, specialty or a phrase without a word for something done
    to a patient; `contradicted_status`, the chart only plans it, or only reports it; `only_considered`, a thing for
    later."""

    names = ("procedure",)
    task_name = "procedure"
    also_called = ("procedures",)
    question_words = r"\bprocedures?\b|\boperations?\b|\bsurger(?:y|ies)\b"
    own_answer_nouns = r"procedures?|operations?|surger(?:y|ies)"
    not_of_kind = "not_a_procedure"
    never_also = frozenset({"diagnosis", "medication"})
    insertion = "The patient underwent {} in 2012."
    inserted_status = DONE
    flips: ClassVar[Flips] = {
        (DONE, PLANNED): ((r"underwent\b", "will undergo"),),
        (PLANNED, DONE): ((r"(?:will undergo|is scheduled for)\b", "underwent"),),
    }
    status_cues = ((PLANNED, _IS_PLANNED.pattern), (DONE, _IS_DONE.pattern))
    default_status = DONE

    def _match_key(self, text: str) -> str:
        """In any word order, abbreviated or not: see `text.phrase_keys`."""
        return phrase_key(self.key(text), self.name)

    def objection(self, text: str, chart: str, lexicon: LexiconUse, keep_unknown: bool) -> Objection | None:
        """By the words of the phrase; a name nobody knows passes where a heading for procedures stands above it."""
        if self.listed_by_user(text):
            return None
        if _NO_PROCEDURE.search(text):
            return Objection("not_a_procedure", "a visit, an examination or a treatment", self.span(text, chart))
        if names_procedure(text) or _BY_NAME.search(text):
            return None
        drugs = self.drugs(lexicon)
        if names_imaging_or_study(text):
            return Objection("not_a_procedure", "a test", self.span(text, chart))
        if names_specialty(text):
            return Objection("not_a_procedure", "a specialty or an organ system", self.span(text, chart))
        if drugs is not None and drugs.canonical(self.key(text)) is not None:
            return Objection("not_a_procedure", "a drug", self.span(text, chart))
        headed = any(_HEADING.search(mention.heading) for mention in outline(chart).mentions([text]))
        if keep_unknown and headed:
            return None
        return Objection("not_a_procedure", "no word for something done to a patient", self.span(text, chart))

    def overlooked(self, chart: str, lexicon: LexiconUse) -> Objection | None:
        """Something under a heading for procedures, or "underwent", "status post", "scheduled for" a procedure."""
        plan = outline(chart)
        for span in plan.section(_HEADING):
            first = span.text.strip().split("\n")[0].strip(" .")
            if len(first) > 3 and not says_none_listed(first) and names_procedure(first):
                evidence = "the chart has a heading for procedures with something under it"
                return Objection("false_none", evidence, (span.start, span.end))
        for start, end in _had(chart):
            mention = plan.mention(start, end)
            off = _NOT_HAPPENING.search(mention.before) or _CALLED_OFF.match(mention.told_after)
            if not off and not _IF.search(mention.told_before) and not about_a_relative(mention.told_before):
                return Objection("false_none", "the chart says what was done to the patient or will be", (start, end))
        return super().overlooked(chart, lexicon)

    def contradiction(self, item: Item, chart: str, statuses: Sequence[str], lexicon: LexiconUse) -> Objection | None:
        """Denied, a relative's, declined or only considered; or only planned, or only reported."""
        names = self.all_names(item.text, lexicon)
        mentions = outline(chart).mentions(names)
        if mentions and all(about_a_relative(one.told_before) for one in mentions):
            evidence = "every sentence that names it is about a relative"
            return Objection("family_member", evidence, (mentions[0].start, mentions[0].end))
        if item.status != PLANNED and any(_JUST_DONE.search(one.told_before) for one in mentions):
            return None
        found = self._denied(names, chart, {**ABSENT, "considered": "only_considered"})
        if found is not None and found[2] is not None:
            return found[2]
        uses = {use.what: use.span for use in uses_of(item.text, chart)}
        ruled_out = {PLANNED: {"done"}, DONE: {"ordered", "considered"}}.get(str(item.status), set())
        if statuses and uses and set(uses) <= ruled_out:
            (what, span), *_ = uses.items()
            return Objection("contradicted_status", f"the chart has it only as {what}; listed as {item.status}", span)
        return None

    def weight(self, item: Item, mention: Mention) -> int:
        """By what its sentence says: done, or planned."""
        if about_a_relative(mention.told_before):
            return 0
        says = {DONE: _IS_DONE, PLANNED: _IS_PLANNED}.get(str(item.status))
        weight = super().weight(item, mention)
        return 3 if weight and says is not None and says.search(mention.clause) else weight

    def _candidates(self, sentence: str, known: Sequence[str]) -> list[Span]:
        """Also what stands behind "underwent", "scheduled for" and their like, as far as it names a procedure."""
        return [*super()._candidates(sentence, known), *_had(sentence)]

    def new_names(self, synthetic: bool, rng: random.Random) -> Sequence[str]:
        """Common procedures."""
        return PROCEDURES


def _had(text: str) -> list[Span]:
    """What stands behind "underwent", "scheduled for" and their like, as far as it names a procedure."""
    found = []
    for match in _HAD.finditer(text):
        start = match.start("what")
        ends = [start + word.end() for word in re.finditer(r"[\w-]+", match["what"])]
        named = [end for end in ends if names_procedure(text[start:end])]
        if (
            named
            and not names_test(text[start : named[-1]])
            and not _NO_PROCEDURE.search(text[start : named[-1]])
            and not _NOT_HAPPENING.match(text, start)
        ):
            found.append((start, named[-1]))
    return found
