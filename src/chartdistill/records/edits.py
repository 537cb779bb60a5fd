"""Edits of a text that keep a map to where its characters stood in the file."""

from __future__ import annotations

from collections.abc import Sequence

Segment = tuple[int, int, int]
"""(start in the edited text, start in the original, length in characters): a part taken over verbatim."""
Edit = tuple[int, int, str]
"""Replace [start, end) of the text by a string."""


def apply_edits(text: str, segments: Sequence[Segment], edits: Sequence[Edit]) -> tuple[str, tuple[Segment, ...]]:
    """Apply ordered, disjoint edits; the segments of the result still point into the first original."""
    pieces: list[str] = []
    kept: list[Segment] = []
    length = position = index = 0
    for start, end, replacement in (*edits, (len(text), len(text), "")):
        while index < len(segments) and segments[index][0] < start:
            text_start, original_start, run = segments[index]
            low, high = max(text_start, position), min(text_start + run, start)
            if low < high:
                kept.append((length + low - position, original_start + low - text_start, high - low))
            if text_start + run > start:
                break
            index += 1
        pieces += (text[position:start], replacement)
        length += start - position + len(replacement)
        position = end
    return "".join(pieces), tuple(kept)
