"""When do two forecasts say the same? By their content words, and by what they foretell.

In: two statements. Out: whether they match, or the class of one. Must hold: pure; both rules were fixed from reasoning
before any figure was computed with them.

`say_the_same`: content words are those that forecasts do not all share ("the patient's overall prognosis is", "expected
to", "very" go), by stem; each is affirmed or denied. Two statements match when the Dice coefficient of their content
words, 2 * shared / (words of one + words of the other), is at least `forecasts.SUPPORT_SHARE`, the share by which a
forecast already counts as borne out by a chart's sentence, and nothing speaks against it: no word that one affirms and
the other denies, no two opposites (recover, die; good, poor), not two sets of numbers, of spans of time or of units of
time, not a time that is at most so long and one that is at least so long.

`foretold`: the first of these that a statement has: a rating (good, fair, guarded, poor, uncertain), also by outcome
("will recover" is good, "not expected to recover" poor); a risk (high, low or of no degree); a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from chartdistill.clinical.text.forecasts import SUPPORT_SHARE

Word = tuple[str, bool]
"""(stem, or axis of opposites with `:`; whether it is affirmed)."""

_SHARED_BY_ALL = frozenset(
    """the a an his her their its patient patients he she they it this that these overall prognosis outlook expected
    expect expects expectation anticipated anticipate anticipates likely probably will would should shall may
    can could is are was were be been being to of in on at with and or for from by as has have had do does
    very quite extremely fairly relatively rather most more remain remains appear appears seem seems
    considered felt thought think believed going continue continues i we s about within over next some
    somewhat currently also then eventually ultimately certainly course condition long-term term him them make
    made""".split()
)
_RATINGS = {
    "good": "good excellent favorable favourable bright great hopeful positive satisfactory",
    "fair": "fair reasonable moderate",
    "guarded": "guarded",
    "poor": "poor grave dismal bleak bad terminal unfavorable unfavourable grim hopeless",
    "uncertain": "uncertain unknown unclear unpredictable",
}
_RATED = {word: rating for rating, words in _RATINGS.items() for word in words.split()}
_OPPOSITES = (
    ("good excellent favorable favourable bright positive hopeful", "poor grave dismal bleak bad terminal unfavorable"
     " unfavourable grim hopeless"),
    ("recover recovery improve improvement resolve resolution heal survive survival better cure curable remission well",
     "die death deteriorate deterioration worsen worse decline progress progression relapse recur recurrence incurable"
     " fail failure poorly"),
    ("high increased elevated significant substantial", "low decreased minimal small slight negligible"),
    ("temporary transient reversible", "permanent irreversible lifelong"),
    ("full complete fully completely", "partial incomplete partially incompletely"),
    ("short early soon rapid quick rapidly quickly", "prolonged late slow slowly"),
    ("able independent", "unable dependent disabled"),
    ("certain", "uncertain"),
    ("left", "right"),
)  # fmt: skip
_SIDES = {
    word: (f":{axis}", side == 0)
    for axis, pair in enumerate(_OPPOSITES)
    for side, words in enumerate(pair)
    for word in words.split()
}
_OUTCOMES = ":1"
"""The axis of how it ends."""
_NEGATOR = frozenset("not no never without unlikely doubtful neither nor little unable".split())
_WHOLE_CLAUSE = frozenset({"unlikely", "doubtful"})
"""These deny what stands before them, too: "recovery is unlikely"."""
_NOT_WHAT = frozenset(
    "expected anticipated likely probable foreseen thought felt believed possible certain guaranteed".split()
)
"""Behind "not" these make it one of them: "recovery is not expected"."""
_CLAUSE_END = re.compile(
    r"[.;:,]|\bbut\b|\bhowever\b|\bthough\b|\balthough\b|\bwhile\b|\band\s+(?=(?:will|is|are|should|may|has|the|his|her)\b)"
)
_CONTRACTIONS = (
    (re.compile(r"\bwon['\u2019]?t\b"), "will not"),
    (re.compile(r"\bcan['\u2019]?t\b|\bcannot\b"), "can not"),
    (re.compile(r"(?<=[a-z])n['\u2019]t\b"), " not"),
)
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), 1)
}
_TIME = re.compile(r"\b(?:(\d{1,9})(?:\s*(?:-|\u2013|to|or)\s*(\d{1,9}))?)\s*[-\s]?(hour|day|week|month|year)s?\b")
_DAYS = {"day": ("day", 1), "week": ("day", 7), "month": ("month", 1), "year": ("month", 12), "hour": ("hour", 1)}
_ANY_TIME = re.compile(
    r"\b(?:hours?|days?|weeks?|months?|years?|life\s+expectancy|lifetime|permanent\w*|lifelong|span\w+)\b"
)
_UNITS = re.compile(r"\b(hour|day|week|month|year)s?\b")
_BEFORE_TIME = r"\s*(?:an?\s+)?(?=\d|span|hour|day|week|month|year)"
_BOUND = {
    "at most": re.compile(
        r"(?:\b(?:(?<!no )(?<!not )(?:less|fewer|shorter) than|(?:no|not) (?:more|longer) than|under|up to"
        r"|at (?:the )?most)|<)" + _BEFORE_TIME
    ),
    "at least": re.compile(
        r"(?:\b(?:(?<!no )(?<!not )(?:more|longer|greater) than|(?:no|not) (?:less|fewer) than|beyond"
        r"|at (?:the )?least)|>)" + _BEFORE_TIME
    ),
}
"""Of a time or a number."""
_RISK = re.compile(r"\b(?:risk|chances?|likelihood|probability|odds|complications?|recurrence|relapse)\b")
_LOW = re.compile(r"\b(?:low|small|minimal|negligible|slight|little|no|decreased|unlikely|not)\b")
_HIGH = re.compile(r"\b(?:high|higher|great|significant|increased|elevated|substantial|considerable)\b")
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_SUFFIXES = ("ements", "ement", "ments", "ment", "ingly", "ings", "ing", "edly", "ed", "ies", "es", "s", "ly", "y", "e")
_LEAST_STEM = 4


def say_the_same(one: str, other: str) -> bool:
    """Whether two forecasts match by their content words; see the head of this file."""
    first, second = content(one), content(other)
    if not first or not second or _opposed(first, second) or _other_time(one, other):
        return False
    words, others = ({word for word in side if not word[0].startswith(":")} for side in (first, second))
    return 2 * len(words & others) >= SUPPORT_SHARE * (len(words) + len(others)) and bool(words & others)


def content_key(text: str) -> str:
    """The content words of a forecast in a fixed order, the denied ones marked; the empty string where it has none."""
    words = (f"{'' if affirmed else 'not '}{stem}" for stem, affirmed in content(text) if not stem.startswith(":"))
    key = " ".join(sorted(words))
    return key and " ".join([key, *(f"<{bound}>" for bound in _bounds(text))])


@lru_cache(maxsize=1 << 14)
def content(text: str) -> frozenset[Word]:
    """The content words of a forecast, and for words with an opposite their axis."""
    found: set[Word] = set()
    for word, affirmed in (each for clause in _clauses(text) for each in clause):
        if word in _SHARED_BY_ALL or word in _NEGATOR:
            continue
        found.add((_stem(word), affirmed))
        axis, side = _side(word)
        if axis:
            found.add((axis, side is affirmed))
    return frozenset(found)


@lru_cache(maxsize=1 << 14)
def foretold(text: str) -> str | None:
    """What a forecast foretells: good, fair, guarded, poor, uncertain, high risk, low risk, risk, time; None where it
    says none of them."""
    words = [found for clause in _clauses(text) for found in clause]
    ratings = [_turned(_RATED[word], affirmed) for word, affirmed in words if word in _RATED]
    if ratings:
        return ratings[0]
    outcomes = [side is affirmed for word, affirmed in words for axis, side in [_side(word)] if axis == _OUTCOMES]
    folded = _folded(text)
    if _RISK.search(folded):
        degree = "low" if _LOW.search(folded) else "high" if _HIGH.search(folded) else ""
        if any(_side(word) == (_OUTCOMES, True) for word, _ in words):  # a chance of recovery
            return "poor" if degree == "low" else "good"
        return f"{degree} risk".strip()
    if outcomes:
        return "good" if outcomes[0] else "poor"
    return "time" if _ANY_TIME.search(folded) else None


def _turned(rating: str, affirmed: bool) -> str:
    return rating if affirmed else {"good": "poor", "poor": "good"}.get(rating, rating)


def _side(word: str) -> tuple[str, bool]:
    """(axis of opposites, on which side) of a word or its stem; an empty axis where it has none."""
    return _SIDES.get(word) or _SIDES_BY_STEM.get(_stem(word)) or ("", True)


@lru_cache(maxsize=1 << 12)
def _folded(text: str) -> str:
    """Lower case, contractions and numbers written out, each span of time as one word: "span14to14day"."""
    folded = text.casefold()
    for pattern, full in _CONTRACTIONS:
        folded = pattern.sub(full, folded)
    folded = re.sub(r"[^\W\d_]+", lambda match: _NUMBER_WORDS.get(match[0], match[0]), folded)
    return " ".join(_TIME.sub(_span, folded).split())


def _span(match: re.Match[str]) -> str:
    unit, factor = _DAYS[match[3]]
    return f"span{factor * int(match[1])}to{factor * int(match[2] or match[1])}{unit}"


def _clauses(text: str) -> Iterator[list[tuple[str, bool]]]:
    """The words of each clause, with whether they are affirmed."""
    for clause in _CLAUSE_END.split(_folded(text)):
        words = _WORD.findall(clause)
        yield list(zip(words, _affirmed(words), strict=True))


def _affirmed(words: list[str]) -> list[bool]:
    """A negator denies what stands behind it in its clause; "unlikely" and "not expected" deny the whole clause."""
    denied = [0] * len(words)
    for place, word in enumerate(words):
        if word not in _NEGATOR:
            continue
        rest = [other for other in words[place + 1 :] if not other.endswith("ly") or other in _NOT_WHAT]
        whole = word in _WHOLE_CLAUSE or not rest or (word == "not" and rest[0] in _NOT_WHAT)
        for other in range(0 if whole else place + 1, len(words)):
            denied[other] += 1
    return [times % 2 == 0 for times in denied]


def _opposed(one: frozenset[Word], other: frozenset[Word]) -> bool:
    """Whether one affirms what the other denies, and does not also say it as the other does."""
    for word in {word for word, _ in one} & {word for word, _ in other}:
        said, answered = ({affirmed for name, affirmed in side if name == word} for side in (one, other))
        if not said & answered:
            return True
    return False


def _other_time(one: str, other: str) -> bool:
    """Whether both have spans of time, or other numbers, units or bounds, and not the same."""
    spans = [sorted(re.findall(r"\bspan\w+", _folded(text))) for text in (one, other)]
    counts = [sorted(re.findall(r"\b\d+", _folded(text))) for text in (one, other)]
    units = [sorted(set(_UNITS.findall(_folded(text)))) for text in (one, other)]
    bounds = [_bounds(text) for text in (one, other)]
    return any(all(pair) and pair[0] != pair[1] for pair in (spans, counts, units, bounds))


def _bounds(text: str) -> list[str]:
    return [name for name, pattern in _BOUND.items() if pattern.search(_folded(text))]


def _stem(word: str) -> str:
    """A word without its ending, as long as four letters are left: recovery, recovering -> recover."""
    if word.startswith("span"):
        return word
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _LEAST_STEM:
            return word[: -len(suffix)]
    return word[:-1] if len(word) == _LEAST_STEM and word.endswith("s") else word


_SIDES_BY_STEM = {_stem(word): found for word, found in _SIDES.items()}
