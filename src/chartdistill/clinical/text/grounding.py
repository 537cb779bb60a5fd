"""Where words stand in a record: the same, similar, or in another order.

In: an item's text, a record's text. Out: an `Alignment` with character offsets into the record's text as
given; both are compared as they read (`normalisation.py`). Must hold: pure functions, no state, offsets always on word
boundaries, `None` when the item is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from rapidfuzz import fuzz, process
from rapidfuzz.distance import Levenshtein

from chartdistill.clinical.text.normalisation import Normalised, normalise
from chartdistill.prompting.answer_format import EDGE

FUZZY_THRESHOLD = 90.0
"""Smallest similarity of a window of whole words (0 to 100, `rapidfuzz.fuzz.ratio`) that counts as the item."""

MAX_FUZZY_WORDS = 60
"""Longer items are located exactly or not at all: they are runaway answers, and comparing them takes seconds."""

MAX_TURNED_WORDS = 8
"""Longer names are statements, which are not looked for with their parts in another order."""

_OF = re.compile(r"\s+(?:of|in)\s+(?:(?:the|his|her|their|an?)\s+)?", re.IGNORECASE)
_JOINED = (
    r"s?(?:\s+(?:scans?|films?|stud(?:y|ies)|imaging|series|views?))?\s+(?:of|in|for)\s+"
    r"(?:(?:the|his|her|their|an?|both)\s+)?"
)
_MIN_INITIALS = 3
_CLEAR = frozenset({"ua"})
"""Second names of two letters that mean nothing else in a chart."""
_MIN_WORD = 4
_SAME_BEGINNING = 0.7
_NON = re.compile(r"\bnon[-\u2010\u2011]$")
_NO_INITIALS = frozenset("of the a an and with in on to for".split())
_LITTLE = frozenset("a an the of in within on at to for and with is was her his their its".split())
_SPACE = str.maketrans(dict.fromkeys("\t\r\n\v\f\u00a0", " "))
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where an item stands in a record: `text[start:end]`."""

    start: int
    end: int
    how: Literal["exact", "alias", "fuzzy", "words"]
    """The same words; another name or the initials; similar words; the same words in another order."""
    score: float
    """Similarity, 0 to 100; 100 for exact and alias. For `words`, the share of the item's words that are there."""


def locate(item_text: str, record_text: str, threshold: float = FUZZY_THRESHOLD) -> Alignment | None:
    """Where `item_text` stands in `record_text`, or None.

    First the same whole words (any case, any white space); then, for items of at most MAX_FUZZY_WORDS, the most
    similar window of whole words, if its similarity is at least `threshold` (0 to 100; above 100 turns this step
    off). A window must hold the same numbers as the item, and each word may differ by one letter only (below the
    default threshold, of several words any): "5 mg" is not "50 mg", prednisone not prednisolone,
    systolic not diastolic.
    """
    told = normalise(record_text, item_text)
    item, record = _name(item_text, record_text), _fold(told.text)
    for start, end in _occurrences(item, record):
        return Alignment(*told.original_span(start, end), "exact", 100.0)
    return _placed(_locate_fuzzy(item, record, threshold), told) if item and threshold <= 100 else None


def locate_alias(names: Iterable[str], record_text: str) -> Alignment | None:
    """Where the first of several other names of a thing stands in a record, as whole words; None when none does."""
    for name in names:
        for start, end in occurrences(name, record_text):
            return Alignment(start, end, "alias", 100.0)
    return None


def locate_initials(name: str, record_text: str) -> Alignment | None:
    """Where the capital initials of a name of three words or more stand ("CAD"); None for fewer, and when nowhere."""
    if len(initials := _initials(name)) >= _MIN_INITIALS:
        for start, end in _occurrences(initials, record_text):
            return Alignment(start, end, "alias", 100.0)
    return None


def locate_second_name(names: Iterable[str], record_text: str) -> Alignment | None:
    """Where one of the second names of a thing stands, also in another spelling ("x-ray"); None when none does.

    One of two letters means too much ("PE", "US"), one of three counts in capitals alone ("SOB", "LFTs").
    """
    for name in names:
        found = None
        if " " in name:
            found = locate_alias([name.replace(" ", "-")], record_text) or locate(name, record_text)
        elif len(name) > _MIN_INITIALS or (len(name) == _MIN_INITIALS and not name.isalpha()):  # "A1c"
            found = locate_alias([name], record_text)
        elif len(name) == _MIN_INITIALS or name in _CLEAR:
            spelled = (name.upper(), f"{name.upper()}s")
            places = (place for one in spelled for place in _occurrences(one, record_text))
            found = next((Alignment(*place, "alias", 100.0) for place in places), None)
        if found is not None:
            return replace(found, how="alias", score=100.0)
    return None


def locate_turned(name: str, record_text: str) -> Alignment | None:
    """Where a name stands with its parts joined by "of": "MRI of the left knee" for "left knee MRI", "CT scan of the
    abdomen" for "CT abdomen", "urine for culture" for "urine culture"; None when nowhere, and of more than
    MAX_TURNED_WORDS words.
    """
    words = [word for word in _OF.sub(" ", name).split() if word.strip(",.;")]
    if not 2 <= len(words) <= MAX_TURNED_WORDS:
        return None
    for cut in range(1, len(words)):
        first, last = (r"\s+".join(map(re.escape, part)) for part in (words[:cut], words[cut:]))
        joined = "|".join(f"{one}{_JOINED}{other}" for one, other in ((last, first), (first, last)))
        if found := re.search(rf"(?<!\w)(?:{joined})(?!\w)", record_text, re.IGNORECASE):
            return Alignment(*found.span(), "words", 100.0)
    return None


def locate_words(text: str, record_text: str, share: float) -> Alignment | None:
    """The stretch of `record_text` that holds the words of a statement, in any order; None below `share` (0 to 1).

    For free text, which says what a chart says in other words. Words of fewer than four letters do not count; two
    words are the same when they share a beginning of 70% of the longer one ("dizzy", "dizziness"). A stretch is twice
    as long as the statement.
    """
    told = normalise(record_text, text)
    statement = _fold(normalise(text, record_text).text)
    wanted = list(dict.fromkeys(word for word in _WORD.findall(statement) if len(word) >= _MIN_WORD))
    if not wanted:
        return None
    words = [(match.group(), *match.span()) for match in _WORD.finditer(_fold(told.text))]
    same = {word: {known for known in wanted if _same_word(word, known)} for word, _, _ in words}
    size = 2 * len(_WORD.findall(statement)) + 2
    places = [index for index, (word, _, _) in enumerate(words) if same[word]]
    best: Alignment | None = None
    for first in places:
        inside = [index for index in places if first <= index < first + size]
        score = len(set().union(*(same[words[index][0]] for index in inside))) / len(wanted)
        if score >= share and (best is None or 100 * score > best.score):
            best = Alignment(words[first][1], words[inside[-1]][2], "words", 100 * score)
    return _placed(best, told)


def occurrences(name: str, text: str) -> Iterator[tuple[int, int]]:
    """Every place where `name` stands in `text` as whole words, in any case and any white space."""
    told = normalise(text, name)
    return (told.original_span(*span) for span in _occurrences(_name(name, text), _fold(told.text)))


def numbers(text: str) -> list[str]:
    """The numbers of a text, in order, as written."""
    return _NUMBER.findall(text)


def _name(text: str, record_text: str) -> str:
    """What is looked for: folded, without white space and marks around it."""
    return " ".join(_fold(normalise(text, record_text).text).strip(EDGE).split())


def _placed(found: Alignment | None, told: Normalised) -> Alignment | None:
    """An alignment in the text as it reads, put into the original."""
    if found is None:
        return None
    start, end = told.original_span(found.start, found.end)
    return replace(found, start=start, end=end)


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
        if numbers(window) != numbers(item) or _NON.search(record, max(0, spans[index][0] - 5), spans[index][0]):
            continue
        if (size == 1 or threshold >= FUZZY_THRESHOLD) and not _same_but_for_slips(item, window):
            continue
        best = Alignment(*spans[index], "fuzzy", float(score))
    return best


def _same_but_for_slips(one: str, other: str) -> bool:
    """Whether two phrases are one, word by word, but for a letter in a word, and for little words or white space.

    The opposite of a word is two letters away or more: likely and unlikely, systolic and diastolic.
    """
    words, others = ([word for word in _WORD.findall(text) if word not in _LITTLE] for text in (one, other))
    if len(words) != len(others):
        return Levenshtein.distance("".join(words), "".join(others), score_cutoff=1) <= 1
    return all(Levenshtein.distance(*pair, score_cutoff=1) <= 1 for pair in zip(words, others, strict=True))


def _occurrences(name: str, text: str) -> Iterator[tuple[int, int]]:
    """As `occurrences`, for a name and a text that are already folded."""
    if " " in name and "  " in text:
        for match in _any_space(name).finditer(text):
            if _is_whole(text, *match.span()):
                yield match.span()
        return
    at = text.find(name) if name else -1
    while at >= 0:
        if _is_whole(text, at, at + len(name)):
            yield at, at + len(name)
        at = text.find(name, at + 1)


@lru_cache(maxsize=4096)
def _any_space(name: str) -> re.Pattern[str]:
    """The words of a name, with one space or more between them."""
    return re.compile(" +".join(map(re.escape, name.split(" "))))


def _same_word(one: str, other: str) -> bool:
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return shared >= _MIN_WORD and shared >= _SAME_BEGINNING * max(len(one), len(other))


def _initials(text: str) -> str:
    """ "coronary artery disease" -> "CAD"."""
    return "".join(word[0] for word in _WORD.findall(text) if word not in _NO_INITIALS).upper()


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` does not cut a word at either end, nor what "non-" stands before."""
    cuts_left = start > 0 and _is_word(text[start - 1]) and _is_word(text[start])
    cuts_left = cuts_left or _NON.search(text, max(0, start - 5), start) is not None
    cuts_right = end < len(text) and _is_word(text[end]) and _is_word(text[end - 1])
    return not cuts_left and not cuts_right


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


@lru_cache(maxsize=512)
def _fold(text: str) -> str:
    """Lower case and plain spaces, character by character, so that offsets stay those of `text`.

    The last texts are remembered: a chart is searched for each name of each item.
    """
    lowered = text.lower()
    if len(lowered) != len(text):  # "İ" becomes two characters in lower case
        lowered = "".join(low if len(low := character.lower()) == 1 else character for character in text)
    return lowered.translate(_SPACE).replace("\u03c2", "\u03c3")  # the last sigma of a word is a sigma
