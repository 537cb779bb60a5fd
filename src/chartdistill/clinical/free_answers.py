"""Free-form answers -> items: what an API version's teacher wrote before there was an answer format.

In: a completion ("The diagnosis is ...", "1. A\\n2. B", "A, B and C", whole sentences) and its task. Out:
:class:`FreeAnswer`. Must hold: never raises; every item is a piece of the completion, verbatim but for line breaks;
nothing is left out but lead-ins, list marks and separators.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from chartdistill.clinical.entities import ENTITY_TYPES, EntityType, entity_of
from chartdistill.clinical.text.free_text import LIST_EDGE, is_sentence
from chartdistill.clinical.text.normalisation import normalise
from chartdistill.prompting.answer_format import says_none
from chartdistill.schema import Item, Task

_KINDS_OF = (
    r"(?:(?:primary|final|main|working|likely|overall|discharge|postoperative|follow-?\s?up|medical|current)\s+)*"
)
_NOUNS = "|".join(one.answer_nouns for one in ENTITY_TYPES if one.answer_nouns)
_SUBJECT = re.compile(
    r"^(?:that\s+)?(?:the|this)\s+patient\s+(?:also\s+)?(?:has|had|suffers\s+from|is\s+(?:experiencing|diagnosed\s+with|allergic\s+to)|underwent"
    r"|was\s+(?:diagnosed\s+with|prescribed|given|started\s+on)|(?:will|should)\s+(?:have|undergo|need))\s+",
    re.IGNORECASE,
)
_NO = re.compile(r"\b(?:none|nothing|no|not|cannot|without|unable|lacks?)\b|n['’]t\b", re.IGNORECASE)
_WORD_OF_NONE = re.compile(
    r"""(?:i|we|there|it|the|this|that|any|an?|of|in|at|on|for|from|to|and|or|by|as|with|within|has|have|had|is|are|was
        |were|be|been|do|does|did|can|could|will|would|currently|yet|now|also|able
        |chart|record|report|notes?|text|document|documentation|visit|encounter|summary|patient|he|she|they|time|here
        |above|below|provided|given|current|present|known|new|specific|particular|further|other|prior|previous|ever|explicit(?:ly)?
        |clear(?:ly)?|based|according|upon|specifically|active|regular|home|medical|prescription|drug|therapy|treatments?|information
        |see|find|found|identify|identified|mention(?:s|ed|ing)?|states?|stated|stating|lists?|listed|contains?|contained
        |includes?|included|shows?|shown|documented|reported|reports?|ordered|orders?|prescribed|noted|recorded
        |describe[sd]?|specify|specifies|specified|provide|made|planned|performed|done|taken|tak(?:e|es|ing)|us(?:e|es|ing)
        |receiv(?:e|es|ing)|appears?|indicated?|recommended|available)""",
    re.VERBOSE | re.IGNORECASE,
)
"""Words of an answer that names nothing: only ones that can stand for no finding."""
_LINE_END = re.compile(r"(?<![a-z][-\u00ad])\n|\n(?![a-z])")
"""Not one that breaks a word: "metopro-" and "lol" are one item."""
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)](?=\s|[A-Za-z]))\s*")
_INLINE_MARK = re.compile(r"(?:^|[,;.]?\s+)\(?\d{1,2}[.)]\s+(?=[A-Z])")
_COUNTED = re.compile(r"(?:^|(?<=\s))\(?(\d{1,2})[.)]\s+(?=[A-Za-z])")
_NUMBERED = re.compile(r"(?:^|[,;.]?\s+)\(?\d{1,2}[.)]\s+(?=[A-Za-z])")
"""Where the numbers of a line count up from 1, what follows them may be in lower case."""
_SENTENCE = re.compile(r"(?<=[a-z)][.!?])\s+(?=[A-Z])")
_ARTICLE = re.compile(r"^(?:an?|the|and|or)\s+", re.IGNORECASE)
_EDGE = LIST_EDGE + "*"
"""And the marks of emphasis: "**Aspirin**"."""
_COUNT = re.compile(r"^#\s?\d+\s+")


@dataclass(frozen=True, slots=True)
class _Words:
    """What the nouns of a kind make readable."""

    noun: re.Pattern[str]
    lead_in: re.Pattern[str]
    denied: re.Pattern[str]
    heading: re.Pattern[str]


@cache
def _words_of(kind: EntityType) -> _Words:
    nouns = "|".join(filter(None, (_NOUNS, kind.own_answer_nouns)))
    what = rf"{_KINDS_OF}(?:{nouns})(?:\(s\))?"
    lead_in = (
        rf"^(?:(?:the|this|a|his|her|their)\s+)?(?:patient'?s\s+)?{what}"
        r"(?:\s+(?:given|prescribed|ordered|listed|recommended|stated|for\s+(?:the|this)\s+patient))*"
        r"(?:\s+(?:is|are|was|were|includes?|included)(?:\s+(?:that|as\s+follows))?\s*:?|\s*:)\s+"
    )
    denied = (
        r"^(?:none|nothing|no(?:t)?\b)[^.]{0,40}\b(?:specified|found|listed|given|prescribed|ordered|stated|mentioned|made"
        r"|noted|provided|documented)\b[^.]{0,40}\.?$|^there\s+(?:is|are|was|were)\s+no\s+"
        rf"{what}[^.]{{0,60}}\.?$"
    )
    heading = rf"\W*(?:(?:the|this|his|her|their)\s+)?(?:patient'?s\s+)?{what}\s*:\W*"
    return _Words(*(re.compile(one, re.IGNORECASE) for one in (nouns, lead_in, denied, heading)))


@dataclass(frozen=True, slots=True)
class FreeAnswer:
    """What a free-form completion says."""

    items: tuple[Item, ...]
    """() for an answer of "none" in any words."""
    last: str
    """The completion's last piece as written: what a cut would have cut."""
    prose: bool
    """Whether the completion is made of sentences."""


def parse_free_answer(completion: str, task: Task) -> FreeAnswer:
    """Split a completion into items. Sentences stay whole for a prognosis; lists are split for all other tasks."""
    text, kind = completion.strip(), entity_of(task)
    read = normalise(text).text
    if not text or says_none(read, task) or _words_of(kind).denied.fullmatch(read) or _names_nothing(read, kind):
        return FreeAnswer((), text, False)
    pieces: list[str] = []
    prose = False
    lines = _lines(text)
    listed = [line for line in lines if not _words_of(kind).heading.fullmatch(line)]  # "MEDICATIONS:" above its list
    for line in listed or lines:
        for sentence in _SENTENCE.split(line):
            # A sentence that is an item keeps its subject, which carries its verb.
            bare = sentence if kind.sentences_are_items else _without_lead_in(sentence, kind)
            is_prose = is_sentence(bare)
            prose = prose or is_prose or is_sentence(sentence)
            pieces += [bare] if is_prose else kind.split(bare)
    items: list[Item] = []
    for piece in pieces:
        shown = _COUNT.sub("", _ARTICLE.sub("", piece.strip(_EDGE))).strip(_EDGE)
        if any(char.isalnum() or char == "_" for char in shown) and not (
            says_none(shown, task) and len(pieces) + len(lines) - len(listed) > 1
        ):
            item = Item(text=shown)
            if item not in items:
                items.append(item)
    return FreeAnswer(tuple(items), pieces[-1] if pieces else text, prose)


def _names_nothing(text: str, kind: EntityType) -> bool:
    """Whether an answer denies something, and has no word that could be a finding: "The chart lists no drugs." """
    words = re.findall(r"[^\W\d_]+", _NO.sub(" ", text))
    return _NO.search(text) is not None and all(
        _WORD_OF_NONE.fullmatch(word) or _words_of(kind).noun.fullmatch(word) for word in words
    )


def _lines(text: str) -> list[str]:
    lines = [_LIST_MARK.sub("", line.replace("\n", " ")) for line in _LINE_END.split(text)]
    if len(lines) == 1:
        counted = [int(match[1]) for match in _COUNTED.finditer(text)]
        if len(counted) > 1 and counted == list(range(1, len(counted) + 1)):
            lines = _NUMBERED.split(text)
        elif len(_INLINE_MARK.findall(text)) > 1:
            lines = _INLINE_MARK.split(text)
    return [line for line in lines if line.strip()]


def _without_lead_in(sentence: str, kind: EntityType) -> str:
    """ "The diagnosis is that the patient has X" -> "X"."""
    return _SUBJECT.sub("", _words_of(kind).lead_in.sub("", sentence, count=1), count=1)
