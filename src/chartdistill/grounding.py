"""Items as text: the key two items are compared by, and where an item stands in a record.

In: an item's text, a record's text. Out: a key, or an `Alignment` with character offsets into the record's text as
given. Must hold: pure functions, no state, offsets always on word boundaries, `None` when the item is not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rapidfuzz import fuzz, process
from rapidfuzz.distance import Levenshtein

from chartdistill.schema import Item, Task

FUZZY_THRESHOLD = 90.0
"""Smallest similarity of a window of whole words (0 to 100, `rapidfuzz.fuzz.ratio`) that counts as the item."""

MAX_FUZZY_WORDS = 60
"""Longer items are located exactly or not at all: they are runaway answers, and comparing them takes seconds."""

DRUG_ITEMS = frozenset({"medication", "drug"})
"""`Task.item` of the tasks whose items are drugs: dose, route and frequency at the end do not name the drug."""

_EDGE = " \t\r\n.,;:!?'\"`“”‘’"
_SPACE = str.maketrans(dict.fromkeys("\t\r\n\v\f\u00a0", " "))
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DIRECTIONS = re.compile(
    r"""(?:[\s,;(]{1,3}(?:
        \d[\d.,/-]{0,11}\s?(?:mg|mcg|µg|ug|g|gm|grams?|meq|ml|cc|units?|iu|%|percent|tab(?:let)?s?|cap(?:sule)?s?|puffs?)
            (?:/\w+)?
        | tab(?:let)?s? | cap(?:sule)?s? | puffs?
        | p\.?o | by\s+mouth | oral(?:ly)? | i\.?v | intravenous(?:ly)? | i\.?m
        | s\.?[cq] | sub-?q | subcutaneous(?:ly)?
        | once | twice | three\s+times | \d+\s+times | (?:an?|per|each)\s+(?:day|week|month) | daily | weekly | monthly
        | nightly | every\s+(?:other\s+)?(?:\d+\s+)?(?:hours?|days?|weeks?|morning|evening|night)
        | at\s+(?:bedtime|night)
        | q\.?\s?\d+\s?h(?:ours?)? | [qbt]\.?i\.?d | q\.?d | q\.?h\.?s | q\.?a\.?m | q\.?p\.?m
        | p\.?r\.?n | as\s+needed | for\s+\d+\s+(?:days|weeks|months)
    )[.)]{0,2}){1,12}$""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where an item stands in a record: `text[start:end]`."""

    start: int
    end: int
    how: Literal["exact", "fuzzy"]
    score: float
    """Similarity, 0 to 100; 100 for exact."""


def plain_key(text: str) -> str:
    """An item's text without case, repeated space, and punctuation at its ends."""
    return " ".join(text.casefold().split()).strip(_EDGE)


def item_key(text: str, task: Task) -> str:
    """The key by which two items of a task are the same item.

    `plain_key`; for tasks about drugs also without dose, route and frequency at the end ("20 mg p.o. daily"), as long
    as a name is left. What makes another drug ("vitamin B12", "insulin 70/30", "cream") stays.
    """
    key = plain_key(text)
    if task.item.casefold() not in DRUG_ITEMS:
        return key
    return _DIRECTIONS.sub("", key).strip(_EDGE) or key


def locate(item_text: str, record_text: str, threshold: float = FUZZY_THRESHOLD) -> Alignment | None:
    """Where `item_text` stands in `record_text`, or None.

    First the same whole words (any case, any white space); then, for items of at most MAX_FUZZY_WORDS, the most
    similar window of whole words, if its similarity is at least `threshold` (0 to 100; above 100 turns this step
    off). A window must hold the same numbers as the item, and a single word may differ by one letter only: "5 mg" is
    not "50 mg", prednisone not prednisolone.
    """
    item, record = _fold(item_text).strip(_EDGE), _fold(record_text)
    item = " ".join(item.split())
    if not item:
        return None
    at = record.find(item)
    while at >= 0:
        if _is_whole(record, at, at + len(item)):
            return Alignment(at, at + len(item), "exact", 100.0)
        at = record.find(item, at + 1)
    return _locate_fuzzy(item, record, threshold) if threshold <= 100 else None


def locate_item(item: Item, record_text: str, task: Task, threshold: float = FUZZY_THRESHOLD) -> Alignment | None:
    """Where an item of `task` stands in a record: its text, or else its key (the drug without the dose)."""
    return locate(item.text, record_text, threshold) or locate(item_key(item.text, task), record_text, threshold)


def numbers(text: str) -> list[str]:
    """The numbers of a text, in order, as written."""
    return _NUMBER.findall(text)


def _locate_fuzzy(item: str, record: str, threshold: float) -> Alignment | None:
    size = len(_WORD.findall(item))
    if size > MAX_FUZZY_WORDS:
        return None
    words = [match.span() for match in _WORD.finditer(record)]
    spans = [
        (words[first][0], words[first + length - 1][1])
        for length in range(max(1, size - 1), size + 2)
        for first in range(len(words) - length + 1)
    ]
    windows = [record[start:end] for start, end in spans]
    best: Alignment | None = None
    for window, score, index in process.extract_iter(item, windows, scorer=fuzz.ratio, score_cutoff=threshold):
        if best is not None and score <= best.score:
            continue
        if numbers(window) != numbers(item) or (size == 1 and Levenshtein.distance(item, window, score_cutoff=1) > 1):
            continue
        best = Alignment(*spans[index], "fuzzy", float(score))
    return best


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` does not cut a word at either end."""
    cuts_left = start > 0 and _is_word(text[start - 1]) and _is_word(text[start])
    cuts_right = end < len(text) and _is_word(text[end]) and _is_word(text[end - 1])
    return not cuts_left and not cuts_right


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _fold(text: str) -> str:
    """Lower case and plain spaces, character by character, so that offsets stay those of `text`."""
    lowered = text.lower()
    if len(lowered) != len(text):  # "İ" becomes two characters in lower case
        lowered = "".join(low if len(low := character.lower()) == 1 else character for character in text)
    return lowered.translate(_SPACE)
