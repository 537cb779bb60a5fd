"""Where the spans of a tool stand in a text: offsets are counted in several ways, and only one of them is right.

Counted are characters (Python, brat), UTF-16 code units (JavaScript: a sign beyond U+FFFF is two), bytes of UTF-8, and
line ends as one or as two (a text that was CRLF when it was annotated and is LF now, or the other way round), both at
once, a byte order mark or none, and what a reader sees as one sign (doccano's grapheme mode: a letter with its accent,
an emoji of several). Where the tool
wrote the marked text beside the offsets it decides which count is right; where it did not, a count is right that cuts
no words where plain characters cut several; where they cut one, which of the two is right cannot be told, and the span
is none. What then still does not match is told, never moved by search: a span found elsewhere may be another mention.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from chartdistill.clinical.text.normalisation import normalise
from chartdistill.records.annotations.answer import Span
from chartdistill.records.cleaning import Cleaned, clean
from chartdistill.records.edits import Segment

BYTE_ORDER_MARK = "\ufeff"
"""Before a text it is a character for some tools (brat), and nothing for others."""
_LEAST_CUT = 2
"""Words that plain characters must cut before another count is believed without text beside it."""

_LINE_END = re.compile(r"[-\u00ad\u2010\u2011\ufe63\uff0d][ \t]*\r?\n")
"""Where a word may be broken."""
_CUTS = frozenset({"boilerplate", "nan", "keyword_tail"})
"""What cleaning cuts off a text's end."""

Pieces: TypeAlias = tuple[tuple[int, int], ...]
"""Offsets of a span; several where it is discontinuous."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Spans in a text."""

    texts: tuple[str | None, ...]
    """Of each span, what stands at its offsets, on one line; None where that is not what the tool wrote beside them,
    where it is nothing, or where the text ends before."""
    counted: str
    """What the offsets count."""
    pieces: tuple[Pieces, ...]
    """Of each span, its pieces in the text, those as one that only white space parts; empty where it has no place."""

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Of each span, first and last character in the text; (0, 0) where it has none."""
        return tuple(map(extent, self.pieces))


def place_spans(text: str, spans: Sequence[Span]) -> Placed:
    """The spans by the count of offsets that fits them best."""
    best, best_fit = _placed(text, spans, "characters", None), (0, 0)
    best_fit = _fit(text, spans, best)
    if best_fit == (0, 0):
        return best
    for counted, starts in _other_counts(text):
        other = _placed(text, spans, counted, starts)
        fit = _fit(text, spans, other)
        told = any(span.said is not None for span in spans)
        if fit[0] < best_fit[0] or (not told and fit == (0, 0) and best_fit[1] >= _LEAST_CUT):
            best, best_fit = other, fit
        elif not told and fit == (0, 0) and best_fit[0] == 0 and best_fit[1]:
            best = _without_cut(text, best)
    return best


def _without_cut(text: str, placed: Placed) -> Placed:
    """The same, with nothing where a span cuts a word."""
    whole = zip(placed.texts, placed.places, strict=True)
    return replace(placed, texts=tuple(None if cuts_word(text, *place) else said for said, place in whole))


def extent(pieces: Pieces) -> tuple[int, int]:
    """First and last character of a span; (0, 0) where it has no place."""
    return min((a for a, _ in pieces), default=0), max((b for _, b in pieces), default=0)


def lies_within(inner: Pieces, outer: Pieces) -> bool:
    """Whether a span is part of another one. What stands in the gap of a discontinuous one is no part of it: of "left
    and right knee", marked as "left ... knee" and "right knee", both count."""
    return inner != outer and all(any(a <= c and d <= b for a, b in outer) for c, d in inner)


def as_read(text: str, cleaned: Cleaned, pieces: Pieces) -> str | None:
    """What a span says in the chart as a record has it: no tag within a name, no reference for a sign, no control
    character, and a word that is broken at a line's end is whole. None where cleaning cut all of it off the end."""
    parts = []
    for start, end in _kept(pieces, cleaned):
        begin = bisect_right(cleaned.segments, start, key=_end_in_file)
        inside = cleaned.segments[begin : bisect_left(cleaned.segments, end, key=_start_in_file)]
        if inside and inside[0][1] <= start and end <= inside[-1][1] + inside[-1][2]:
            first, last = inside[0], inside[-1]
            parts.append(cleaned.text[first[0] + start - first[1] : last[0] + end - last[1]])
        else:  # it begins or ends with what was replaced
            parts.append(clean(text[start:end]).text)
    return " ".join(_on_one_line(part, cleaned.text) for part in parts) if parts else None


def _kept(pieces: Pieces, cleaned: Cleaned) -> Pieces:
    """The pieces without what cleaning cut off the text's end."""
    if not cleaned.segments or _CUTS.isdisjoint(cleaned.removed):
        return pieces
    start, _, length = cleaned.segments[-1]
    if start + length < len(cleaned.text):  # it ends with a sign that stands for another, whose place is not known
        return pieces
    end_kept = _end_in_file(cleaned.segments[-1])
    return tuple((start, min(end, end_kept)) for start, end in pieces if start < end_kept)


def _start_in_file(segment: Segment) -> int:
    return segment[1]


def _end_in_file(segment: Segment) -> int:
    return segment[1] + segment[2]


def _on_one_line(part: str, chart: str) -> str:
    """A stretch of a chart with its white space as single spaces, and its broken words as the chart reads."""
    return one_line(normalise(part, compared_with=chart).text if _LINE_END.search(part) else part)


def one_line(text: str) -> str:
    """Text with its white space as single spaces."""
    return " ".join(text.split())


def cuts_word(text: str, start: int, end: int) -> bool:
    """Whether a span begins or ends within a word."""
    begins = 0 < start < len(text) and text[start - 1].isalnum() and text[start].isalnum()
    return begins or (0 < end < len(text) and text[end - 1].isalnum() and text[end].isalnum())


def _placed(text: str, spans: Sequence[Span], counted: str, starts: dict[int, int] | None) -> Placed:
    texts: list[str | None] = []
    in_text: list[Pieces] = []
    for span in spans:
        pieces = [(_at(start, starts), _at(end, starts)) for start, end in span.pieces]
        found = [(a, b) for a, b in pieces if a is not None and b is not None and 0 <= a < b <= len(text)]
        whole = len(found) == len(pieces) and bool(pieces)
        joined = _joined(found, text) if whole else ()
        piece_by_piece = one_line(" ".join(text[a:b] for a, b in found))  # as tools write pieces that touch or overlap
        marked = one_line(" ".join(text[a:b] for a, b in joined))
        fits = marked and (span.said is None or _same(marked, span.said) or _same(piece_by_piece, span.said))
        texts.append(marked if fits else None)
        in_text.append(joined)
    return Placed(tuple(texts), counted, tuple(in_text))


def _joined(found: Sequence[tuple[int, int]], text: str) -> Pieces:
    """Pieces in order, those that stand beside each other as one: brat parts a span at the end of each line."""
    pieces: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if pieces and not text[pieces[-1][1] : start].strip():
            pieces[-1] = (pieces[-1][0], max(end, pieces[-1][1]))
        else:
            pieces.append((start, end))
    return tuple(pieces)


def _same(marked: str, said: str) -> bool:
    # Between the pieces of a discontinuous span tools put a space, an ellipsis or nothing.
    return marked == one_line(said) or "".join(marked.split()) == "".join(said.replace("...", " ").split())


def _at(offset: int, starts: dict[int, int] | None) -> int | None:
    return offset if starts is None else starts.get(offset)


def _fit(text: str, spans: Sequence[Span], placed: Placed) -> tuple[int, int]:
    """(spans that are not there, spans that cut a word): less is better."""
    missing = sum(one is None for one in placed.texts)
    cut = sum(cuts_word(text, *place) for place in placed.places)
    return missing, cut if all(span.said is None for span in spans) else 0


def _other_counts(text: str) -> Iterator[tuple[str, dict[int, int]]]:
    """Other counts that differ in this text, each as offset -> character: of signs, of line ends, and of both, since a
    file may have been converted that was counted in another unit."""
    signs: list[tuple[str, bool, Callable[[int, str], int]]] = [
        ("characters", True, lambda at, char: 1),
        ("UTF-16 code units", any(char > "\uffff" for char in text), lambda at, char: 2 if char > "\uffff" else 1),
        (
            "signs as a reader sees them",
            any(_goes_on(text, at) for at in range(len(text))),
            lambda at, char: 0 if _goes_on(text, at + 1) else 1,
        ),
        ("bytes of UTF-8", not text.isascii(), lambda at, char: len(char.encode("utf-8", "surrogatepass"))),
    ]
    ends: list[tuple[str, bool, Callable[[int, str], int]]] = [
        ("", True, lambda at, char: 0),
        (", CRLF as two, where the text has LF", "\n" in text, lambda at, char: int(char == "\n")),
        (", CRLF as one", "\r\n" in text, lambda at, char: -int(char == "\r" and text.startswith("\n", at + 1))),
        (", without the byte order mark", text.startswith(BYTE_ORDER_MARK), lambda at, char: -3 if at == 0 else 0),
    ]
    one_by_one = [(0, end) for end in range(1, len(ends))] + [(sign, 0) for sign in range(1, len(signs))]
    both = [(sign, end) for sign in range(1, len(signs)) for end in range(1, len(ends))]
    for sign, end in one_by_one + both:
        (name, signs_differ, size), (also, ends_differ, more) = signs[sign], ends[end]
        if signs_differ and ends_differ:
            starts: dict[int, int] = {}
            offset = 0
            for at, char in enumerate(text):
                starts.setdefault(offset, at)
                offset += max(0, size(at, char) + more(at, char))
            starts.setdefault(offset, len(text))
            yield name + also, starts


def _goes_on(text: str, at: int) -> bool:
    """Whether a character is part of the sign before it: the common cases of Unicode's grapheme clusters (UAX #29)."""
    if not 0 < at < len(text):
        return False
    char, before = text[at], text[at - 1]
    if char.isascii():
        return before == "\r" and char == "\n"
    return (
        unicodedata.category(char) in ("Mn", "Me")
        or "\u200d" in (char, before)
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
    )
