"""One kind of finding: what it is, where a chart bears it out, and what the words around it say.

A kind of finding is one subclass of :class:`EntityType` in a file of this folder, listed in `entities.ENTITY_TYPES`.
Filters, metrics, audit, interventions and the rule baseline know no kind: they ask the object that `entity_of(task)`
gives them. The class itself is the general kind, for tasks whose `item` no file knows: it judges wording, grounding and
details by what holds for any name, and objects to nothing that needs knowledge of medicine.

Methods are given texts as they read, and may forget how they were filed: see `text.reading`.

Must hold: pure but for the drug lexicon, which is an argument (`LexiconUse`) wherever it is asked; every span points
into the chart as given; a method that cannot tell returns None or (), never a guess.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from chartdistill.clinical.lexica.drugs import Drugs, LexiconUse, known_drugs
from chartdistill.clinical.text.context import Cue, cues, told_as_meant
from chartdistill.clinical.text.dosage import Dosage
from chartdistill.clinical.text.doses import numbers_missing
from chartdistill.clinical.text.free_text import comma_list
from chartdistill.clinical.text.grounding import (
    FUZZY_THRESHOLD,
    Alignment,
    locate,
    locate_alias,
    locate_initials,
    locate_words,
    numbers,
    occurrences,
)
from chartdistill.clinical.text.reading import read_as_normalised
from chartdistill.clinical.text.sections import Mention, outline
from chartdistill.clinical.vocabulary import names_of
from chartdistill.prompting.answer_format import plain_key
from chartdistill.schema import Item, Vocabulary

Span = tuple[int, int]
MOST_OF_ITS_WORDS = 0.75
"""Share of an item's words that must stand together for it to be shown somewhere."""

_NEAR_CHARS = 80
"""A detail stands within so many characters of its name."""
_EXPLANATION = re.compile(r",\s+(?:which|that|who)\b.*$", re.DOTALL)
_EVERY_ITEM = re.compile(
    r"\b(?:repeat|scans?|tests?|stud(?:y|ies)|levels?|patient|further|follow-?up)\b", re.IGNORECASE
)
"""Words that teachers add to what the chart says."""
_TOLD: frozenset[Cue] = frozenset({"started", "continued", "resumed", "changed", "stopped", "held", "paused", "once"})
"""Cues that say what was done, whatever else the sentence weighs."""
ABSENT: Mapping[Cue, str] = {"negated": "negated", "family": "family_member", "declined": "declined"}
"""Cue -> reason code: the item is not the patient's at all."""

STATUS_CUES: Sequence[tuple[str, str]] = (
    ("avoid", r"allerg|avoid|intoleran|hives|must not"),
    ("stop", r"discontinu|stop|d/c|no longer|replaced by"),
    ("hold", r"\bhold|on hold|withh"),
    ("given-once", r"single dose|one dose|given once|\bx1\b"),
    ("past", r"in the past|previous|failed|years ago|prior course|in (?:19|20)\d\d"),
    ("change", r"increas|decreas|reduc|taper|titrat|doubled|\bchange\b"),
    ("start", r"\bstart|begin|initiat|prescri|\brx\b|\badd(?:ed)?\b|a trial of|\btry\b|treat with|switch"),
)
"""Status -> words of its sentence, the first that occurs decides: what the rule baseline reads."""
_EXCLUDED = re.compile(
    r"\b(?:mother|father|sister|brother|aunt|uncle|grand\w+|son|daughter|spouse|family|denies|never|no evidence"
    r"|ruled out|rule out|screening|if|consider|may be|declined|no need)\b",
    re.IGNORECASE,
)
"""Words of sentences that the rule baseline does not read: somebody else's, denied, or for later."""

NOTHING_SAME: Mapping[str, str] = {}

Flips = Mapping[tuple[str, str], Sequence[tuple[str, str]]]
"""(status before, status after) -> patterns of a sentence and what they become; the first that occurs is applied."""


class Objection(NamedTuple):
    """What speaks against an item."""

    reason: str
    """Reason code, as `curate` counts it."""
    evidence: str
    """In words without record text."""
    span: Span | None = None
    """Where in the chart."""


class EntityType:
    """One kind of finding. The attributes are its data; the methods answer what others ask."""

    names: tuple[str, ...] = ()
    """What one item is called, as in `Task.item`, in lower case; the first is its own name. Empty: the general kind."""
    task_name: str = ""
    """What the shipped task about it is called."""
    also_called: tuple[str, ...] = ()
    """Plurals: `Task.item` may be one, and a task of which nothing but the name is known is called so."""
    question_words: str = ""
    """Regular expression of the words a question uses that asks for it (`audit` tells tasks by them); empty: none."""
    answer_nouns: str = ""
    """Regular expression of its nouns in the lead-in of a free answer: "The diagnosis is ..."."""
    own_answer_nouns: str = ""
    """Those that lead in only an answer about it; in others they can be findings: "surgery was for gout"."""
    max_words: int | None = None
    """Longest item in words, where these are longer than most."""
    initials_ground: bool = True
    """Whether a label's item is borne out by its initials ("CAD")."""
    has_other_names: bool = False
    """Whether things of this kind go by several names."""
    has_gist: bool = False
    """Whether items are statements that can be told apart coarsely: see `gist`."""
    sentences_are_items: bool = False
    """Whether a free answer's sentences are items as they stand."""
    not_of_kind: str = "not_of_kind"
    """Reason code of what is of another kind."""
    never_also: frozenset[str] = frozenset()
    """Kinds that a thing of this kind is never of: a user's name of theirs is none of this one."""
    no_reason_to_list: frozenset[Cue] = frozenset({*ABSENT, "considered", "screened", "allergy"})
    """Cues of a mention that gives no reason to list what it names."""
    insertion: str | None = None
    """The sentence that makes an item true, with `{}` for it; None: charts cannot be edited with certainty."""
    inserted_status: str | None = None
    """The status that sentence gives."""
    flips: ClassVar[Flips] = {}
    """How a sentence is turned so that the status must follow."""
    status_cues: Sequence[tuple[str, str]] = STATUS_CUES
    default_status: str = "continue"
    """What the rule baseline says where no cue occurs, if the task has it."""

    def __init__(self, vocabulary: Vocabulary | None = None, item: str = "") -> None:
        """`vocabulary`: the user's, of all kinds; `item`: what a task calls things of the general kind."""
        self._vocabulary = vocabulary
        self.names_by_user = names_of(vocabulary, self.name or item.casefold())
        """What the vocabulary says of this kind; nothing where there is none."""

    def __init_subclass__(cls) -> None:
        read_as_normalised(cls)

    @property
    def name(self) -> str:
        """What it is called; empty for the general kind."""
        return self.names[0] if self.names else ""

    def drugs(self, lexicon: LexiconUse) -> Drugs | None:
        """The drugs of the lexicon as an option asks for it, and the user's: see `lexica.drugs.known_drugs`."""
        return known_drugs(lexicon, names_of(self._vocabulary, "medication"))

    # When are two names the same? Two keys, on purpose: votes, duplicates and filters must not merge what a reader
    # could tell apart; scores must not count another spelling of the same thing as wrong.

    def key(self, text: str) -> str:
        """The key by which two items of one answer, or of several samples, are the same item."""
        return plain_key(text)

    def match_key(self, text: str, same_as: Mapping[str, str] = NOTHING_SAME) -> str:
        """The key of an item in scores; equal keys are the same thing.

        `same_as`: key -> the key that stands for it, for what a person says is the same.
        """
        key = self._match_key(self.canonical(text))
        return same_as.get(key, key)

    def _match_key(self, text: str) -> str:
        return self.key(text)

    def canonical(self, text: str) -> str:
        """The one name that all names of a thing go by where the user's vocabulary says so, else the text itself.

        For `match_key` of every kind: its own rules come after, on what this gives.
        """
        said = next((name for name in (text, self.key(text)) if name in self.names_by_user), None)
        return text if said is None else self.names_by_user.canonical(said)

    def all_names(self, text: str, lexicon: LexiconUse) -> list[str]:
        """An item as it is written, its key, and other names of the same thing."""
        key = self.key(text)
        return [text, key, *(self.names_by_user.group(text) or self.names_by_user.group(key))]

    def same(self, one: str, other: str, same_as: Mapping[str, str] = NOTHING_SAME) -> bool:
        """Whether an emitted item and a gold item match: equal keys, for all kinds whose items are names."""
        return self.match_key(one, same_as) == self.match_key(other, same_as)

    def string_key(self, text: str) -> str:
        """The key that goes by the letters: what scores matched by before there were keys by kind."""
        return self.key(text)

    def gist(self, text: str) -> str | None:
        """What an item says, coarsely, for kinds whose items are statements; None where it cannot be told."""
        return None

    # Where in a chart?

    def locate(
        self,
        text: str,
        chart: str,
        threshold: float = FUZZY_THRESHOLD,
        lexicon: LexiconUse = "off",
        initials: bool = False,
    ) -> Alignment | None:
        """Where an item stands in a chart: its text or its key, then its other names; None when nowhere.

        Args:
            threshold: see `grounding.locate`.
            lexicon: whether other names of the lexicon count.
            initials: whether a name of three words or more is also found by its capital initials ("CAD").
        """
        key = self.key(text)
        found = locate(text, chart, threshold) or locate(key, chart, threshold)
        found = found or self._locate_alias(key, chart, lexicon)
        return found or (locate_initials(key, chart) if initials else None)

    def _locate_alias(self, key: str, chart: str, lexicon: LexiconUse) -> Alignment | None:
        return locate_alias(self.all_names(key, lexicon)[2:], chart)

    def evidence(
        self, text: str, chart: str, threshold: float, lexicon: LexiconUse, word_share: float | None
    ) -> Alignment | None:
        """What in a chart bears an item of a label out, by the rules of the filter `grounding`; None: invented.

        `word_share`: for free text, also where this share of the item's words stand together.
        """
        place = self.locate(text, chart, threshold, lexicon, self.initials_ground)
        if place is None and word_share is not None:
            return locate_words(_EVERY_ITEM.sub(" ", _EXPLANATION.sub("", text)), chart, word_share)
        return place

    def span(self, text: str, chart: str) -> Span | None:
        """Where to point at, when something is said about an item."""
        place = self.locate(text, chart) or locate_words(text, chart, MOST_OF_ITS_WORDS)
        return None if place is None else (place.start, place.end)

    def decided_at(self, item: Item, chart: str, lexicon: LexiconUse) -> Alignment | None:
        """The mention that an item rests on: of those that speak most for it (`weight`), the last one.

        None where nothing bears the item out, as in `evidence`.
        """
        mentions = outline(chart).mentions(self.all_names(item.text, lexicon))
        if not mentions:
            return self.evidence(item.text, chart, FUZZY_THRESHOLD, lexicon, None)
        best = max(mentions, key=lambda mention: (self.weight(item, mention), mention.start))
        own = plain_key(chart[best.start : best.end]) in (plain_key(item.text), self.key(item.text))
        return Alignment(best.start, best.end, "exact" if own else "alias", 100.0)

    def weight(self, item: Item, mention: Mention) -> int:
        """How much a mention speaks for an item: 3 says it, 2 names it, 1 says other things, 0 denies it."""
        said = cues(mention)
        if any(cue in said for cue in ABSENT):
            return 0
        return 1 if said & {"considered", "screened"} else 2

    # How is it taken?

    def dosage(self, text: str) -> Dosage | None:
        """What an item says of how it is taken; None for kinds that nobody takes."""
        return None

    def dosage_told(self, place: Span, chart: str, lexicon: LexiconUse) -> Dosage | None:
        """What a chart says of how the thing at `chart[place]` is taken; None as in `dosage`."""
        return None

    # Is it of this kind, and does the chart agree?

    def objection(self, text: str, chart: str, lexicon: LexiconUse, keep_unknown: bool) -> Objection | None:
        """Why an item that the chart holds is not of this kind; None when nothing speaks against it.

        `keep_unknown`: whether a short name that no list has passes, where the chart uses it like one of this kind.
        """
        return None

    def listed_by_user(self, text: str) -> bool:
        """Whether the vocabulary says that an item is of this kind."""
        return any(name in self.names_by_user for name in (text, self.key(text)))

    def excluded_by_user(self, text: str, chart: str) -> Objection | None:
        """That the vocabulary says an item is not of this kind, or of one that is never this one. Asked first."""
        said = self.names_by_user
        for name in (plain_key(text), self.key(text)):
            other = said.others.get(name)
            if said.excludes(name) or other in self.never_also:
                what = f"is not a {self.name or 'thing of this kind'}" if said.excludes(name) else f"is a {other}"
                return Objection(self.not_of_kind, f"the vocabulary says that it {what}", self.span(text, chart))
        return None

    def overlooked(self, chart: str, lexicon: LexiconUse) -> Objection | None:
        """What makes "none found" unbelievable for a chart; None when it can be believed.

        For every kind: a name of the vocabulary with nothing beside it that speaks against listing it.
        """
        for start, end in self.names_by_user.find(chart):
            name = chart[start:end]
            if cues(outline(chart).mention(start, end)) & self.no_reason_to_list or self.objection(
                name, chart, lexicon, True
            ):
                continue
            if self.contradiction(Item(text=name), chart, (), lexicon) is None:
                return Objection("false_none", "the chart has a name of the vocabulary", (start, end))
        return None

    def contradiction(self, item: Item, chart: str, statuses: Sequence[str], lexicon: LexiconUse) -> Objection | None:
        """What every mention of an item says against it: it is denied, a relative's, stopped ...

        `statuses`: those of the task; empty where its items are taken to be the patient's now.
        """
        return None

    def cues_of(self, mention: Mention, chart: str) -> frozenset[Cue]:
        """What the words around a mention say of it: see `text.context`."""
        return cues(mention)

    def _denied(
        self, names: Sequence[str], chart: str, reasons: Mapping[Cue, str] = ABSENT
    ) -> tuple[list[frozenset[Cue]], Span, Objection | None] | None:
        """(the cues of every mention, the first mention, what they all say); None when a mention is neutral."""
        mentions = outline(chart).mentions(names)
        said = [self.cues_of(mention, chart) for mention in mentions]
        if not said or not all(said):
            return None
        first = (mentions[0].start, mentions[0].end)
        for cue, reason in reasons.items():
            # "His father takes X": what is continued there is the father's.
            settled = _TOLD - {"continued", "resumed"} if cue == "family" else _TOLD
            if all(cue in one and not one & settled for one in said):
                evidence = f"{mentions_in_words(len(said))}: {reason.replace('_', ' ')}"
                return said, first, Objection(reason, evidence, first)
        return said, first, None

    def wrong_details(self, text: str, chart: str, lexicon: LexiconUse) -> list[str]:
        """The numbers of an item that the chart does not bear out, as the item writes them."""
        return numbers_missing(text, chart)

    def details_hold(self, text: str, chart: str) -> bool | None:
        """Whether the details of an item (a dose) stand beside it in the chart; None where there is none to check."""
        return None

    def _numbers_beside(self, name: str, details: str, chart: str) -> bool | None:
        said, places = set(numbers(details)), list(occurrences(name, chart))
        if not said or not places:
            return None
        return any(said <= set(numbers(_beside(chart, start, end))) for start, end in places)

    # How free answers are read, charts edited, and rules applied.

    def split(self, text: str) -> list[str]:
        """The items in a piece of a free answer that is no sentence."""
        return comma_list(text)

    def new_names(self, synthetic: bool, rng: random.Random) -> Sequence[str]:
        """Names of this kind that a chart may not hold yet; made-up ones for synthetic charts."""
        return ()

    def other_name(self, name: str, chart: str, rng: random.Random) -> str | None:
        """Another name of the same thing, to be put in its place; None where none is known."""
        return None

    def read_by_rules(self, sentence: str, known: Sequence[str]) -> list[str]:
        """What the rule baseline finds in a sentence: known names, longest first where they overlap."""
        if _EXCLUDED.search(sentence):
            return []
        spans = [*self._candidates(sentence, known), *self.names_by_user.find(sentence)]
        found = [sentence[start:end] for start, end in longest_apart(spans)]
        return [name for name in found if self.excluded_by_user(name, sentence) is None]

    def _candidates(self, sentence: str, known: Sequence[str]) -> list[Span]:
        return [span for name in known if (span := next(occurrences(name, sentence), None)) is not None]

    def status_by_rules(self, sentence: str, statuses: Sequence[str]) -> str | None:
        """The status that a sentence's words give, or that goes without saying; None where the task has neither."""
        told = told_as_meant(sentence, sentence)
        cued = (name for name, cue in self.status_cues if name in statuses and re.search(cue, told, re.IGNORECASE))
        return next(cued, self.default_status if self.default_status in statuses else None)


read_as_normalised(EntityType)


def longest_apart(spans: Sequence[Span]) -> list[Span]:
    """Spans that do not overlap, in order; of those that do, the longest stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if not any(span[0] < end and start < span[1] for start, end in kept):
            kept.append(span)
    return sorted(kept)


def mentions_in_words(count: int) -> str:
    """`its one mention`, `all of its 3 mentions`."""
    return "its one mention" if count == 1 else f"all of its {count} mentions"


def _beside(text: str, start: int, end: int) -> str:
    """The line a name stands in, at most 80 characters to either side."""
    before = re.split(r"\n", text[max(0, start - _NEAR_CHARS) : start])[-1]
    return before + " " + re.split(r"\n", text[end : end + _NEAR_CHARS])[0]
