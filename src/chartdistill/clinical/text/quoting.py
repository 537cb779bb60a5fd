"""A chart in the spellings that an item quoting it may have: as it reads, and as it was typed.

In: a record's text. Out: one text or two. Must hold: every stretch of words of either is found by `grounding.locate`.
"""

from __future__ import annotations

import unicodedata

from chartdistill.clinical.text.normalisation import normalise


def quotable(text: str) -> tuple[str, ...]:
    """The text as it reads (no accents, plain hyphens, broken words whole); then with the characters as typed, if these
    are others."""
    told = normalise(text)
    if told.text == text:
        return (text,)
    typed: list[str] = []
    before = (-1, -1)
    for at, character in enumerate(told.text):
        start, end = told.original_span(at, at + 1)
        if (start, end) == before:  # one character that reads as several: a ligature, a unit sign
            continue
        before = (start, end)
        one = text[start:end]
        if end > start + 1:  # a letter and its accent
            one = unicodedata.normalize("NFC", one)
        typed.append(one if len(one) == 1 and not character.isspace() else character)
    return tuple(dict.fromkeys((told.text, "".join(typed))))
