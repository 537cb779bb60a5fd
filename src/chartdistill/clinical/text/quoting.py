"""A chart in the spellings that an item quoting it may have: as it reads, and as it was typed.

In: a record's text. Out: one text or two. Must hold: every stretch of words of either is found by `grounding.locate`.
"""

from __future__ import annotations

import unicodedata
from itertools import groupby

from chartdistill.clinical.text.normalisation import normalise


def quotable(text: str) -> tuple[str, ...]:
    """The text as it reads (no accents, plain hyphens, broken words whole); then with the characters as typed, if these
    are others."""
    told = normalise(text)
    if told.text == text:
        return (text,)
    typed = []
    spans = [told.original_span(at, at + 1) for at in range(len(told.text))]
    for start, places in groupby(range(len(spans)), key=lambda at: spans[at][0]):
        which = list(places)  # several where one character reads as such: a ligature, a unit sign
        read, one = told.text[which[0] : which[-1] + 1], text[start : spans[which[-1]][1]]
        if len(one) > 1:  # a letter and its accent
            one = unicodedata.normalize("NFC", one)
        # A sign that is no letter ends a word; what it reads as may not: "5mg".
        as_typed = len(one) == 1 and not read.isspace() and (len(read) == 1 or one.isalnum())
        typed.append(one if as_typed else read)
    return tuple(dict.fromkeys((told.text, "".join(typed))))
