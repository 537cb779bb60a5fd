"""Text that nobody held to a format: is it a sentence, and where does a list in it divide?

In: a piece of a free answer. Out: its parts, each a verbatim piece. Must hold: pure; a comma inside a clause makes no
list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_LIST_COMMA = re.compile(r",\s*(?:and\s+|or\s+)?(?!\d)|;\s*|\s+and\s+|\s*&\s*(?=[A-Z]{2,})")
_SERIES = re.compile(r",\s*(?:and\s+)?(?=\D)|;\s*|\s+and\s+(?:also\s+)?(?:an?\s+)?")
_TWO_NAMES = re.compile(r"\s*[A-Za-z-]+\s+and\s+[A-Za-z-]+\W*")
_SENTENCE_VERB = re.compile(
    r"\b(?:is|are|was|were|will|has|have|had|should|may|be|been|were|discussed|recommended|ordered|underwent|continue)\b",
    re.IGNORECASE,
)
LIST_EDGE = " \t\r\n.,;:\"'"
"""What may stand at the ends of a part and is no part of it."""
MAX_LIST_PART_WORDS = 12
"""A comma-separated part with more words is a clause, so the commas around it do not make a list."""


def is_sentence(text: str) -> bool:
    """Whether a text states something: it has a verb form of a chart's sentences and more than four words."""
    return len(text.split()) > 4 and _SENTENCE_VERB.search(text) is not None


def comma_list(
    text: str,
    goes_with_the_last: Callable[[str], bool] = lambda part: False,
    names_nothing: Callable[[str], bool] = lambda part: False,
) -> list[str]:
    """The parts of a list; the whole text when its commas do not make a list.

    `goes_with_the_last`: whether a part that no comma sets off belongs to the one before; `names_nothing`: whether one
    does, comma or not.
    """
    return _parts(text, _LIST_COMMA.finditer(text), goes_with_the_last, names_nothing)


def series(text: str, names_nothing: Callable[[str], bool] = lambda part: False) -> list[str]:
    """The parts of a list of names that hold commas themselves: two parts make no list, three or two words do.

    `names_nothing`: as in `comma_list`.
    """
    is_list = text.count(",") >= 2 or ";" in text or _TWO_NAMES.fullmatch(text)
    return _parts(text, _SERIES.finditer(text) if is_list else (), names_nothing=names_nothing)


def _parts(
    text: str,
    found: Iterable[re.Match[str]],
    goes_with_the_last: Callable[[str], bool] = lambda part: False,
    names_nothing: Callable[[str], bool] = lambda part: False,
) -> list[str]:
    separators = list(found)
    starts = [0, *(match.end() for match in separators)]
    ends = [*(match.start() for match in separators), len(text)]
    spans: list[tuple[int, int]] = []
    for start, end in zip(starts, ends, strict=True):
        part = text[start:end]
        if len(part.split()) > MAX_LIST_PART_WORDS:
            return [text]
        if not part.strip(LIST_EDGE):
            continue
        set_off = spans and "," in text[spans[-1][1] : start]
        if spans and (names_nothing(part) or (goes_with_the_last(part) and not set_off)):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return [text[start:end] for start, end in spans]
