"""A text's sentences and list entries, as spans without gaps.

A span ends at a line break, or after `.`, `!`, `?` or `;` before white space, unless the full stop belongs to an
abbreviation, a list number or an initial. What is cut too finely leaves part of a sentence standing, what is cut too
coarsely takes a neighbour along; both only make an edit larger or leave it out, since every edit is checked.
"""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.!?;])\s+|\n+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|st|vs|no|approx|e\.g|i\.e|etc|p\.o|i\.v|i\.m|s\.c|q\.d|q\.h\.s|b\.i\.d|t\.i\.d|q\.i\.d"
    r"|p\.r\.n|a\.m|p\.m|[a-z]|\d{1,2})\.$",
    re.IGNORECASE,
)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence or list entry, white space after it included; together they are the text."""
    spans, start = [], 0
    for match in _END.finditer(text):
        broken = "\n" in match.group()
        if not broken and _ABBREVIATION.search(text[start : match.start()]):
            continue
        spans.append((start, match.end()))
        start = match.end()
    return [*spans, (start, len(text))] if start < len(text) else spans


def without(text: str, spans: list[tuple[int, int]]) -> str:
    """The text without these spans; where a line's last sentence goes, its line break stays."""
    parts, place = [], 0
    for start, end in spans:
        parts.append(text[place:start])
        if "\n" in text[start:end] and parts and not "".join(parts).endswith("\n"):
            parts.append("\n")
        place = end
    return "".join([*parts, text[place:]]).rstrip() + ("\n" if text.endswith("\n") else "")
