"""Long records: overlapping chunks that fit the model, and one answer out of the answers to each.

In: a record's text and a token budget. Out: chunks, `text[start:end]` each. Must hold: every character is in a
chunk; a chunk begins and ends at the end of a line or sentence wherever one is near enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chartdistill.clinical.entities import entity_of
from chartdistill.schema import Item, Record, Task

_PIECE = re.compile(r"[^\n.!?;]*(?:[.!?;]+(?=\s|$)|[.!?;]|\n|$)\s*")
_WORD = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True)
class Chunk:
    """A part of a record that a model reads at once."""

    record: str
    start: int
    end: int
    """Characters of the record's text."""
    text: str


def chunks_of(
    record: Record, count_tokens: Callable[[str], int], max_tokens: int | None, overlap_tokens: int
) -> list[Chunk]:
    """Cut a record into chunks of at most `max_tokens`, each repeating about `overlap_tokens` of the one before.

    `max_tokens` None, or a record that fits: one chunk, the whole text. A piece of text (up to the end of a line
    or sentence) longer than `max_tokens` is divided at words; a word is never divided, however long.
    """
    text = record.text
    if max_tokens is None or count_tokens(text) <= max_tokens:
        return [Chunk(record.id, 0, len(text), text)]
    pieces = list(_pieces(text, count_tokens, max_tokens))
    found: list[Chunk] = []
    first = 0
    while True:
        last, size = first, 0
        while last < len(pieces) and (last == first or size + pieces[last][2] <= max_tokens):
            size += pieces[last][2]
            last += 1
        start, end = pieces[first][0], pieces[last - 1][1]
        found.append(Chunk(record.id, start, end, text[start:end]))
        if last == len(pieces):
            return found
        following, repeated = last, 0
        # What is repeated must leave room for the next piece, or the next chunk would have nothing new.
        room = min(overlap_tokens, max_tokens - pieces[last][2])
        while following - 1 > first and repeated + pieces[following - 1][2] <= room:
            following -= 1
            repeated += pieces[following][2]
        first = following


def _pieces(text: str, count_tokens: Callable[[str], int], max_tokens: int) -> Iterable[tuple[int, int, int]]:
    """(start, end, tokens) of sentences and lines, in order, without gaps."""
    for match in _PIECE.finditer(text):
        if not match.group():
            continue
        size = count_tokens(match.group())
        if size <= max_tokens:
            yield match.start(), match.end(), size
            continue
        for word in _WORD.finditer(text, match.start(), match.end()):
            yield word.start(), word.end(), count_tokens(word.group())


def merge_items(answers: Sequence[tuple[Item, ...]], task: Task) -> tuple[Item, ...]:
    """The items of all chunks in reading order, each once.

    Two chunks that give one item different statuses leave both: which of them holds cannot be told from here, and
    the filter `status` rejects the label as `conflicting_status`.
    """
    entity = entity_of(task)
    merged: dict[tuple[str, str | None], Item] = {}
    for items in answers:
        for item in items:
            merged.setdefault((entity.key(item.text), item.status), item)
    return tuple(merged.values())
