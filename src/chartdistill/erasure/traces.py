"""What a text may still hold of erased records: their ids, and runs of five words that no other record has.

In: texts of the erased records and of all others. Out: whether some text holds such a run or id. Words are held as
salted 64-bit hashes only (a polynomial over the words' hashes, as in near_duplicates.py), so that they can be written
down for a call that goes on after a kill. At 1e9 runs looked at and 1e4 of the records' own, one is mistaken by chance
with a probability of 1e9 * 1e4 / 2^64 = 5e-7.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chartdistill.evaluation.formats.brat import file_name, hashed_name, record_of
from chartdistill.records import SHINGLE_WORDS, body_words

Runs = NDArray[np.uint64]
GONE = "(erased)"
"""What stands where an id or words stood."""
_TOLD_LENGTH = 5
"""Ids of so many characters, with a digit, are looked for anywhere; others (`7`, `chart`) only where they stand as a
whole string, since they also are ordinary words."""


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str, salt: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), key=salt, digest_size=8).digest())


def endings(path: Path) -> Iterator[str]:
    """A path's name, with its folders and without, the longest first: `b/c` and `c`, of `b/c.txt`."""
    parts = path.with_suffix("").parts
    return ("/".join(parts[at:]) for at in range(len(parts)))


class Runs5:
    """Hashes of runs of five words, under one salt."""

    def __init__(self, salt: bytes) -> None:
        self.salt = salt

    def of(self, text: str, partial: bool = False) -> Runs:
        """All runs of a text, each once, ascending. `partial`: a text of fewer words is one run."""
        words = body_words(text)
        width = min(SHINGLE_WORDS, len(words)) if partial else SHINGLE_WORDS
        if not words or len(words) < width:
            return np.zeros(0, dtype=np.uint64)
        hashes = np.fromiter((_word_hash(word, self.salt) for word in words), dtype=np.uint64, count=len(words))
        runs = np.zeros(len(words) - width + 1, dtype=np.uint64)
        for offset in range(width):
            runs = runs * np.uint64(0x9E3779B97F4A7C15) + hashes[offset : offset + len(runs)]
        return np.unique(runs)

    def own(self, texts: Iterable[str], others: Iterable[str]) -> Runs:
        """The runs of `texts` that none of `others` has."""
        parts = [self.of(text) for text in texts]
        own = np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.uint64)
        for other in others:
            if not len(own):
                break
            own = own[~np.isin(own, self.of(other), assume_unique=True)]
        return own


class Traces:
    """Ids and runs of words that must not be left.

    Args:
        ids: of the records.
        variants: ids of their changed forms.
        own: as `Runs5.own`, under `salt`.
        others: ids of records that stay.
    """

    def __init__(
        self, ids: Collection[str], variants: Collection[str], own: Runs, salt: bytes, others: Iterable[str] = ()
    ) -> None:
        self.ids, self.variants, self.own = frozenset(ids), frozenset(variants), own
        self._file_names = frozenset(map(file_name, ids))
        self._hashed = {hashed_name(one): one for one in ids}
        self._runs = Runs5(salt)
        told = sorted(filter(_is_told, {*self.ids, *self.variants, *self._file_names}), key=len, reverse=True)
        alone = _standing(told)
        self.around = frozenset(one for one in others if alone is not None and alone.search(one))
        """Ids that stay and in which one of theirs stands (`1001:2`, of `1001`): neither changed nor found."""
        self._around = frozenset(form for one in self.around for form in _written(one))
        self._told = _standing([*sorted(self._around, key=len, reverse=True), *told])

    def owns(self, name: object) -> bool:
        """Whether a row of this record id is one of theirs."""
        return isinstance(name, str) and (name in self.ids or name in self.variants)

    def names_file(self, path: Path) -> bool:
        """Whether a file, below the folder, bears the name that brat's files of one of them have: its id, with its
        folders, or a hash of it."""
        names = list(endings(path))
        return self.owns(path.stem) or any(
            one in self._file_names or record_of(one, self._hashed) is not None for one in names
        )

    def names_folder(self, path: Path) -> bool:
        """Whether a folder, below that of the run, is one that such a file of one of them would lie in, or bears its
        whole name."""
        parts = path.parts
        known = ("/".join(parts[at:]) for at in range(len(parts)))
        return any(name == one or name.startswith(f"{one}/") for one in known for name in self._file_names)

    def named_by(self, path: Path) -> bool:
        """Whether a file's path, below the folder, names one of them."""
        known = any(_is_told(one) and one in self._file_names for one in endings(path))
        return known or any(map(self.id_in, path.with_suffix("").parts))

    def words_in(self, text: str) -> int:
        """How many runs of words that only they had a text holds."""
        if not len(self.own) or len(text) < SHINGLE_WORDS:
            return 0
        found = self._runs.of(text)
        return int(np.isin(found, self.own, assume_unique=True).sum())

    def is_theirs(self, text: str) -> bool:
        """Whether a text that nobody is named for is of one of them: more runs than the seam of two other texts can
        make by chance."""
        return self.words_in(text) >= min(SHINGLE_WORDS, max(1, len(self.own)))

    def id_in(self, text: str) -> bool:
        """Whether a text names one of them."""
        found = () if self._pattern is None else self._pattern.finditer(text)
        return any(match[0] not in self._around for match in found)

    def in_text(self, text: str) -> bool:
        """Either."""
        return self.id_in(text) or self.words_in(text) > 0

    def names(self, text: str, of_records: bool = False) -> bool:
        """Whether a text is one of their ids. `of_records`: it is known to be an id; else it must look like one."""
        return self.owns(text) and (of_records or _is_told(text))

    def without_ids(self, text: str, of_records: bool = False) -> str:
        """A text with their ids taken out. `of_records`: as in `names`, of the whole text."""
        if self.names(text, of_records):
            return GONE
        return text if self._told is None else self._told.sub(self._gone, text)

    def _gone(self, match: re.Match[str]) -> str:
        return match[0] if match[0] in self._around else GONE

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        """The same, and of ids that are ordinary words those that a row gives as its record."""
        words = [re.escape(one) for one in sorted(self.ids) if not _is_told(one)]
        parts = [rf'"record"\s*:\s*"(?:{"|".join(words)})"'] if words else []
        parts += [] if self._told is None else [self._told.pattern]
        return re.compile("|".join(parts)) if parts else None


def _standing(names: Sequence[str]) -> re.Pattern[str] | None:
    """Names where they stand in a text, the first that fits; None where there are none. Not within a longer id or path:
    `p1-10` is not `p1-1`, nor is `p1-1/note`, nor a file `p1-1.jsonl`."""
    if not names:
        return None
    return re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, names))})(?![\w/-])(?!\.\w)")


def _written(name: str) -> set[str]:
    """An id as it stands in texts and in JSON."""
    return {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}


def _is_told(name: str) -> bool:
    return len(name) >= _TOLD_LENGTH and any(character.isdigit() for character in name)
