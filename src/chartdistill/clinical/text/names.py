"""Names of a list inside a text: the longest at each place, none overlapping.

In: a text and what says whether a stretch of it is a name. Out: character spans, in order. Must hold: pure; a text is
looked through once, however long the list is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_WORD = re.compile(r"[^\W_]+(?:[-'/][^\W_]+)*")


def find_names(
    text: str, is_name: Callable[[int, int], bool], starts: frozenset[str], most_words: int
) -> list[tuple[int, int]]:
    """Spans of whole words that are names.

    `is_name(start, end)` is asked of stretches of up to `most_words` words that begin as one of the names does
    (`starts_of`), or as its plural.
    """
    words = [match.span() for match in _WORD.finditer(text)]
    spans, index = [], 0
    while index < len(words):
        first = text[slice(*words[index])].casefold()
        if first not in starts and first[:-1] not in starts:
            index += 1
            continue
        for size in range(min(most_words, len(words) - index), 0, -1):
            start, end = words[index][0], words[index + size - 1][1]
            if is_name(start, end):
                spans.append((start, end))
                index += size - 1
                break
        index += 1
    return spans


def starts_of(names: Iterable[str]) -> frozenset[str]:
    """What the first word of a name in a text can be: each name, and each part of one up to the end of a word."""
    ends = re.compile(r"(?<=[^\W_])(?![^\W_])")
    return frozenset(name[: end.start()] for name in names for end in ends.finditer(name))


def words_in(name: str) -> int:
    """How many words of a text a name covers."""
    return len(_WORD.findall(name))


def from_word_to_word(name: str) -> str:
    """A name without what stands before its first and behind its last word: "drug (new)" is found as "drug (new"."""
    words = [match.span() for match in _WORD.finditer(name)]
    return name[words[0][0] : words[-1][1]] if words else ""
