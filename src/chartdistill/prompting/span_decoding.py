"""Which tokens may come next, so that the items of an answer are words of its chart: what all engines share.

In: a tokenizer's tokens, a grammar, and the tokens that came. Out: the ids allowed next. Must hold: pure Python; exact
(a token is allowed if and only if what it writes leads to an answer of the grammar); never empty before the end; the
cost of a token does not grow with the chart, but for an item's first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from chartdistill.errors import ConfigError
from chartdistill.prompting.answer_format import NONE_FOUND
from chartdistill.prompting.chart_spans import MOST_REFUSED, ChartWords, Line, Lines, SpanGrammar, chart_words
from chartdistill.prompting.token_table import Crossing, TokenTable

_CHARTS_REMEMBERED = 256


class IdSet:
    """Ids that are the same for many steps."""

    __slots__ = ("ids", "prepared")

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = sorted(ids)
        self.prepared: Any = None
        """For the engine: the same in the form that it needs."""


def leads(state: Line | None, text: str) -> bool:
    """Whether a text may follow."""
    for character in text:
        state = None if state is None else state.then(character)
    return state is not None


class FirstTokens:
    """The tokens that begin an item of one chart, with and without a space before it."""

    def __init__(self, words: ChartWords, table: TokenTable) -> None:
        bare, spaced = set[int](), set[int]()
        near: set[int] = set()
        for start in words.starts:
            for before, ids in (("", bare), (" ", spaced)):
                for at, found in table.along(words.text, start, before):
                    if words.ends_left[at] > MOST_REFUSED:
                        ids.update(found)
                    else:
                        near.add(start)
        self.bare = IdSet(bare)
        self.spaced = IdSet(bare | spaced)
        self.near = tuple(sorted(near))
        """Beginnings so near the end of a text that it depends on the task whether they lead to an item."""


class SpanVocabulary:
    """One tokenizer's tokens, and what is known of the last charts."""

    def __init__(self, token_bytes: Sequence[bytes], control_ids: Iterable[int]) -> None:
        """See `token_table.TokenTable`."""
        self._bytes = token_bytes
        self.table = TokenTable(token_bytes, frozenset(control_ids))
        self.first_tokens = lru_cache(maxsize=_CHARTS_REMEMBERED)(self._first_tokens)
        self.crossing_at_start = lru_cache(maxsize=4 * _CHARTS_REMEMBERED)(self._crossing_at_start)

    def _first_tokens(self, texts: tuple[str, ...]) -> FirstTokens:
        return FirstTokens(chart_words(texts), self.table)

    def _crossing_at_start(self, grammar: SpanGrammar) -> Crossing:
        """Of the table's `crossing`, those that may begin a line."""
        begin = Lines(grammar, chart_words(grammar.texts)).begin()
        found = {}
        for first, tokens in self.table.crossing.items():
            if (after := begin.then(first)) is not None:
                found[first] = [(text, ids) for text, ids in tokens if leads(after, text[1:])]
        return found

    def text(self, token_id: int) -> str:
        """What a token writes; half a character as lone surrogates."""
        return self._bytes[token_id].decode("utf-8", "surrogateescape") if token_id < len(self._bytes) else ""


class SpanMatcher:
    """One answer while it is written."""

    def __init__(self, grammar: SpanGrammar, vocabulary: SpanVocabulary, end_ids: Iterable[int]) -> None:
        self._vocabulary, self._ends = vocabulary, frozenset(end_ids)
        self._grammar = grammar
        words = chart_words(grammar.texts)
        self._state: Line | None = Lines(grammar, words).begin()

    @property
    def is_open(self) -> bool:
        """Whether more may come: no end came, and nothing that was not allowed."""
        return self._state is not None

    def accept(self, token_id: int) -> None:
        """Go on behind a token.

        Raises:
            ValueError: it was not allowed.
        """
        if token_id in self._ends and self._state is not None and self._state.may_end:
            self._state = None
            return
        state = self._state
        for character in self._vocabulary.text(token_id) or BROKEN:
            state = None if state is None else state.then(character)
        self._state = state
        if state is None:
            raise ValueError(f"token {token_id} is not allowed here")

    def allowed(self) -> tuple[IdSet | None, set[int]]:
        """The ids that may come next: those of a set that many steps share (None: of none), and others.

        Both are empty when the answer has ended, or a token came that was not allowed.
        """
        state, table = self._state, self._vocabulary.table
        if state is None:
            return None, set()
        found: set[int] = set(self._ends) if state.may_end else set()
        if state.none >= 0:
            rest = NONE_FOUND[state.none :]
            found.update(table.beginnings(rest))
            if state.lead:
                found.update(table.beginnings(" " + rest))
        elif state.lead:
            found.update(table.beginnings(" "))
        written = "" if state.tail is None and state.item_ends else state.tail
        if written is not None:
            for tail in state.lines.tails:
                if tail.startswith(written):
                    found.update(table.beginnings(tail[len(written) :], state.pending))
        shared = self._item_tokens(state, found)
        self._add_crossing(state, found)
        return shared, found

    def _item_tokens(self, state: Line, found: set[int]) -> IdSet | None:
        """Tokens inside an item."""
        lines, places, shared = state.lines, state.places, None
        if not state.length and not state.pending and places:
            first = self._vocabulary.first_tokens(self._grammar.texts)
            shared, places = (first.spaced if state.lead else first.bare), first.near
        text, table = lines.words.text, self._vocabulary.table
        for place in places:
            start = place - state.length
            if state.pending:
                ways = [table.behind_bytes(text, place, state.pending)]
            else:
                ways = [table.along(text, place, before) for before in (("", " ") if state.lead else ("",))]
            for way in ways:
                for at, ids in way:
                    if not found.issuperset(ids) and lines.can_end(start, at):
                        found.update(ids)
        return shared

    def _add_crossing(self, state: Line, found: set[int]) -> None:
        """Tokens that hold the end of an item, or of a line, and more: tried one by one, they are few."""
        at_start = not state.length and not state.pending and state.tail is None
        known = self._vocabulary
        tokens = known.crossing_at_start(self._grammar) if at_start else known.table.crossing
        for first, ways in tokens.items():
            after = state.then(first) if ways else None
            if after is not None:
                for text, ids in ways:
                    if leads(after, text[1:]):
                        found.update(ids)


BROKEN = "\n\n"
"""What stands for a token without text: nothing that an answer may hold."""


def token_vocabulary(tokenizer: Any, token_bytes: Sequence[bytes]) -> SpanVocabulary:
    """The vocabulary of a tokenizer, after a check that its bytes are what it writes.

    Raises:
        ConfigError: they are not, so that no answer could be held to a chart.
    """
    control = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special or token.content.strip()}
    control.update(tokenizer.all_special_ids)
    probe = "Aspirin 81 mg | stop\nNa\u00efve caf\u00e9 \u2265 5 \u00b5g"
    ids = tokenizer.encode(probe, add_special_tokens=False)
    written = b"".join(token_bytes[i] for i in ids).decode("utf-8", "replace")
    if [line.removeprefix(" ") for line in written.split("\n")] != [
        line.removeprefix(" ") for line in str(tokenizer.decode(ids)).split("\n")
    ]:  # a space before a line is a word's mark with some tokenizers, and not read
        raise ConfigError(
            f"the tokens of {tokenizer.name_or_path!r} do not write what its tokenizer reads from them, so answers "
            "cannot be held to the words of a chart. Set `constrain: true` for this model."
        )
    return SpanVocabulary(token_bytes, control)
