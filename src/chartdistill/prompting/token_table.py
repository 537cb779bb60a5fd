"""A tokenizer's tokens by the text they write, so that those that begin a given text are found at once.

In: the bytes of each token. Out: `TokenTable`. Must hold: pure Python; tokens that hold half a character are known by
its bytes; control tokens, and what no answer of words holds (control characters, white space but one space or newline),
are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from chartdistill.prompting.chart_spans import fold, half_spellings, spellings

_NEVER = re.compile("[\x00-\x09\x0b-\x1f\x7f\ufffd]|[^\\S \n]|  |\n\n|\\|\n|\\|\\|")
"""What no answer holds."""
_CROSSES = re.compile(r"[\n|]|. $", re.DOTALL)
"""What may lead from an item to what stands behind it."""

Crossing = dict[str, list[tuple[str, tuple[int, ...]]]]


class TokenTable:
    """What each token writes.

    Attributes:
        crossing: (text, ids) of tokens that may hold the end of an item and more, by their first character.
    """

    def __init__(self, token_bytes: Sequence[bytes], control_ids: frozenset[int]) -> None:
        """
        Args:
            token_bytes: of each id, in order; empty for what writes nothing.
            control_ids: ids that are never text.
        """
        self._exact: dict[str, tuple[int, ...]] = {}
        for token_id, written in enumerate(token_bytes):
            text = written.decode("utf-8", "surrogateescape")
            if token_id not in control_ids and text and not _NEVER.search(text):
                self._exact[text] = (*self._exact.get(text, ()), token_id)
        self.crossing: Crossing = {}
        for text, ids in self._exact.items():
            if _CROSSES.search(text):
                self.crossing.setdefault(text[0], []).append((text, ids))
        self._folded = _with_beginnings(self._exact)

    def beginnings(self, text: str, pending: str = "") -> Iterator[int]:
        """Tokens that write exactly the beginning of `text`, or all of it, behind the bytes `pending` of its first
        character; they may end within a character."""
        whole, begun = text.encode(), pending.encode("ascii", "surrogateescape")
        if whole.startswith(begun):
            for end in range(len(begun) + 1, len(whole) + 1):
                yield from self._exact.get(whole[len(begun) : end].decode("utf-8", "surrogateescape"), ())

    def along(self, folded: str, at: int, before: str = "") -> Iterator[tuple[int, tuple[int, ...]]]:
        """Tokens that write `before` and then `folded` from `at` on, in any case.

        Yields:
            (where in `folded` the last character that they begin ends, ids).
        """
        table, written = self._folded, before
        while written in table or not written:
            character = folded[at]
            if character > "\x7f":
                for half in half_spellings(character):
                    if ids := table.get(written + half):
                        yield at + 1, ids
            at, written = at + 1, written + character
            if ids := table.get(written):
                yield at, ids

    def behind_bytes(self, folded: str, at: int, pending: str) -> Iterator[tuple[int, tuple[int, ...]]]:
        """As `along`, where the bytes `pending` of the character at `at` are written."""
        table = self._folded
        for form in spellings(folded[at]):
            if not form.startswith(pending):
                continue
            rest = form[len(pending) :]
            for length in range(1, len(rest) + 1):
                if ids := table.get(rest[:length]):
                    yield at + 1, ids
            if rest in table:
                yield from self.along(folded, at + 1, rest)


def _with_beginnings(exact: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Folded text -> ids; each beginning of a text is there, too, where need be without ids."""
    table: dict[str, tuple[int, ...]] = {}
    for text, ids in exact.items():
        folded = fold(text)
        table[folded] = table.get(folded, ()) + ids
        for length in range(len(folded) - 1, 0, -1):
            if folded[:length] in table:
                break
            table[folded[:length]] = ()
    return table
