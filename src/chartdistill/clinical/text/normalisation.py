"""A text as a reader takes it, with an offset map back: what may be compared with other texts.

In: text as filed, and the words it is to be compared with. Out: :class:`Normalised`. Undone is what changes a text's
characters and not its words: ligatures, full-width letters and unit signs (Unicode's compatibility forms, UAX #15;
superscripts and fractions stay, since they are other numbers, which a subscript is not), accents of Latin letters
however they are encoded, typographic hyphens and apostrophes, invisible characters (category Cf, among them the soft
hyphen), and a word broken by a hyphen at a line's end.

Must hold: pure; spans map back to whole characters of the text as given; normalising twice changes nothing more; plain
ASCII without a broken word is returned as it is. A hyphen at a line's end can belong to the word ("beta-\\nblocker") or
not ("metopro-\\nlol"): the words it is compared with decide, then the other words of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Set
from dataclasses import dataclass
from functools import lru_cache

_COMPATIBLE = frozenset(
    {"<compat>", "<wide>", "<narrow>", "<noBreak>", "<font>", "<square>", "<initial>", "<final>", "<sub>"}
)
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("\u2010\u2011\ufe63", "-")
    | dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4", "'")
    | {"\u03bc": "\u00b5"}
)
_WHITE = {"Zs": " ", "Zl": "\n", "Zp": "\n"}
_ZERO_WIDTH_SPACE = "\u200b"
_SOFT_HYPHEN = "\u00ad"
_BROKEN = re.compile(
    r"(?<=[^\W\d_])(?P<hyphen>-|\u00ad)(?:[ \t]*\r?\n[ \t]*|(?P<space>[ ]))(?=(?P<right>[^\W\d_]{1,60}))"
)
_LETTERS_AT_END = re.compile(r"[^\W\d_]+$")
_MAX_WORD = 60
_HYPHENATED = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)+|[^\W\d_]+")
_MIN_HALF = 4
"""Letters that half of a broken word must have to count as a word of its own."""
_FREE_PREFIXES = frozenset(
    "alpha anti beta calcium co cross ex follow full gamma half high long low mid multi non off on over post pre proton"
    " self semi short sub super under up well".split()
)
"""What keeps its hyphen where nothing else tells: non-tender, beta-blocker, follow-up."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """`text`, as it reads."""

    text: str
    _starts: tuple[int, ...] | None = None
    _ends: tuple[int, ...] | None = None
    """Of each character of `text`, where what it was made of begins and ends in the original; None: the same."""

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` stands in the original, in whole characters."""
        if self._starts is None or self._ends is None:
            return start, end
        first = self._starts[start] if start < len(self._starts) else (self._ends or (0,))[-1]
        return first, max(first, self._ends[end - 1] if end > start else first)


def normalise(text: str, compared_with: str = "") -> Normalised:
    """A text as it reads. `compared_with`: the words it is compared with, which say how broken words are joined."""
    found = _characters(text)
    joins = _joins(found.text, compared_with) if _has_broken_words(found.text) else []
    found = _without(found, joins) if joins else found
    if _SOFT_HYPHEN not in found.text:
        return found
    # What is left breaks no word, or belongs to it and is a hyphen.
    whole = re.sub(f"{_SOFT_HYPHEN}(?=[^\\W\\d_])", "-", found.text)
    return _without_soft_hyphens(Normalised(whole, found._starts, found._ends))


@lru_cache(maxsize=32)
def _characters(text: str) -> Normalised:
    """The text with each character as it reads; soft hyphens that break a word at a line's end stay, for `_joins`."""
    if text.isascii():
        return Normalised(text)
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for at, char in enumerate(text):
        for one in char if char.isascii() else _read(char, text, at):
            combining = unicodedata.combining(one) != 0
            if combining and parts and (plain := _composed(parts[-1], one)) is not None:
                parts[-1], ends[-1] = plain, at + 1
                continue
            parts.append(one)
            starts.append(at)
            ends.append(at + 1)
    read = "".join(parts)
    found = Normalised(text) if read == text else Normalised(read, tuple(starts), tuple(ends))
    if _SOFT_HYPHEN not in read:
        return found
    return _without_soft_hyphens(found, {match.start() for match in _BROKEN.finditer(read)})


@lru_cache(maxsize=32)
def _has_broken_words(text: str) -> bool:
    return _BROKEN.search(text) is not None


def _composed(base: str, mark: str) -> str | None:
    """A letter and a combining mark as one: without the mark for Latin letters; None where they do not combine."""
    if base.isascii():
        return base if base.isalpha() else None
    joined = unicodedata.normalize("NFC", base + mark)
    return joined if len(joined) == 1 else None


def _read(char: str, text: str, at: int) -> str:
    """What one character that is not ASCII reads as."""
    if char == _SOFT_HYPHEN and _ends_line(text, at + 1):
        return char
    if char == _ZERO_WIDTH_SPACE and not (_letter(text, at - 1) and _letter(text, at + 1)):
        return " "  # it divides words in scripts without spaces; inside a word it is left over from a web page
    if char == "\u2013" and _letter(text, at - 1) and _letter(text, at + 1):
        return "-"  # inside a word, which word processors make of its hyphen: no range, no dash of a sentence
    if (category := unicodedata.category(char)) in _WHITE:
        return _WHITE[category]
    if category == "Cf" or "\ufe00" <= char <= "\ufe0f":
        return ""
    char = char.translate(_TYPOGRAPHY)
    parts = unicodedata.decomposition(char).split()
    if parts and parts[0] in _COMPATIBLE:
        whole = unicodedata.normalize("NFKC", char)
        return "".join(map(_plain, whole.translate(_TYPOGRAPHY))) if whole.strip() == whole else char
    return _plain(char)


def _plain(char: str) -> str:
    """A Latin letter without its accent; any other character as Unicode composes it."""
    letters = unicodedata.normalize("NFD", char)
    return letters[0] if letters[0].isascii() and letters[0].isalpha() else unicodedata.normalize("NFC", char)


def _letter(text: str, at: int) -> bool:
    return 0 <= at < len(text) and text[at].isalpha()


def _ends_line(text: str, at: int) -> bool:
    return re.compile(r"[ \t]*\r?\n").match(text, at) is not None


def _joins(text: str, compared_with: str) -> list[tuple[int, int]]:
    """What to take out of a text so that its broken words are whole: a hyphen and line break, or the break alone."""
    wanted = _words(compared_with)
    parts = frozenset(part for word in wanted for part in word.split("-"))
    others: set[str] | None = None
    cuts: list[tuple[int, int]] = []
    for match in _BROKEN.finditer(text):
        before = _LETTERS_AT_END.search(text[max(0, match.start() - _MAX_WORD) : match.start()])
        left, right = before.group() if before else "", match["right"]
        if left[-1:].islower() and right[0].isupper():
            continue  # an entry and the next one
        if others is None:
            others = {word.casefold() for word in _HYPHENATED.findall(text)}
        joined = _is_one_word(left.casefold(), right.casefold(), match, wanted, parts, others)
        if joined is not None:
            cuts.append((match.start() + (not joined), match.end()))
    return cuts


@lru_cache(maxsize=32)
def _words(text: str) -> frozenset[str]:
    """Of a text as it reads."""
    return frozenset(word.casefold() for word in _HYPHENATED.findall(normalise(text).text))


def _is_one_word(
    left: str, right: str, match: re.Match[str], wanted: Set[str], parts: Set[str], others: Set[str]
) -> bool | None:
    """True: the hyphen only breaks the word; False: it belongs to it; None: these are two words. `parts`: of the words
    `wanted`, between their hyphens."""
    if left + right in wanted:
        return True
    if f"{left}-{right}" in wanted or any(len(half) >= _MIN_HALF and half in parts for half in (left, right)):
        return None if match["space"] else False
    if match["space"]:  # "pre- and postoperative": only the words it is compared with can tell
        return None
    if match["hyphen"] != "-" or left + right in others:
        return True
    return not (f"{left}-{right}" in others or left in _FREE_PREFIXES or len(left) == 1)


def _without_soft_hyphens(found: Normalised, but: Collection[int] = ()) -> Normalised:
    """They are unseen; those at the places `but` stay."""
    places = (match.span() for match in re.finditer(_SOFT_HYPHEN, found.text))
    return _without(found, [place for place in places if place[0] not in but])


def _without(found: Normalised, cuts: list[tuple[int, int]]) -> Normalised:
    kept = [at for start, end in zip([0, *(e for _, e in cuts)], [*(s for s, _ in cuts), len(found.text)], strict=True)
            for at in range(start, end)]  # fmt: skip
    spans = [found.original_span(at, at + 1) for at in kept]
    return Normalised(
        "".join(found.text[at] for at in kept), tuple(start for start, _ in spans), tuple(end for _, end in spans)
    )
