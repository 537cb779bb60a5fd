"""What a filter may know of a run beyond the label in front of it.

In: all labels of a run, once. Out: :class:`LabelStatistics`, given to every `check`. Must hold: small, whatever the
size of the run: a few numbers per task, and a hash and some record ids per distinct answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chartdistill.prompting.answer_format import plain_key
from chartdistill.schema import Item, content_hash

_OTHERS_KEPT = 4
_MAD_TO_SIGMA = 1.4826
"""Median absolute deviation -> standard deviation of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Norm:
    """The middle and the spread of a whole number over a run's labels."""

    median: float
    spread: float
    """1.4826 x the median absolute deviation, at least 1."""
    number: int
    """How many labels or items it was taken from."""

    def score(self, value: int) -> float:
        """How many spreads a value lies above the median (robust z)."""
        return (value - self.median) / self.spread


def norm_of(histogram: Counter[int]) -> Norm:
    """The norm of a histogram value -> count, which must not be empty."""
    middle = _median(histogram)
    deviations: Counter[float] = Counter()
    for value, count in histogram.items():
        deviations[abs(value - middle)] += count
    return Norm(middle, max(1.0, _MAD_TO_SIGMA * _median(deviations)), histogram.total())


@dataclass(frozen=True)
class LabelStatistics:
    """Facts about a run's labels, and about its records' cleaning."""

    same_answer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Hash of an answer's items -> the first records that were given it."""
    num_items: Mapping[str, Norm] = field(default_factory=dict)
    """Task -> items per label, answers of "none found" left out."""
    item_words: Mapping[str, Norm] = field(default_factory=dict)
    """Task -> words per item."""
    removed: Mapping[str, str] = field(default_factory=dict)
    """Record -> what cleaning cut from it, where that is known."""

    def others_with(self, items: tuple[Item, ...], record: str) -> tuple[str, ...]:
        """Other records that were given the very same items, for any task."""
        return tuple(name for name in self.same_answer.get(answer_hash(items), ()) if name != record)


NO_STATISTICS = LabelStatistics()
"""Where nothing is known of the run."""


def survey(
    labels: Iterable[tuple[str, str, tuple[Item, ...] | None]], removed: Mapping[str, str] | None = None
) -> LabelStatistics:
    """The facts of a run, from (record id, task name, items or None) of every label, read once."""
    answers: dict[str, dict[str, None]] = defaultdict(dict)
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    words: dict[str, Counter[int]] = defaultdict(Counter)
    for record, task, items in labels:
        if not items:
            continue
        known = answers[answer_hash(items)]
        if len(known) < _OTHERS_KEPT:
            known[record] = None
        counts[task][len(items)] += 1
        words[task].update(len(item.text.split()) for item in items)
    return LabelStatistics(
        same_answer={key: tuple(records) for key, records in answers.items() if len(records) > 1},
        num_items={task: norm_of(histogram) for task, histogram in counts.items()},
        item_words={task: norm_of(histogram) for task, histogram in words.items()},
        removed=removed or {},
    )


def answer_hash(items: tuple[Item, ...]) -> str:
    """The same for answers with the same items, whatever their order, case and statuses."""
    return content_hash(sorted(plain_key(item.text) for item in items))


def _median(histogram: Mapping[int, int] | Mapping[float, int]) -> float:
    """The lower median of a histogram value -> count."""
    half, seen = (sum(histogram.values()) + 1) // 2, 0
    for value, count in sorted(histogram.items()):
        seen += count
        if seen >= half:
            return float(value)
    raise ValueError("an empty histogram has no median")
