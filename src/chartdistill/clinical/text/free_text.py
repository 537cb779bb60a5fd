"""Free-form answers -> items: what an API version's teacher wrote before there was an answer format.

In: a completion ("The diagnosis is ...", "1. A\\n2. B", "A, B and C", whole sentences) and its task. Out:
:class:`FreeAnswer`. Must hold: never raises; every item is a verbatim piece of the completion; nothing is left out
but lead-ins, list marks and separators.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chartdistill.clinical.text.phrases import names_test
from chartdistill.prompting.answer_format import says_none
from chartdistill.schema import Item, Task

_WHAT = (
    r"(?:(?:primary|final|main|working|likely|overall|discharge|postoperative|follow-?\s?up|medical|current)\s+)*"
    r"(?:diagnos[ie]s|prognos[ie]s|medications?|drugs?|tests?|labs?)(?:\(s\))?"
)
_LEAD_IN = re.compile(
    rf"^(?:(?:the|this|a|his|her|their)\s+)?(?:patient'?s\s+)?{_WHAT}"
    r"(?:\s+(?:given|prescribed|ordered|listed|recommended|stated|for\s+(?:the|this)\s+patient))*"
    r"(?:\s+(?:is|are|was|were|includes?|included)(?:\s+(?:that|as\s+follows))?\s*:?|\s*:)\s+",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"^(?:that\s+)?(?:the|this)\s+patient\s+(?:also\s+)?(?:has|had|suffers\s+from|is\s+(?:experiencing|diagnosed\s+with)"
    r"|was\s+(?:diagnosed\s+with|prescribed|given|started\s+on)|(?:will|should)\s+(?:have|undergo|need))\s+",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"^(?:none|nothing|no(?:t)?\b)[^.]{0,40}\b(?:specified|found|listed|given|prescribed|ordered|stated|mentioned|made|noted"
    r"|provided|documented)\b[^.]{0,40}\.?$|^there\s+(?:is|are|was|were)\s+no\s+"
    rf"{_WHAT}[^.]{{0,60}}\.?$",
    re.IGNORECASE,
)
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)](?=\s|[A-Za-z]))\s*")
_INLINE_MARK = re.compile(r"(?:^|[,;.]?\s+)\(?\d{1,2}[.)]\s+(?=[A-Z])")
_SENTENCE = re.compile(r"(?<=[a-z)][.!?])\s+(?=[A-Z])")
_LIST_COMMA = re.compile(r",\s*(?:and\s+|or\s+)?(?!\d)|;\s*|\s+and\s+|\s*&\s*(?=[A-Z]{2,})")
_SERIES = re.compile(r",\s*(?:and\s+)?(?=\D)|;\s*|\s+and\s+(?:also\s+)?(?:an?\s+)?")
_TWO_NAMES = re.compile(r"\s*[A-Za-z-]+\s+and\s+[A-Za-z-]+\W*")
_SENTENCE_VERB = re.compile(
    r"\b(?:is|are|was|were|will|has|have|had|should|may|be|been|were|discussed|recommended|ordered|underwent|continue)\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:an?|the|and|or)\s+", re.IGNORECASE)
_COUNT = re.compile(r"^#\s?\d+\s+")
_EDGE = " \t\r\n.,;:\"'"
MAX_LIST_PART_WORDS = 12
"""A comma-separated part with more words is a clause, so the commas around it do not make a list."""


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
    text = completion.strip()
    if not text or says_none(text, task) or _DENIED.fullmatch(text):
        return FreeAnswer((), text, False)
    pieces: list[str] = []
    prose = False
    for line in _lines(text):
        for sentence in _SENTENCE.split(line):
            bare = _without_lead_in(sentence, task)
            is_prose = is_sentence(bare)
            prose = prose or is_prose or is_sentence(sentence)
            pieces += [bare] if is_prose or task.item == "prognosis" else _parts(bare, task)
    items: list[Item] = []
    for piece in pieces:
        shown = _COUNT.sub("", _ARTICLE.sub("", piece.strip(_EDGE))).strip(_EDGE)
        if any(char.isalnum() for char in shown) and not (says_none(shown, task) and len(pieces) > 1):
            item = Item(text=shown)
            if item not in items:
                items.append(item)
    return FreeAnswer(tuple(items), pieces[-1] if pieces else text, prose)


def is_sentence(text: str) -> bool:
    """Whether a text states something: it has a verb form of a chart's sentences and more than four words."""
    return len(text.split()) > 4 and _SENTENCE_VERB.search(text) is not None


def _lines(text: str) -> list[str]:
    lines = [_LIST_MARK.sub("", line) for line in text.split("\n")]
    if len(lines) == 1 and len(_INLINE_MARK.findall(text)) > 1:
        lines = _INLINE_MARK.split(text)
    return [line for line in lines if line.strip()]


def _without_lead_in(sentence: str, task: Task) -> str:
    """ "The diagnosis is that the patient has X" -> "X"; a prognosis keeps its subject, which carries its verb."""
    if task.item == "prognosis":
        return sentence
    return _SUBJECT.sub("", _LEAD_IN.sub("", sentence, count=1), count=1)


def _parts(text: str, task: Task) -> list[str]:
    """The parts of a list; the whole text when its commas do not make a list."""
    if task.item == "diagnosis":
        # "Infected foreign body, right naris" is one diagnosis: two parts make no list.
        is_list = text.count(",") >= 2 or ";" in text or _TWO_NAMES.fullmatch(text)
        separators = list(_SERIES.finditer(text)) if is_list else []
    else:
        separators = list(_LIST_COMMA.finditer(text))
    starts = [0, *(match.end() for match in separators)]
    ends = [*(match.start() for match in separators), len(text)]
    spans: list[tuple[int, int]] = []
    for start, end in zip(starts, ends, strict=True):
        part = text[start:end]
        if len(part.split()) > MAX_LIST_PART_WORDS:
            return [text]
        if not part.strip(_EDGE):
            continue
        # "CT of the neck" and "chest" are one test.
        if task.item == "test" and spans and not names_test(part) and "," not in text[spans[-1][1] : start]:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return [text[start:end] for start, end in spans]
