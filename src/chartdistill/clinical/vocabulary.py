"""What a user's vocabulary says of a name: is it of a kind, and which other names mean the same thing?

In: a `Vocabulary` (read by `vocabulary_file`, carried by `Task.vocabulary`) and a kind of finding. Out: a
:class:`KindNames`, which the kind's `EntityType` has as `self.names_by_user`; a kind that wants the one name by which
synonyms match asks `self.canonical(text)`. Must hold: pure; without a vocabulary nothing is known and nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from chartdistill.clinical.text.names import find_names, from_word_to_word, starts_of, words_in
from chartdistill.prompting.answer_format import plain_key
from chartdistill.schema import Task, Vocabulary, VocabularyEntry


class KindNames:
    """The names of one kind, all as plain keys. Hashed by identity: `names_of` gives one object per vocabulary."""

    def __init__(
        self,
        groups: Iterable[tuple[str, ...]] = (),
        excluded: Iterable[str] = (),
        others: Mapping[str, str] | None = None,
    ) -> None:
        self.groups = tuple(groups)
        """Names of one thing each, the one to go by first."""
        self.excluded = frozenset(excluded)
        """Names that are not of this kind."""
        self.others: Mapping[str, str] = others or {}
        """Names that are of another kind, and not of this one -> that kind."""
        self._group_of = {name: group for group in self.groups for name in group}
        self._in_text = {from_word_to_word(name) for name in self._group_of} - {""}
        self._starts = starts_of(self._in_text)
        self._most_words = max(map(words_in, self._in_text), default=0)

    def __bool__(self) -> bool:
        return bool(self.groups or self.excluded or self.others)

    def __contains__(self, name: str) -> bool:
        """Whether the vocabulary says that this is of the kind."""
        return plain_key(name) in self._group_of

    def group(self, name: str) -> tuple[str, ...]:
        """All names of the same thing, this one among them; () for a name that the vocabulary does not have."""
        return self._group_of.get(plain_key(name), ())

    def canonical(self, name: str) -> str:
        """The one name that all of its group go by; the name's own plain key where the vocabulary does not have it."""
        key = plain_key(name)
        return self._group_of.get(key, (key,))[0]

    def excludes(self, name: str) -> bool:
        """Whether the vocabulary says that this is not of the kind."""
        return plain_key(name) in self.excluded

    def find(self, text: str) -> list[tuple[int, int]]:
        """Character spans of the kind's names in a text, longest first at each place, none overlapping."""

        def is_name(start: int, end: int) -> bool:
            return " ".join(text[start:end].casefold().split()) in self._in_text

        return find_names(text, is_name, self._starts, self._most_words) if self._in_text else []


NO_NAMES = KindNames()
"""Of a user without a vocabulary."""


def mark_of(tasks: Iterable[Task]) -> dict[str, str | int] | None:
    """What a manifest says of the vocabulary of its tasks, and fingerprints hold; None where there is none."""
    found = next((task.vocabulary for task in tasks if task.vocabulary is not None), None)
    return None if found is None else {"hash": found.digest, "entries": len(found.entries)}


@lru_cache(maxsize=256)
def names_of(vocabulary: Vocabulary | None, kind: str) -> KindNames:
    """What a vocabulary says of one kind."""
    if vocabulary is None:
        return NO_NAMES
    entries = vocabulary.entries
    own = [entry for entry in entries if entry.kind == kind]
    groups = grouped(own)
    known = {name for group in groups for name in group}
    excluded = {plain_key(entry.name) for entry in entries if kind in entry.not_a}
    others = {
        plain_key(name): entry.kind
        for entry in entries
        if entry.kind not in (kind, None)
        for name in (entry.name, *entry.same_as)
    }
    return KindNames(groups, excluded, {name: str(other) for name, other in others.items() if name not in known})


def grouped(entries: Iterable[VocabularyEntry]) -> list[tuple[str, ...]]:
    """Names of the same thing together: first those that others are said to be the same as."""
    joined: dict[str, dict[str, None]] = {}
    has_own_entry = dict[str, bool]()
    for entry in entries:
        name, same = plain_key(entry.name), [plain_key(one) for one in entry.same_as]
        has_own_entry[name] = bool(same) or has_own_entry.get(name, False)
        together = dict.fromkeys(one for each in (*same, name) for one in joined.get(each, {each: None}))
        joined.update(dict.fromkeys(together, together))
    groups = {id(group): group for group in joined.values()}
    return [tuple(sorted(group, key=lambda name: has_own_entry.get(name, False))) for group in groups.values()]
