"""The answers whose items are words of one chart: which text may follow what has been written.

In: a chart in the spellings its words may be given, and the statuses of a task. Out: `Line` states, one character at a
time. Must hold: pure Python, no library; what is admitted is `None found` alone, or lines `item` (or `item | status`)
where each item is a stretch of the chart from a word's beginning to a word's end, in any case, with one space for any
white space, and none says "none"; from every state that is given an answer can be ended.

No item stands twice in an answer: lines that repeat one are taken off (`without_repeats`), and the third of them is the
last line. To forbid them instead would make a model that has no more to say write something else: the same name with
the next words of the chart.

A stretch never begins or ends inside a number ("5 mg" is not in "2.5 mg"), nor behind "non-". It may begin with an
opening mark and end with closing ones that touch it: "(PA)", "50%", "b.i.d.". The chart's own `|` ends a stretch.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from chartdistill.prompting.answer_format import FIELD_SEPARATOR, NONE_FOUND, plain_key, says_none_of
from chartdistill.schema import Task

GRAMMAR_VERSION = 5
"""Raised with every change of what is admitted: answers that are stored are then asked for again."""

BARRIER = "\0"
"""Ends every stretch: between spellings, for the chart's `|`, and for what no item holds."""

MOST_REFUSED = 20
"""Word ends of stretches with one beginning that say "none" ("no", "no known", "no known drugs in this chart"), and
more: nine words around what there is none of, the name of a task's item."""

MOST_REPEATS = 3
"""Lines that repeat an item, after which an answer must end."""

_BARRED = re.compile("[|\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
_UNIT = re.compile(r"(?:(?<![\w.])\.(?=\d))?\w+(?:(?<=\d)[.,/](?=\d)\w+)*")
"""A word, or a number with all its digits: 2.5, .5, 1,000, 70/30."""
_OPENING = re.compile(r"(?<![^\s\x00])[(\[#<>\u2264\u2265~](?=\w|\.\d)")
_CLOSING = re.compile(r"[)\]%+*\u00b0\u2122\u00ae]*(?:\.(?!\w))?")
_OTHER_SIGNS = "\u03bc"
"""Letters that are read as a sign (micro), which has no upper case."""
_NON = re.compile(r"\bnon[-\u2010\u2011]$")


def fold(text: str) -> str:
    """Each character in lower case, where that is one character of the same script; so offsets stay."""
    return text.lower() if text.isascii() else "".join(map(_fold_one, text))


@lru_cache(maxsize=1 << 14)
def _fold_one(character: str) -> str:
    low = character.lower()
    if len(low) != 1 or (low.isascii() and not character.isascii()) or low in _OTHER_SIGNS:
        return character
    return "\u03c3" if low == "\u03c2" else low  # Greek has two forms of one letter


@dataclass(frozen=True)
class SpanGrammar:
    """The answers about one chart that quote it."""

    texts: tuple[str, ...]
    """The chart, in each spelling that an item may be given."""
    statuses: tuple[str, ...]
    names: tuple[str, str]
    """The task's `item` and `name`, which an answer of none may say."""

    @classmethod
    def of(cls, task: Task, texts: Sequence[str]) -> SpanGrammar:
        """For one task and chart."""
        return cls(tuple(texts), task.statuses, task.called)

    def as_plain(self) -> dict[str, Any]:
        """As values that any process can be sent."""
        return {"texts": list(self.texts), "statuses": list(self.statuses), "names": list(self.names)}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> SpanGrammar:
        """From what `as_plain` gave."""
        item, name = values["names"]
        return cls(tuple(values["texts"]), tuple(values["statuses"]), (item, name))

    def without_half_item(self, text: str) -> str:
        """The beginning of an answer, without an item at its end that is not whole: it would read as an invented one.

        Half a line with a status stays. It reads as an answer that breaks the format, as it would without spans.
        """
        return text if self.statuses or self.admits(text) else text.rpartition("\n")[0]

    def without_repeats(self, text: str) -> str:
        """An answer without the lines that repeat an item."""
        lines: dict[str, str] = {}
        for line in text.split("\n"):
            lines.setdefault(self._item(line), line)
        return "\n".join(lines.values())

    def _item(self, line: str) -> str:
        return plain_key(fold(line.rpartition(FIELD_SEPARATOR)[0] if self.statuses else line))

    def admits(self, text: str) -> bool:
        """Whether a whole answer is one of these, with or without lines that repeat an item."""
        state: Line | None = Lines(self, chart_words(self.texts)).begin()
        for character in text:
            state = None if state is None else state.then(character)
        return state is not None and state.may_end


class ChartWords:
    """Where stretches of a chart may begin and end. Made once per chart; every task of it uses the same.

    Attributes:
        text: all spellings, folded, white space as one space, each ended by BARRIER.
        starts: where a stretch may begin, ascending.
        ends: where a stretch may end, ascending (exclusive).
        ends_left: of each place in `text`, the word ends from there on that a stretch can reach.
        starts_with: character -> those of `starts` where it stands.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        spellings = dict.fromkeys(" ".join(_BARRED.sub(f" {BARRIER} ", text).split()) for text in texts)
        self.text = fold("".join(spelling + BARRIER for spelling in spellings)) or BARRIER
        starts: set[int] = {match.start() for match in _OPENING.finditer(self.text)}
        ends: set[int] = set()
        word_ends: list[int] = []
        for match in _UNIT.finditer(self.text):
            start, end = match.span()
            if _NON.search(self.text, max(0, start - 5), start) is None:
                starts.add(start)
            word_ends.append(end)
            closing = _CLOSING.match(self.text, end)
            ends.update(range(end, (closing.end() if closing else end) + 1))
        self.starts, self.ends = tuple(sorted(starts)), sorted(ends)
        self._is_end = ends
        self.starts_with: dict[str, list[int]] = {}
        for start in self.starts:
            self.starts_with.setdefault(self.text[start], []).append(start)
        self.ends_left = self._count_ends(word_ends)

    def _count_ends(self, word_ends: Sequence[int]) -> list[int]:
        counts: list[int] = []
        barriers = [-1, *(at for at, character in enumerate(self.text) if character == BARRIER)]
        number = 0
        for before, barrier in pairwise(barriers):
            last = bisect_left(word_ends, barrier + 1)
            at = before + 1
            for left, end in zip(range(last - number, 0, -1), word_ends[number:last], strict=True):
                counts += [left] * (end + 1 - at)
                at = end + 1
            counts += [0] * (barrier + 1 - at)
            number = last
        return counts

    def is_end(self, at: int) -> bool:
        """Whether a stretch may end before `text[at]`."""
        return at in self._is_end

    def ends_from(self, at: int) -> Iterable[int]:
        """Ends at or behind a place that a stretch through it can reach."""
        barrier = self.text.index(BARRIER, at)
        for number in range(bisect_left(self.ends, at), len(self.ends)):
            if self.ends[number] > barrier:
                return
            yield self.ends[number]


@lru_cache(maxsize=256)
def chart_words(texts: tuple[str, ...]) -> ChartWords:
    """The words of a chart; the last charts are remembered, for their other tasks."""
    return ChartWords(texts)


class Lines:
    """The lines of one answer: the grammar with the words of its chart."""

    def __init__(self, grammar: SpanGrammar, words: ChartWords) -> None:
        self.words = words
        self.tails = tuple(FIELD_SEPARATOR + status for status in grammar.statuses)
        self._names = grammar.names

    def begin(self) -> Line:
        """Nothing is written yet."""
        return Line(self, self.words.starts, lead=True, none=0)

    def is_item(self, text: str) -> bool:
        """Whether a stretch is an item, and does not say that there is none."""
        return not says_none_of(text, self._names)

    def can_end(self, start: int, at: int) -> bool:
        """Whether a stretch from `start` on, written up to `at`, can still become an item."""
        words = self.words
        if words.ends_left[at] > MOST_REFUSED:  # each end is another stretch
            return True
        return any(end > start and self.is_item(words.text[start:end]) for end in words.ends_from(at))


@dataclass(frozen=True, slots=True)
class Line:
    """What may follow: the state of one answer in one line of it."""

    lines: Lines
    places: tuple[int, ...]
    """Where in the chart what is written of the item can go on; empty: it is no item."""
    length: int = 0
    """Characters of the item so far."""
    lead: bool = False
    """Nothing of the line is written; one space may come first (tokenizers with word markers write it)."""
    none: int = -1
    """Characters of `None found` so far; -1: it is something else."""
    tail: str | None = None
    """What is written behind the item, the beginning of ` | status`; None: nothing."""
    pending: str = ""
    """Bytes of a character that is not whole, as lone surrogates (the error handler `surrogateescape`)."""
    item: str = ""
    """The item before `tail`."""
    seen: frozenset[str] = frozenset()
    """Items of the lines above."""
    repeats: int = 0
    """Lines above that repeat an item."""

    @property
    def item_ends(self) -> bool:
        """Whether what is written of the item is an item."""
        if not self.length or self.pending or not any(map(self.lines.words.is_end, self.places)):
            return False
        return self.lines.is_item(self.written)

    @property
    def written(self) -> str:
        """The item so far, folded."""
        at = self.places[0]
        return self.lines.words.text[at - self.length : at]

    @property
    def line_ends(self) -> bool:
        """Whether the line is whole."""
        return self.tail in self.lines.tails and not self.pending if self.lines.tails else self.item_ends

    @property
    def may_end(self) -> bool:
        """Whether the answer may end here."""
        return self.none == len(NONE_FOUND) or self.line_ends

    def then(self, character: str) -> Line | None:
        """The state behind one more character (or byte, as a lone surrogate); None where it is not allowed."""
        if "\udc80" <= character <= "\udcff":
            return self._then_byte(character)
        if self.pending:
            return None
        if character == "\n":
            key = plain_key(self.item if self.lines.tails else self.written) if self.line_ends else None
            repeats = self.repeats + (key in self.seen)
            if key is None or repeats == MOST_REPEATS:
                return None
            return Line(self.lines, self.lines.words.starts, lead=True, seen=self.seen | {key}, repeats=repeats)
        if self.lead and character == " ":
            return replace(self, lead=False)
        places = self._alive(at + 1 for at in self._places_of(fold(character)))
        none = self.none + 1 if self.none >= 0 and NONE_FOUND[self.none : self.none + 1] == character else -1
        tail, item = self._tail(character)
        if not places and none < 0 and tail is None:
            return None
        return Line(self.lines, places, self.length + 1, False, none, tail, "", item, self.seen, self.repeats)

    def _places_of(self, folded: str) -> Iterable[int]:
        words = self.lines.words
        if folded == BARRIER:
            return ()
        if self.places is words.starts:  # thousands
            return words.starts_with.get(folded, ())
        return [at for at in self.places if words.text[at] == folded]

    def _alive(self, places: Iterable[int]) -> tuple[int, ...]:
        length = self.length + 1
        return tuple(at for at in places if self.lines.can_end(at - length, at))

    def _tail(self, character: str) -> tuple[str | None, str]:
        if self.tail is not None:
            tail, item = self.tail + character, self.item
        elif self.lines.tails and character == " " and self.item_ends:
            tail, item = character, self.written
        else:
            return None, ""
        return (tail, item) if any(one.startswith(tail) for one in self.lines.tails) else (None, "")

    def _then_byte(self, byte: str) -> Line | None:
        text, pending = self.lines.words.text, self.pending + byte
        if self.tail is not None and not self.places:  # within a status: what comes before it is ASCII
            return self._then_byte_of_tail(self.tail, pending)
        begun = tuple(at for at in self.places if any(one.startswith(pending) for one in spellings(text[at])))
        whole = self._alive(at + 1 for at in begun if pending in spellings(text[at]))
        if whole:
            return Line(self.lines, whole, self.length + 1, seen=self.seen, repeats=self.repeats)
        if not self._alive(at + 1 for at in begun):
            return None
        return Line(self.lines, begun, self.length, pending=pending, seen=self.seen, repeats=self.repeats)

    def _then_byte_of_tail(self, tail: str, pending: str) -> Line | None:
        for one in self.lines.tails:
            following = one[len(tail) : len(tail) + 1] if one.startswith(tail) else ""
            written = following.encode().decode("ascii", "surrogateescape")
            if written == pending:
                return replace(self, tail=tail + following, pending="")
            if written.startswith(pending):
                return replace(self, pending=pending)
        return None


@cache
def spellings(folded: str) -> tuple[str, ...]:
    """The UTF-8 bytes of each character that folds to `folded`, as lone surrogates; none for ASCII, which is whole."""
    if folded.isascii():
        return ()
    forms = _by_fold().get(folded, (folded,))
    return tuple(form.encode("utf-8", "surrogatepass").decode("ascii", "surrogateescape") for form in forms)


@cache
def half_spellings(folded: str) -> tuple[str, ...]:
    """What those bytes may begin with."""
    return tuple(dict.fromkeys(form[:length] for form in spellings(folded) for length in range(1, len(form))))


@cache
def _by_fold() -> dict[str, tuple[str, ...]]:
    """Folded character -> all that fold to it, for those with more than one."""
    found: dict[str, list[str]] = {}
    for character in map(chr, range(0x80, 0x110000)):
        if (folded := _fold_one.__wrapped__(character)) != character:
            found.setdefault(folded, [folded]).append(character)
    return {folded: tuple(forms) for folded, forms in found.items()}
