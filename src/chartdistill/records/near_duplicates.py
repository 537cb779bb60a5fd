"""Texts -> clusters of near-duplicates, in linear time.

In: record texts, one at a time. Out: a cluster id per text. The same note filed twice, cut short, or carried forward
with edits must not stand on both sides of a split, so two texts share a cluster when their 5-word shingles overlap
by Jaccard >= 0.5, or when >= 0.8 of the smaller's shingles are in the larger, and so do texts linked through others.

Two steps, so that template text (a printed form, a consent paragraph) does not glue unrelated notes together:
copies (Jaccard >= 0.65) become families; then the thresholds above are applied without the shingles that occur in
many families. Every link is verified on the full sets; only the search for candidates is bounded per text.

Must hold: ids depend on the set of texts, not on their order; memory is 4 bytes per shingle kept, plus an index of
about 40 bytes per shingle while clustering.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chartdistill.clinical.text.normalisation import normalise

Shingles: TypeAlias = npt.NDArray[np.uint32]
"""Hashes of a text's 5-word runs, ascending, each once."""
_Indices: TypeAlias = npt.NDArray[np.int64]

SHINGLE_WORDS = 5
COPY_JACCARD = 0.65
NEAR_JACCARD = 0.5
NEAR_CONTAINMENT = 0.8
MIN_SHINGLES = 8
"""Shingles, template text left out, that the smaller text must have before overlap is evidence."""
TEMPLATE_FAMILIES = 20
TEMPLATE_SHARE = 0.005
"""A shingle in more families than both (number, share of all families) is template text."""

_PROBES = 24
"""Shingles of a text looked up in the index: so many of its rarest, and so many drawn by hash."""
_WINDOW = 64
"""Texts taken from the list of one shingle: the nearest in signature order, where near-duplicates are neighbours."""
_MAX_CHECKS = 32
"""Candidates verified per text, those with most shared probes first."""
_WORD = re.compile(r"[^\W_]+")


def body_words(text: str) -> list[str]:
    """The text as it reads, without case, punctuation and layout: what counts when two texts are compared. The same
    chart from a PDF (ligatures, words broken at a line's end), a web page (soft hyphens) or another machine (accents as
    characters of their own) has the same words."""
    return _WORD.findall(normalise(unicodedata.normalize("NFC", text)).text.casefold())


def body_hash(text: str) -> str:
    """32 hex digits, equal for texts with the same words."""
    return _hash_of(body_words(text))


def body_hash_as_typed(text: str) -> str:
    """What `body_hash` was while texts were compared by their characters: tombstones of then have it."""
    return _hash_of(_WORD.findall(text.lower()))


def _hash_of(words: list[str]) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:32]


class ClusterBuilder:
    """Collects texts and clusters them. Keeps hashes only, never text."""

    def __init__(self) -> None:
        self._shingles: dict[str, Shingles] = {}

    def add(self, text: str) -> str:
        """Take one text in; returns its body hash (32 hex digits), equal for texts with the same words."""
        words = body_words(text)
        body = _hash_of(words)
        if body not in self._shingles:
            self._shingles[body] = _shingles(words)
        return body

    def clusters(self) -> dict[str, str]:
        """Body hash -> cluster id (16 hex digits), named after the smallest body hash in the cluster."""
        # Numbered by their smallest shingle hashes: near-duplicates become neighbours, and input order plays no part.
        bodies = sorted(self._shingles, key=lambda body: (self._shingles[body][:4].tolist(), body))
        texts = _ShingleSets.of([self._shingles[body] for body in bodies])
        groups = DisjointSets(len(bodies))
        _link(texts, groups, lambda shared, small, large: shared >= COPY_JACCARD * (small + large - shared))
        _link(texts.without_templates(groups.roots()), groups, _near)
        names: dict[int, str] = {}
        for number, body in enumerate(bodies):
            root = groups.find(number)
            names[root] = min(names.get(root, body), body)
        return {body: names[groups.find(number)][:16] for number, body in enumerate(bodies)}


def cluster_records(texts: Iterable[str]) -> list[str]:
    """The cluster id of each text, in the order given."""
    builder = ClusterBuilder()
    bodies = [builder.add(text) for text in texts]
    clusters = builder.clusters()
    return [clusters[body] for body in bodies]


def _near(shared: int, small: int, large: int) -> bool:
    return small >= MIN_SHINGLES and (
        shared >= NEAR_CONTAINMENT * small or shared >= NEAR_JACCARD * (small + large - shared)
    )


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _shingles(words: list[str]) -> Shingles:
    """Hashes of all 5-word runs; a shorter text is one run."""
    hashes = np.fromiter((_word_hash(word) for word in words), dtype=np.uint64, count=len(words))
    width = min(SHINGLE_WORDS, len(words))
    runs = np.zeros(max(0, len(words) - width + 1) if words else 0, dtype=np.uint64)
    for offset in range(width):
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + hashes[offset : offset + len(runs)]
    runs ^= runs >> np.uint64(31)
    return np.unique((runs * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(32)).astype(np.uint32))


class DisjointSets:
    """Union-find over the numbers below `size`; a set goes by its smallest member."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def find(self, number: int) -> int:
        """The smallest member of the number's set."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def join(self, first: int, second: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parents[high] = low

    def roots(self) -> npt.NDArray[np.int64]:
        """`find` of every number."""
        return np.array([self.find(number) for number in range(len(self._parents))], dtype=np.int64)


@dataclass(frozen=True)
class _ShingleSets:
    """All texts' shingles end to end: text i has `values[offsets[i] : offsets[i + 1]]`."""

    values: Shingles
    offsets: _Indices

    @classmethod
    def of(cls, sets: list[Shingles]) -> _ShingleSets:
        offsets = np.concatenate(([0], np.cumsum([len(shingles) for shingles in sets], dtype=np.int64)))
        return cls(np.concatenate([np.empty(0, np.uint32), *sets]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> Shingles:
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    def owners(self) -> _Indices:
        """The text number of each value."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def without_templates(self, families: _Indices) -> _ShingleSets:
        """The sets without the shingles that occur in too many families; `families[i]` is that of text i."""
        limit = max(TEMPLATE_FAMILIES, TEMPLATE_SHARE * len(np.unique(families)))
        pairs = np.unique(self.values.astype(np.uint64) << np.uint64(32) | families[self.owners()].astype(np.uint64))
        shingles, counts = np.unique(pairs >> np.uint64(32), return_counts=True)
        kept = ~np.isin(self.values, shingles[counts > limit].astype(np.uint32))
        before = np.concatenate(([0], np.cumsum(kept)))
        return _ShingleSets(self.values[kept], before[self.offsets])


@dataclass(frozen=True)
class _Index:
    """For each shingle in two texts or more, its texts; for each text, which shingles to probe."""

    postings: _Indices
    """Text numbers, ascending within a shingle."""
    starts: _Indices
    """Shingle s has `postings[starts[s] : starts[s + 1]]`."""
    probes: list[_Indices]
    """Per text, shingle numbers."""

    @classmethod
    def of(cls, texts: _ShingleSets) -> _Index:
        pairs = np.sort(texts.values.astype(np.uint64) << np.uint64(32) | texts.owners().astype(np.uint64))
        runs = np.diff(pairs >> np.uint64(32)) != 0
        first = np.flatnonzero(np.concatenate(([len(pairs) > 0], runs)))
        counts = np.diff(first, append=len(pairs))
        repeated = np.repeat(counts >= 2, counts)
        postings = (pairs[repeated] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        sizes = counts[counts >= 2]
        shingle = np.repeat(np.arange(len(sizes)), sizes)
        ends = np.searchsorted(np.sort(postings), np.arange(len(texts) + 1))
        by_rarity = shingle[np.lexsort((shingle, sizes[shingle], postings))]
        # Shingle numbers ascend with the hash, so the first ones of a text are a draw, the same draw for all texts.
        by_hash = shingle[np.lexsort((shingle, postings))]
        probes = [
            np.unique(np.concatenate([order[low : min(high, low + _PROBES)] for order in (by_rarity, by_hash)]))
            for low, high in pairwise(ends)
        ]
        return cls(postings, np.concatenate(([0], np.cumsum(sizes))), probes)

    def candidates(self, number: int) -> list[int]:
        """Texts that share probes with this one, most shared first; at most `_MAX_CHECKS` times four."""
        parts = []
        for shingle in self.probes[number].tolist():
            posting = self.postings[self.starts[shingle] : self.starts[shingle + 1]]
            if len(posting) > _WINDOW:
                middle = int(np.searchsorted(posting, number))
                low = max(0, min(middle - _WINDOW // 2, len(posting) - _WINDOW))
                posting = posting[low : low + _WINDOW]
            parts.append(posting)
        if not parts:
            return []
        found, counts = np.unique(np.concatenate(parts), return_counts=True)
        order = np.lexsort((found, -counts))[: 4 * _MAX_CHECKS]
        return [int(other) for other in found[order]]


def _link(texts: _ShingleSets, groups: DisjointSets, close: Callable[[int, int, int], bool]) -> None:
    """Join all texts that `close(shared, smaller size, larger size)` and that the index brings together."""
    index = _Index.of(texts)
    for number in range(len(texts)):
        own, checks = texts[number], 0
        for other in index.candidates(number):
            if groups.find(number) == groups.find(other):
                continue
            small, large = sorted((len(own), len(texts[other])))
            shared = len(np.intersect1d(own, texts[other], assume_unique=True))
            if close(shared, small, large):
                groups.join(number, other)
            checks += 1
            if checks == _MAX_CHECKS:
                break
