"""Substances that the patient is allergic to or does not tolerate, with the reaction where the chart tells it."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import ClassVar

from chartdistill.clinical.entities.base import Flips, Objection, Span, mentions_in_words
from chartdistill.clinical.entities.drug_named import DrugNamed
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.clinical.text.context import about_a_relative, says_none_listed
from chartdistill.clinical.text.phrases import first_of, names_imaging_or_study, names_procedure, names_specialty
from chartdistill.clinical.text.sections import Mention, outline
from chartdistill.prompting.answer_format import EDGE, plain_key
from chartdistill.schema import Item

UNKNOWN, OTHER = "unknown", "other"
REACTIONS: Sequence[tuple[str, str]] = (
    ("anaphylaxis", r"anaphyla\w+"),
    ("hives", r"hives|urticaria\w*"),
    ("rash", r"rash(?:es)?"),
    ("itching", r"itch(?:ing|es|y)?|prurit\w+"),
    ("swelling", r"swell(?:ing|s)|angioedema|edema"),
    ("nausea", r"nausea|vomiting|upset\s+stomach"),
)
"""Reaction -> its words; what none of them says is `other`, and where nothing is said `unknown`."""

_ANY_REACTION = r"\b(?:caus(?:es|ed)|gives|gets|develop(?:s|ed)|reaction\s+(?:is|was|of)|with)\s+(?!no\b)\w+"
_SAYS_ALLERGY = re.compile(
    r"\b(?:allerg\w+|intoleran\w+|hypersensitiv\w+|anaphyla\w+|hives|urticaria|(?:adverse\s+)?reaction\s+to"
    r"|sensitiv(?:e|ity)\s+to|(?:does|did|could|can)\s?not\s+tolerate|unable\s+to\s+(?:take|tolerate))\b",
    re.IGNORECASE,
)
_LIST = r"(?:(?!(?:except|other|but|and\s+is)\b)[\w-]{1,30}(?:\s*,|\s+or|\s+and)?\s+){0,6}$"
_NOT_ALLERGIC = re.compile(
    r"\b(?:no|not|never|denies|without)\s+(?:(?:known|any|history|of|drug|food|an?|current|have|had|having|being)\s+){0,4}"
    rf"(?:allerg\w{{1,6}}\s+to\s+{_LIST}|allerg\w{{1,6}}\W{{0,3}}$)"
    rf"|\bdenies\s+{_LIST}|(?<!not\s)\btolerate[sd]?\s+(?:the\s+)?$",
    re.IGNORECASE,
)
_ANSWERED_NO = re.compile(r"\s*(?:allerg\w{1,6})?\s*[:?-]\s*(?:no|none|negative|denie[sd])\b", re.IGNORECASE)
_NONE_OF_IT = re.compile(r"\b(?:no|not\s+an?|never|denies|without)\s+(?:known\s+|any\s+|an?\s+)?$", re.IGNORECASE)
_ALLERGY = re.compile(r"\s*(?:allerg(?:y|ies)|intolerances?|hypersensitivity)\b", re.IGNORECASE)
"""Behind what it is of: "no latex allergy"."""
_CAUSES = re.compile(r"\W*(?:causes|caused|gives\s+(?:him|her)|makes\s+(?:him|her)|upsets)\b", re.IGNORECASE)
_BROUGHT_ON = re.compile(
    r"\b(?:rash|itching|swelling|nausea|vomiting|wheez\w+|broke\s+out)\b[^.;]{0,30}\b(?:on|from|with|after(?:\s+taking)?|to)\s+$",
    re.IGNORECASE,
)
_TREATED = re.compile(
    r"[^.;]{0,20}\bfor\s+(?:(?:her|his|the|seasonal|an?)\s+)?(?:allerg\w+|hives|urticaria|anaphylaxis|rash|itching)",
    re.IGNORECASE,
)
_NONE = re.compile(
    r"^\W*(?:no|not|none|nil|nka|nkda|nkma|n/?a|unknown|denies|negative)\b|\bno\s+known\b", re.IGNORECASE
)
_HEADING = re.compile(r"\ballerg(?!\w{1,4}\s+(?:clinic|test|shot|immuno|specialist))")
_TABLE_HEAD = re.compile(
    r"^(?:\s*(?:allergens?|substance|reactions?|severity|type|date|noted|comments?)\b[\s|,/]*)+$", re.I
)
_NO_SUBSTANCE_BEHIND = re.compile(r"exercise|exertion|activity|heat|cold|stairs|standing|any\b", re.IGNORECASE)
_IF = re.compile(r"\b(?:if|unless|whether)\b", re.IGNORECASE)
_ENTRY_BEFORE = re.compile(r"[^,;.\n:]{0,60}$")
_ENTRY_AFTER = re.compile(
    r"(?:\s*\([^()\n]{0,80}\)|[^,;.\n(]{1,80}|,\s*(?:which|caus\w+|with|reaction|it|he|she)\b[^,;.\n]{0,80}){0,3}",
    re.IGNORECASE,
)
_ENTRY = re.compile(
    rf"[.;]\s*[A-Za-z][\w ]{{2,30}}(?:\s*[-:(]\s*|\s+causes\s+)(?:{'|'.join(words for _, words in REACTIONS)})\b",
    re.IGNORECASE,
)
"""A substance with its reaction, behind a sentence: "No known food allergies. Penicillin - rash."."""
_NO_REACTION = re.compile(r"\b(?:no|not|without|denies)\s+[\w-]+", re.IGNORECASE)
_PHRASE = re.compile(
    r"\b(?:(?:is|was|are)\s+(?:also\s+)?allergic|ha(?:s|d|ve)\s+an?\s+(?:allergy|intolerance))\s+to\s+(?P<what>[\w-]+)",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"\s+(?:allerg(?:y|ies)|intolerance|hypersensitivity)$")
_NAMED = re.compile(
    r"\b(?:allergic\s+to|intoleran(?:ce|t)\s+(?:to|of)|allerg(?:y|ies)\s*(?:to|:))\s+([A-Za-z][A-Za-z-]{3,})"
    r"|\b([A-Za-z][A-Za-z-]{3,})\s+causes\b",
    re.IGNORECASE,
)
_NO_SUBSTANCE = (
    (names_procedure, "a procedure or a therapy"),
    (names_imaging_or_study, "a test"),
    (names_specialty, "a specialty or an organ system"),
)
SUBSTANCES = (
    "penicillin", "latex", "codeine", "sulfa", "shellfish", "peanuts", "iodine", "adhesive tape", "eggs", "bee stings",
)  # fmt: skip
"""Common ones, drugs and others."""


class Allergy(DrugNamed):
    """Reason codes of its own: `no_allergy`, "NKDA", "none known"; `not_a_substance`, a procedure, test or specialty;
    `not_an_allergy`, the chart names it and nowhere says that it is not tolerated; `contradicted_status`, every
    sentence about it tells another reaction."""

    names = ("allergy",)
    task_name = "allergy"
    also_called = ("allergies",)
    question_words = r"\ballerg"
    own_answer_nouns = r"allerg(?:y|ies)"
    no_reason_to_list = DrugNamed.no_reason_to_list - {"allergy"}
    not_of_kind = "not_a_substance"
    never_also = frozenset({"diagnosis", "test", "procedure"})
    insertion = "The patient is allergic to {}, which causes hives."
    inserted_status = "hives"
    flips: ClassVar[Flips] = {
        ("hives", "rash"): ((r"hives\b", "a rash"),),
        ("rash", "hives"): ((r"(?:a )?rash\b", "hives"),),
    }
    status_cues = (*REACTIONS, (OTHER, _ANY_REACTION))
    default_status = UNKNOWN

    def key(self, text: str) -> str:
        """Also without "allergy" at the end, as long as a name is left."""
        plain = plain_key(text)
        return _SUFFIX.sub("", plain).strip(EDGE) or plain

    def objection(self, text: str, chart: str, lexicon: LexiconUse, keep_unknown: bool) -> Objection | None:
        """By the words of the name, then by what the chart says around it."""
        listed = self.listed_by_user(text)
        if _NONE.search(text) and not listed:
            return Objection("no_allergy", "says that there is none", self.span(text, chart))
        if not listed and (what := first_of(_NO_SUBSTANCE, text)) is not None:
            return Objection("not_a_substance", what, self.span(text, chart))
        mentions = self._mentions(text, chart, lexicon)
        if mentions and not any(_tells_an_allergy(mention) for mention in mentions):
            evidence = f"{mentions_in_words(len(mentions))}: without a word of not being tolerated"
            return Objection("not_an_allergy", evidence, (mentions[0].start, mentions[0].end))
        return None

    def overlooked(self, chart: str, lexicon: LexiconUse) -> Objection | None:
        """Something under a heading for allergies, or "is allergic to", "has an intolerance to"."""
        for span in outline(chart).section(_HEADING):
            lines = [line for line in span.text.strip().split("\n") if not _TABLE_HEAD.match(line)]
            first = lines[0].strip(" .") if lines else ""
            if len(first) > 2 and (not says_none_listed(first) or _ENTRY.search(first)):
                evidence = "the chart has a heading for allergies with something under it"
                return Objection("false_none", evidence, (span.start, span.end))
        for match in _PHRASE.finditer(chart):
            before = outline(chart).mention(*match.span("what")).told_before
            hedged = _IF.search(before) or _NO_SUBSTANCE_BEHIND.match(match["what"])
            if not hedged and not about_a_relative(before) and not _NOT_ALLERGIC.search(before):
                return Objection("false_none", "the chart says what the patient is allergic to", match.span())
        return super().overlooked(chart, lexicon)

    def contradiction(self, item: Item, chart: str, statuses: Sequence[str], lexicon: LexiconUse) -> Objection | None:
        """A relative's, denied, or with another reaction wherever the chart tells one."""
        mentions = self._mentions(item.text, chart, lexicon)
        if not mentions:
            return None
        first = (mentions[0].start, mentions[0].end)
        for says, reason in ((_is_denied, "negated"), (_is_a_relatives, "family_member")):
            if all(says(mention) for mention in mentions):
                evidence = f"{mentions_in_words(len(mentions))}: {reason.replace('_', ' ')}"
                return Objection(reason, evidence, first)
        told = {r for one in mentions if _tells_an_allergy(one) for r in _reactions_beside(one)}
        if statuses and told and item.status not in told:
            evidence = f"the chart tells {' and '.join(sorted(told))}; listed as {item.status}"
            return Objection("contradicted_status", evidence, first)
        return None

    def weight(self, item: Item, mention: Mention) -> int:
        """By whether its words tell an allergy, and which reaction."""
        if _is_denied(mention) or _is_a_relatives(mention):
            return 0
        if not _tells_an_allergy(mention):
            return 1
        return 3 if item.status in (_reactions_beside(mention) or [UNKNOWN]) else 2

    def _mentions(self, text: str, chart: str, lexicon: LexiconUse) -> list[Mention]:
        return outline(chart).mentions(self.all_names(text, lexicon))

    def new_names(self, synthetic: bool, rng: random.Random) -> Sequence[str]:
        """Common allergens; for synthetic charts names nobody knows."""
        return [drug_name(rng, "heldout") for _ in range(20)] if synthetic else SUBSTANCES

    def read_by_rules(self, sentence: str, known: Sequence[str]) -> list[str]:
        """Only in sentences that speak of not being tolerated."""
        return super().read_by_rules(sentence, known) if _SAYS_ALLERGY.search(sentence) else []

    def _candidates(self, sentence: str, known: Sequence[str]) -> list[Span]:
        """Also drugs of the lexicon, and what is named as an allergy."""
        drugs = self.drugs("auto")
        listed = drugs.find(sentence) if drugs is not None else []
        named = [match.span(match.lastindex or 0) for match in _NAMED.finditer(sentence)]
        return [*super()._candidates(sentence, known), *listed, *named]


def reaction_of(words: str) -> str:
    """The reaction that some words name: "rash" -> rash, "chest pain" -> other, "" -> unknown."""
    return next(iter(_reactions(words)), OTHER if words.strip() else UNKNOWN)


def _reactions(text: str) -> list[str]:
    return [name for name, words in REACTIONS if re.search(rf"\b(?:{words})\b", text, re.IGNORECASE)]


def _reactions_beside(mention: Mention) -> list[str]:
    """The reactions told in the mention's own entry: "Penicillin (hives), sulfa" tells nothing of sulfa."""
    before = _ENTRY_BEFORE.search(mention.told_before)
    after = _ENTRY_AFTER.match(mention.told_after)
    entry = f"{before.group() if before else ''} _ {after.group() if after else ''}"
    return _reactions(_NO_REACTION.sub(" ", entry))


def _is_denied(mention: Mention) -> bool:
    before, after = mention.told_before[-200:], mention.told_after
    no_allergy = _NONE_OF_IT.search(before) and _ALLERGY.match(after)
    return bool(no_allergy or _NOT_ALLERGIC.search(before) or _ANSWERED_NO.match(after))


def _is_a_relatives(mention: Mention) -> bool:
    return about_a_relative(mention.told_before)


def _tells_an_allergy(mention: Mention) -> bool:
    if _TREATED.match(mention.told_after):
        return False
    headed = _HEADING.search(mention.heading) is not None and mention.listed
    said = _SAYS_ALLERGY.search(mention.sentence.text) or _BROUGHT_ON.search(mention.told_before)
    return bool(headed or said or _CAUSES.match(mention.after))
