"""Drugs of a patient, with a status. A drug is the same under a brand's name, and with another dose."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from chartdistill.clinical.entities.base import ABSENT, Flips, Objection, Span, mentions_in_words
from chartdistill.clinical.entities.drug_named import DrugNamed
from chartdistill.clinical.lexica.drugs import (
    NO_DRUGS,
    Drugs,
    LexiconUse,
    is_unnamed,
    known_drugs,
    names_class,
    names_form,
)
from chartdistill.clinical.lexica.ingredients import is_shipped
from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.clinical.lexica.no_drugs import no_drug
from chartdistill.clinical.text.caregivers import given_by_a_parent
from chartdistill.clinical.text.context import Cue, cues
from chartdistill.clinical.text.denied_use import denies_trouble, told_not_to_take
from chartdistill.clinical.text.dosage import Dosage, dosage_at, dosage_of_item
from chartdistill.clinical.text.doses import doses, doses_of, numbers_missing
from chartdistill.clinical.text.drug_use import has_a_drug_stem, used_like_a_drug, used_like_another_thing
from chartdistill.clinical.text.free_text import comma_list, is_sentence
from chartdistill.clinical.text.grounding import Alignment, occurrences
from chartdistill.clinical.text.phrases import (
    first_of,
    is_normal_finding,
    names_care,
    names_complaint,
    names_device,
    names_disease,
    names_imaging_or_study,
    names_procedure,
    names_specialty,
)
from chartdistill.clinical.text.sections import Mention, outline
from chartdistill.prompting.answer_format import EDGE, plain_key
from chartdistill.schema import Item

_MAX_NAME_WORDS = 3
_MAX_SENTENCE = 15
_NEAR_CHARS = 20
_MAX_DIRECTIONS = 300
_DIRECTIONS = re.compile(
    r"""(?:[\s,;(]{1,3}(?:
        \.?\d[\d.,/-]{0,11}\s?(?:mgs?|mcgs?|µg|ug|g|gm|(?:milli|micro)?grams?|m(?:illi)?eq(?:uivalents?)?|ml|cc|units?|iu|%|percent
            |tab(?:let)?s?|cap(?:sule)?s?|pills?|puffs?|drops?)
            (?:/\w+)?
        | tab(?:let)?s? | cap(?:sule)?s? | puffs?
        | p\.?o | by\s+mouth | oral(?:ly)? | i\.?v | intravenous(?:ly)? | i\.?m
        | s\.?[cq] | sub-?q | subcutaneous(?:ly)?
        | once | twice | three\s+times | \d+\s+times | (?:an?|per|each)\s+(?:day|week|month) | daily | weekly | monthly
        | nightly | every\s+(?:other\s+)?(?:\d+(?:-\d+)?\s+)?(?:hours?|days?|weeks?|morning|evening|night)
        | at\s+(?:bedtime|night)
        | q\.?\s?\d+(?:-\d+)?[\s.]?h(?:(?:ou)?rs?)? | [qbt]\.?i\.?d | q\.?d | q\.?h\.?s | q\.?a\.?m | q\.?p\.?m
        | p\.?r\.?n | as\s+needed | (?:for|x)\s?(?:an?|\d+)[\s-]?(?:days?|d|weeks?|wks?|months?)
        | (?:two|four|five)\s+times | q\.?o\.?d | x\s?1 | s\.?l | sublingual(?:ly)? | per\s+rectum | inhaled | topically
    )[.)]{0,2}){1,12}$""",
    re.VERBOSE | re.IGNORECASE,
)
"""Dose, route and frequency at a name's end: they do not name the drug."""
_JOINED = re.compile(r"\s*(?:,|/|and|or|plus|with|,\s*and)\s*(?:\d[\d.]*\s?\S*\s+)?", re.IGNORECASE)
_ENTRY = re.compile(r"\s*(?:(?:\d{1,2}[.)]|[-*\u2022])\s*)?")
_ENTRY_WORDS = 12
_NO_DRUGS = (
    (names_procedure, "a procedure or a therapy"),
    (names_care, "a diet, an exercise or another measure that is no drug"),
    (names_device, "a device or a surgical material"),
    (names_disease, "a disease or a complaint"),
    (names_complaint, "a disease or a complaint"),
    (names_imaging_or_study, "a test"),
    (names_specialty, "a specialty or an organ system"),
)

_EXCLUDES: Mapping[Cue, frozenset[str]] = {
    "stopped": frozenset({"continue", "start", "hold"}),
    "held": frozenset({"continue", "start", "past", "avoid", "given-once"}),
    "paused": frozenset({"continue", "start"}),
    "started": frozenset({"stop", "hold", "past", "avoid"}),
    "continued": frozenset({"start", "stop", "hold", "past", "avoid", "given-once"}),
    "resumed": frozenset({"stop", "past", "avoid", "given-once"}),
    "changed": frozenset({"start", "hold", "past", "avoid", "given-once"}),
    "tried": frozenset({"start", "continue", "change", "hold"}),
    "once": frozenset({"start", "continue", "change", "stop", "hold", "avoid"}),
    "allergy": frozenset({"start", "continue", "change", "hold", "given-once"}),
}
"""Cue -> the statuses it rules out when it is the only thing the chart says of a drug."""
_SAYS: Mapping[Cue, frozenset[str]] = {
    "stopped": frozenset({"stop", "past"}),
    "held": frozenset({"hold"}),
    "paused": frozenset({"stop", "hold"}),
    "started": frozenset({"start"}),
    "continued": frozenset({"continue"}),
    "resumed": frozenset({"continue", "start"}),
    "changed": frozenset({"change"}),
    "tried": frozenset({"past"}),
    "once": frozenset({"given-once"}),
    "allergy": frozenset({"avoid"}),
}
"""Cue -> the statuses it says."""
_COMPATIBLE: Mapping[Cue, tuple[Cue, ...]] = {"allergy": ("negated",)}
_NOT_TAKEN: tuple[Cue, ...] = ("allergy", "stopped", "held")
"""Cues that speak against a drug where it is taken to be the patient's now."""

_TAKEN = frozenset({"started", "continued", "resumed"})
_ORDERED_DOSE = re.compile(
    r"\b(?:(?:re)?start(?:ed)?(?:\s+on)?|begin|began|continue[sd]?(?:\s+on)?|resumed?|prescribed|takes|taking|takes\s+only)\s+"
    r"(?!(?:oral|iv|fluids?|normal|feeds?|water|alcohol|saline)\b)(?P<drug>[A-Za-z][\w-]+)\s+\d[\d.,]*\s?(?:mg|mcg|units?)\b(?!\s?/)",
    re.IGNORECASE,
)
_DRUG_SECTION = re.compile(r"\b(?:medications?|meds)\b")
_DOSE = re.compile(r"\s*\d[\d.,]*\s?(?:mg|mcg|units?|cc|ml|%)(?!\s?/\s?d?l\b)", re.IGNORECASE)
_CONCENTRATION = re.compile(
    r"\s*(?:levels?)?\s*(?:is|was|of|at|[:=])?\s*\d[\d.,]*\s?(?:(?:[mµunp]c?g|g|m?mol|meq|m?i?u|units?)\s?/\s?d?l"
    r"|[np]g\s?/\s?ml|mmol)\b",
    re.IGNORECASE,
)
_LAB_SECTION = re.compile(r"\b(?:labs?|data|laborator(?:y|ies)|chemistr(?:y|ies)|blood\s+work)\b", re.IGNORECASE)
_RESULT = re.compile(
    r"\b(?:sodium|glucose|creatinine|bun|wbc|hgb|h(?:a)?emoglobin|h(?:a)?ematocrit|hct|platelets|plt"
    r"|(?<!potassium )(?<!calcium )(?<!sodium )(?:chloride|bicarb(?:onate)?)"
    r"|phosph(?:ate|orus)|albumin|bilirubin|troponin|tsh|inr|a1c|ast|alt|lactate)\s+(?:(?:is|was|of)\s+)?\d[\d.]*"
    r"(?![\d.]|\s?(?:m?c?g|meq|ml|units?|tab\w*|cap\w*)\b(?!\s?/))",
    re.IGNORECASE,
)
"""A value that only a laboratory gives: what stands beside it with a bare number is one, too."""
_VALUE = re.compile(r"\s+\d.*$")
_BARE_VALUE = re.compile(r"\s*(?:is|was|of|[:=])?\s*\d++(?:\.\d++)?+\s*(?:[,;.(]|[HL]\b|$)")

_INSERTED = (
    "lisinopril", "metformin", "sertraline", "amoxicillin", "omeprazole", "furosemide", "gabapentin", "prednisone",
    "warfarin", "simvastatin", "levothyroxine", "ibuprofen", "albuterol", "tramadol", "ranitidine",
)  # fmt: skip
_BEFORE_A_DOSE = re.compile(r"\b([A-Za-z][A-Za-z-]{4,})\s+\d[\d.,]*\s?(?:mg|mcg|g|units?|ml)\b")
_PRESCRIBED = re.compile(
    r"\b(?:start|begin|continue|discontinue|stop|hold|resume|avoid|increase|decrease|taper|takes|taking|remains on|d/c)"
    r"\s+([A-Za-z][A-Za-z-]{4,})",
    re.IGNORECASE,
)


class Medication(DrugNamed):
    """Reason codes of its own: `not_a_drug`, a sentence, procedure, device, diet, disease or test; `unknown_drug`, a
    short name that no list has, where such names are not kept; `contradicted_status`, all the chart says of the drug
    rules the given status out; `only_considered`, a thing for later; and for tasks without statuses `allergy`,
    `stopped`, `held`."""

    names = ("medication", "drug")
    task_name = "medication"
    also_called = ("medications", "drugs")
    question_words = r"\b(?:medications?|drugs?|medicines?)\b(?!\s+allerg)"
    not_of_kind = "not_a_drug"
    never_also = NO_DRUGS
    answer_nouns = r"medications?|drugs?"
    insertion = "Start {} 10 mg daily."
    inserted_status = "start"
    flips: ClassVar[Flips] = {
        ("continue", "stop"): (
            (r"continu(e|es|ed|ing)\b", r"discontinu\1"),
            (r"remains on\b", "is no longer on"),
            (r"(is|are) (?:currently |still )?taking\b", r"\1 no longer taking"),
            (r"takes\b", "no longer takes"),
        ),
        ("stop", "continue"): (
            (r"discontinu(e|es|ed|ing)\b", r"continu\1"),
            (r"d/c\b", "continue"),
            (r"stop\b", "continue"),
            (r"stopped\b", "continued"),
        ),
    }

    def key(self, text: str) -> str:
        """Also without dose, route and frequency at the end ("20 mg p.o. daily"), as long as a name is left.

        What makes another drug ("vitamin B12", "insulin 70/30", "cream") stays.
        """
        plain = plain_key(text)
        return _DIRECTIONS.sub("", plain).strip(EDGE) or plain

    def objection(self, text: str, chart: str, lexicon: LexiconUse, keep_unknown: bool) -> Objection | None:
        """By the lexicon, by the words of the name, and for names nobody knows by how the chart uses them."""
        name, known = self.key(text), self.drugs(lexicon)
        by_user = self.listed_by_user(text)
        if not by_user and (what := no_drug(name)) is not None:
            return self._no_drug(what, text, chart)
        listed = by_user or (known is not None and (bool(known.find(text)) or is_shipped(name)))
        if is_sentence(text) and len(text.split()) > (_MAX_SENTENCE if listed else 2 * _MAX_NAME_WORDS):
            return self._no_drug("a sentence", text, chart)
        measured = [_measured(mention) for mention in outline(chart).mentions([_VALUE.sub("", name)])]
        if measured and all(measured):
            return self._no_drug("a laboratory value", text, chart)
        if listed or names_form(text):
            return None
        if is_normal_finding(name):
            return self._no_drug("a negative finding", text, chart)
        if names_class(text):
            return None
        if (what := first_of(_NO_DRUGS, name)) is not None:
            return self._no_drug(what, text, chart)
        if len(name.split()) > _MAX_NAME_WORDS:
            return Objection("not_a_drug", f"{len(name.split())} words, none of them a drug's name, dose or form")
        if not keep_unknown:
            evidence = "no drug of the lexicon, no class and no dosage form"
            return Objection("unknown_drug", evidence, self.span(text, chart))
        if (what := _unlike_a_drug(outline(chart).mentions([text, name]), chart, known)) is not None:
            return self._no_drug(what, text, chart)
        return None

    def _no_drug(self, what: str, text: str, chart: str) -> Objection:
        return Objection("not_a_drug", what, self.span(text, chart))

    def overlooked(self, chart: str, lexicon: LexiconUse) -> Objection | None:
        """A drug of the lexicon that is listed, dosed or started; without one, a drug that is ordered with its dose."""
        known, plan = self.drugs(lexicon), outline(chart)
        for start, end in known.find(chart) if known is not None else ():
            if is_unnamed(chart[start:end]) or no_drug(chart[start:end]) is not None:
                continue  # "antibiotics": a reader may list a class without a name, or not
            mention = plan.mention(start, end)
            said = cues(mention)
            listed = _DRUG_SECTION.search(mention.heading) and not said
            dosed = _DOSE.match(chart[end : end + 12]) and not said
            if listed or dosed or (said and said <= _TAKEN):
                evidence = "the chart has a drug of the lexicon that is listed, dosed or started"
                return Objection("false_none", evidence, (start, end))
        for match in _ORDERED_DOSE.finditer(chart):
            # No lexicon is complete: a name it lacks is a drug where the chart orders it with a dose.
            mention = plan.mention(*match.span("drug"))
            if cues(mention) <= _TAKEN and first_of(_NO_DRUGS, match["drug"]) is None and not _measured(mention):
                return Objection("false_none", "the chart orders a drug with its dose", match.span())
        return None

    def contradiction(self, item: Item, chart: str, statuses: Sequence[str], lexicon: LexiconUse) -> Objection | None:
        """Mentions under its other names count too."""
        found = self._denied(self.all_names(item.text, lexicon), chart, {**ABSENT, "considered": "only_considered"})
        if found is None:
            return None
        said, first, denied = found
        if denied is not None:
            told_off = denied.reason in ("negated", "declined") and item.status == "avoid"
            ordered_off = told_off and any(map(told_not_to_take, outline(chart).mentions([item.text])))
            unsure_allergy = item.status == "avoid" and all("allergy" in one for one in said)
            return None if ordered_off or (denied.reason == "only_considered" and unsure_allergy) else denied
        # Each mention may speak against the item in its own way: stopped in one place, to be avoided in another.
        against = [_alone(one, lambda cue: _speaks_against(cue, item.status, bool(statuses))) for one in said]
        if None in against:
            return None
        ways = list(dict.fromkeys(cue for cue in against if cue is not None))
        evidence = f"{mentions_in_words(len(said))}: {' or '.join(ways)}"
        if not statuses:
            return Objection(ways[0], evidence, first)
        return Objection("contradicted_status", f"{evidence}; listed as {item.status}", first)

    def wrong_details(self, text: str, chart: str, lexicon: LexiconUse) -> list[str]:
        """Also doses that the chart has for another drug, or with another unit.

        A drug that is nowhere told with a dose of its own is judged by the chart's numbers alone.
        """
        if missing := numbers_missing(text, chart):
            return missing
        if any(occurrences(text, chart)):  # "Omnipaque 350" as it stands, whatever dose is told before it
            return []
        known, names = self.drugs(lexicon), self.all_names(text, lexicon)[1:]
        places = [(mention.start, mention.end) for mention in outline(chart).mentions(names)]
        listed = known.find(chart) if known else []
        own = [dose for place in places for dose in doses_of(place, [*listed, *places], chart)]
        if not own:
            return []
        given = [one for one in doses(text) if not one.in_name]
        return [text[one.start : one.end] for one in given if not any(one.same_as(other) for other in own)]

    def cues_of(self, mention: Mention, chart: str) -> frozenset[Cue]:
        """What a parent gives a small child is the child's; who denies problems with a drug does not deny it."""
        said = cues(mention)
        if "negated" in said and denies_trouble(mention.before):
            said -= {"negated"}
        return said - {"family"} if "family" in said and given_by_a_parent(mention, chart) else said

    def weight(self, item: Item, mention: Mention) -> int:
        """By what the words around it say of its status."""
        weight, said = super().weight(item, mention), cues(mention)
        status = item.status or ""
        if item.status is None or not weight:
            return weight if said & set(_NOT_TAKEN) == set() else 1
        if any(status in names for cue, names in _SAYS.items() if cue in said):
            return 3
        return 1 if any(status in _EXCLUDES.get(cue, ()) for cue in said) else weight

    def decided_at(self, item: Item, chart: str, lexicon: LexiconUse) -> Alignment | None:
        """With the item's dose, where it stands right behind the name: "Lasix 40 mg" for furosemide 40 mg."""
        place = super().decided_at(item, chart, lexicon)
        if place is None or not (said := doses(item.text)):
            return place
        behind = chart[place.end : place.end + _NEAR_CHARS]
        first = next(iter(doses(behind)), None)
        if first is None or behind[: first.start].strip(" ,(:-") or not any(one.same_as(first) for one in said):
            return place
        return replace(place, end=place.end + first.end)

    def dosage(self, text: str) -> Dosage | None:
        """A number without a unit is a dose unless it is part of the name ("insulin 70/30")."""
        name = self.match_key(text)
        return dosage_of_item(text, lambda number: number in name)

    def dosage_told(self, place: Span, chart: str, lexicon: LexiconUse) -> Dosage | None:
        """What stands right behind the drug, or its dose right before it."""
        known = known_drugs(lexicon)
        around = chart[place[1] : place[1] + _MAX_DIRECTIONS]
        others = [(place[1] + start, place[1] + end) for start, end in (known.find(around) if known else [])]
        inside = self.dosage(chart[slice(*place)])
        told = dosage_at(place, others, chart)
        return told if inside is None else inside.or_else(told)

    def details_hold(self, text: str, chart: str) -> bool | None:
        """Dose and frequency must stand beside the drug."""
        key = self.key(text)
        return self._numbers_beside(key, plain_key(text)[len(key) :], chart)

    def split(self, text: str) -> list[str]:
        """ "Lasix, 40 mg daily" is one drug."""
        return comma_list(text, names_nothing=lambda part: _DIRECTIONS.fullmatch(f" {part.strip()}") is not None)

    def new_names(self, synthetic: bool, rng: random.Random) -> Sequence[str]:
        """Common drugs; for synthetic charts names nobody knows."""
        return [drug_name(rng, "heldout") for _ in range(20)] if synthetic else _INSERTED

    def _candidates(self, sentence: str, known: Sequence[str]) -> list[Span]:
        """Also drugs of the lexicon, and words that stand before a dose or right behind a verb of prescribing."""
        drugs = self.drugs("auto")
        listed = drugs.find(sentence) if drugs is not None else []
        used = [match.span(1) for pattern in (_BEFORE_A_DOSE, _PRESCRIBED) for match in pattern.finditer(sentence)]
        return [*super()._candidates(sentence, known), *listed, *used]


def _alone(said: frozenset[Cue], counts: Callable[[Cue], bool]) -> Cue | None:
    """The cue that counts and is all that a mention says, but for what goes with it."""
    return next(
        (cue for cue in _EXCLUDES if cue in said and counts(cue) and not said - {cue, *_COMPATIBLE.get(cue, ())}), None
    )


def _speaks_against(cue: Cue, status: str | None, has_statuses: bool) -> bool:
    return status in _EXCLUDES[cue] if has_statuses else cue in _NOT_TAKEN


def _measured(mention: Mention) -> bool:
    """Whether the chart gives a concentration in the blood, or a bare value among laboratory results."""
    if _CONCENTRATION.match(mention.after):
        return True
    among_results = _LAB_SECTION.search(mention.heading) or _RESULT.search(mention.sentence.text)
    return among_results is not None and _BARE_VALUE.match(mention.after) is not None


def _unlike_a_drug(mentions: Sequence[Mention], chart: str, known: Drugs | None) -> str | None:
    """What speaks against an unknown name, from all places where the chart has it; None where one lets it pass."""
    others = [used_like_another_thing(one) for one in mentions]
    left = [one for one, other in zip(mentions, others, strict=True) if not other]
    if mentions and not left:
        return "the chart uses it like a device, a person, a place or a finding, wherever it has it"
    if any(used_like_a_drug(one) or _beside_a_drug(one, known) or _among_drugs(one, chart, known) for one in left):
        return None
    if not left or any(has_a_drug_stem(chart[one.start : one.end]) for one in left):
        return None
    return "an unknown name, and the chart does not use it like a drug"


def _among_drugs(mention: Mention, chart: str, known: Drugs | None) -> bool:
    """Whether the name is an entry of a list, next to an entry that begins with a drug of the lexicon."""
    if known is None or not _ENTRY.fullmatch(mention.told_before) or len(mention.sentence.text.split()) > _ENTRY_WORDS:
        return False
    plan, end = outline(chart), mention.sentence.end
    beside = [plan.sentence_at(max(0, mention.sentence.start - 1)), plan.sentence_at(min(end, len(chart) - 1))]
    entries = [_ENTRY.sub("", one.text, count=1) for one in beside if one.start != mention.sentence.start]
    return any(found[0][0] == 0 for entry in entries if (found := known.find(entry)))


def _beside_a_drug(mention: Mention, known: Drugs | None) -> bool:
    """Whether the name is listed with one of the lexicon: "Lisinopril and X were given"."""
    if known is None:
        return False
    before, after = mention.before, mention.after
    return any(_JOINED.fullmatch(before[end:]) for _, end in known.find(before)) or any(
        _JOINED.fullmatch(after[:start]) for start, _ in known.find(after)
    )
