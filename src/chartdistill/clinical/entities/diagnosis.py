"""Diagnoses that the patient has."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from chartdistill.clinical.entities.base import Objection
from chartdistill.clinical.entities.phrase_named import PhraseNamed
from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.text.free_text import series
from chartdistill.clinical.text.phrase_keys import is_second_name
from chartdistill.clinical.text.phrases import (
    is_normal_finding,
    names_bad_outcome,
    names_disease,
    names_imaging_or_study,
    names_procedure,
    names_specialty,
    names_test,
)
from chartdistill.clinical.text.sections import Mention, outline
from chartdistill.clinical.text.test_names import abnormal_result, is_agent, is_tested_for
from chartdistill.schema import Item

_SECTION = re.compile(
    r"^(?:\w+[- ]?(?:operative|charge)?\s*)?diagnos[ie]s$|^(?:final|principal|admitting)\s+diagnos[ie]s$"
)
_ASSESSMENT = re.compile(r"^(?:assessment|impression|final\s+impression|assessment\s+and\s+plan)$")
_CONCLUDED = re.compile(r"\b(?:diagnos[ie]s|assessment|impression|problems?)\b")
_UNSURE = re.compile(
    r"\b(?:no|not|without|negative|rule|versus|vs|possible|question|normal|resolved|screening)\b|\?", re.IGNORECASE
)
_AFTERWARDS = re.compile(
    r"^post\W?(?:operative|procedure|op)?\s*(?:procedure\s+)?diagnos[ie]s$|^(?:final|discharge)\s+diagnos[ie]s$"
)
_WISH = re.compile(
    r"^(?:patient\s+|the\s+patient\s+)?(?:desires?|wish(?:es)?|requests?|wants?|desired|elective|voluntary|routine|undesired\s+fertility|desire\s+for"
    r"|multiparity|family\s+planning|screening|surveillance|family\s+history|need\s+for|encounter\s+for|status\s+post)\b|\bsterili[sz]ation\b",
    re.IGNORECASE,
)
"""What stands under a heading for diagnoses and is a reason for the visit, no disease."""
_LIST_MARK = re.compile(r"^\s*\d{1,2}[.)]\s*")
_QUALIFIER = re.compile(
    r"(?:type|stage|grade|class|gravida|para)\s+\w{1,4}|(?:on\s+the\s+)?(?:left|right|both\s+sides|bilateral(?:ly)?)(?:[\s-]+sided?)?"
    r"|(?:(?:currently|well|poorly|likely|now|probably|mild(?:ly)?|moderate(?:ly)?|severe(?:ly)?)[\s-]+)?(?:un?controlled|stable|unstable|resol(?:ved|ving)"
    r"|improv(?:ed|ing)|worsening|acute|chronic|recurrent|mild|moderate|severe|unspecified|nos|new[\s-]onset|symptomatic|asymptomatic)"
    r"|(?:due|secondary)\s+to\s.+",
    re.IGNORECASE,
)
"""A part of a list that only says more of the one before."""
_STATE = re.compile(
    r"(?:(?:the\s+)?patient(?:\s+is)?\s+|(?:in\s+)?(?:overall|very|currently|clinically|remains|is|now|otherwise)\s+)*"
    r"(?:(?:good|fair|stable|satisfactory|guarded|serious|critical|poor|excellent|improved)(?:\s+condition)?|unchanged|improv(?:ed|ing)"
    r"|(?:doing|feeling)\s+(?:\w+\s+)?(?:well|better|fine)|well[\s-]+appearing|well[\s-]developed|alert(?:\s+and\s+oriented.*)?"
    r"|afebrile|asymptomatic|pain[\s-]free|deceased|expired|full\s+code|dn[ir](?:/dn[ir])?|comfort\s+care|ambulatory"
    r"|(?:fe)?male|(?:post-?\s?op(?:erative)?|hospital)\s+day\s+.{1,12}|pod\s*#?\s?\d{1,3}"
    r"|(?:discharged?|transfer(?:red)?|admit(?:ted)?|admission)\s+(?:to\s+)?(?:home|floor|icu|rehab|hospice|snf)"
    r"|follow[\s-]?up(?:\s+visit)?|return\s+visit|no\s+change)",
    re.IGNORECASE,
)
"""How the patient is, how it goes, where the patient goes: what stands beside diagnoses and is none."""
_MAX_WORDS = 8
_EMPTY = re.compile(
    r"^\W*(?:none|no\b|n/?a\b|nil|unknown|same|as\s+above|negative|not\b|deferred|see\b|unremarkable)", re.IGNORECASE
)


class Diagnosis(PhraseNamed):
    """Reason codes of its own: `not_a_diagnosis`, a procedure, test or specialty; `normal_finding`, "normal ...",
    "no ..."."""

    names = ("diagnosis",)
    also_called = ("diagnoses",)
    task_name = "diagnosis"
    question_words = r"\bdiagnos(?!tic\s+procedure)"
    answer_nouns = r"diagnos[ie]s"
    not_of_kind = "not_a_diagnosis"
    never_also = frozenset({"medication", "test", "procedure"})
    insertion = "The patient has {}."

    def objection(self, text: str, chart: str, lexicon: LexiconUse, keep_unknown: bool) -> Objection | None:
        """By the words of the phrase alone."""
        if self.listed_by_user(text):
            return None
        if is_normal_finding(text):
            return Objection("normal_finding", "says that nothing was found", self.span(text, chart))
        if is_agent(text):
            mentions = outline(chart).mentions([text])
            if mentions and all(is_tested_for(mention) for mention in mentions):
                return Objection("not_a_diagnosis", "a test, wherever the chart names it", self.span(text, chart))
            return None
        if (what := abnormal_result(text)) is not None and names_test(what):
            return None
        if _STATE.fullmatch(text.strip(" .")):
            return Objection("not_a_diagnosis", "a state, a course or a disposition", self.span(text, chart))
        drugs = None if is_second_name(self.key(text), self.name) else self.drugs(lexicon)
        if drugs is not None and drugs.canonical(self.key(text)) is not None:
            return Objection("not_a_diagnosis", "a drug", self.span(text, chart))
        if not names_bad_outcome(text) and (names_procedure(text) or names_imaging_or_study(text)):
            evidence = "a procedure, an examination or a treatment"
            return Objection("not_a_diagnosis", evidence, self.span(text, chart))
        if names_specialty(text):
            return Objection("not_a_diagnosis", "a specialty or an organ system", self.span(text, chart))
        return None

    def overlooked(self, chart: str, lexicon: LexiconUse) -> Objection | None:
        """A heading for diagnoses with something under it."""
        # What was found in the end counts, not what was thought before.
        settled = any(is_normal_finding(_first_entry(span.text)) for span in outline(chart).section(_AFTERWARDS))
        for pattern, told in ((_ASSESSMENT, True),) if settled else ((_SECTION, False), (_ASSESSMENT, True)):
            for span in outline(chart).section(pattern):
                first = _first_entry(span.text)
                if _WISH.search(first):
                    continue
                if len(first) <= 3 or _EMPTY.match(first) or is_normal_finding(first) or names_procedure(first):
                    continue
                # An assessment can be anything; a short one that ends in a disease's name is a diagnosis.
                if told and (len(first.split()) > _MAX_WORDS or not names_disease(first) or _UNSURE.search(first)):
                    continue
                evidence = "the chart has a heading for diagnoses with something under it"
                return Objection("false_none", evidence, (span.start, span.end))
        return super().overlooked(chart, lexicon)

    def contradiction(self, item: Item, chart: str, statuses: Sequence[str], lexicon: LexiconUse) -> Objection | None:
        """Denied, a relative's or declined wherever it stands."""
        found = self._denied(self.names_in(item.text, chart, lexicon), chart)
        return None if found is None else found[2]

    def weight(self, item: Item, mention: Mention) -> int:
        """Most under a heading for what was concluded."""
        weight = super().weight(item, mention)
        return 3 if weight == 2 and _CONCLUDED.search(mention.heading) else weight

    def split(self, text: str) -> list[str]:
        """ "Infected foreign body, right naris" is one diagnosis: two parts make no list, and "type 2" no item."""
        return series(text, lambda part: _QUALIFIER.fullmatch(part.strip(" .")) is not None)

    def new_names(self, synthetic: bool, rng: random.Random) -> Sequence[str]:
        """Common conditions."""
        return CONDITION_NAMES


def _first_entry(text: str) -> str:
    """The first entry under a heading, without its mark."""
    return _LIST_MARK.sub("", text.strip().split("\n")[0]).strip(" .")
