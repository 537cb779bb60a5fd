"""Do the records the arms are scored on have anything in common with the records the student learned from?

In: records learned from, records scored. Out: counts, never text. Clusters already keep near-duplicates on one side of
the split; here the texts themselves are compared, all with all, without the shortcuts a search for clusters takes.

- `same_text`: records with the same words, in the same order.
- `near_duplicates`: records that share at least 80% of their 5-word runs with one training record (template text
  counts here, so a printed form shows up too).
- `longest_run`: the longest run of words that a scored and a training record share, and how many scored records share
  at least 10, 20, 50 words in a row with one. Compared by 64-bit hashes; the longest is checked word by word.
- `gold`: of the gold items of the records scored, how many have a key (what items are matched by) that a gold item of
  the same task in a record learned from has too: names that a student may know by heart.
- `naive_leak`: how many scored records would have a near-duplicate in training if records had been split at random.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chartdistill.clinical.entities import entity_of
from chartdistill.errors import ConfigError
from chartdistill.metrics import ALL_TASKS
from chartdistill.records import SHINGLE_WORDS, body_words, cluster_records
from chartdistill.runtime.run_folder import count_by, read_rows
from chartdistill.schema import Record, RejectedRecord, Task

NEAR_SHARE = 0.8
RUN_WORDS = (10, 20, 50)

_Hashes = NDArray[np.uint64]
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FINISH = np.uint64(0xBF58476D1CE4E5B9)


def find_contamination(trained: Sequence[Record], scored: Sequence[Record]) -> dict[str, Any]:
    """What records scored have in common with records learned from; see the module."""
    words = [[body_words(record.text) for record in side] for side in (trained, scored)]
    bodies = {" ".join(body) for body in words[0]}
    texts = _Texts.of(words[0], words[1])
    shares = _largest_shares(texts)
    length, pair = _longest_run(texts)
    ids = {record.id for record in trained}
    clusters = {record.cluster for record in trained}
    return {
        "trained": len(trained),
        "scored": len(scored),
        "same_id": sum(record.id in ids for record in scored),
        "same_cluster": sum(record.cluster in clusters for record in scored),
        "same_text": sum(" ".join(body) in bodies for body in words[1]),
        "near_duplicates": sum(share >= NEAR_SHARE for share in shares),
        "largest_share": max(shares, default=None),
        "longest_run": {
            "words": length,
            "scored_record": None if pair is None else scored[pair[1]].id,
            "trained_record": None if pair is None else trained[pair[0]].id,
            "records_by_words": {str(size): len(texts.scored_with_run(size)) for size in RUN_WORDS},
        },
    }


def example_records(tasks: Sequence[Task]) -> list[Record]:
    """The worked examples that prompts of the run had, as records: what they say was seen as training records are."""
    charts = tasks[0].shown_charts if tasks else ()
    return [
        Record(id=f"worked example {n}", source="", text=chart, cluster=f"example {n}", split="train", segments=())
        for n, chart in enumerate(charts)
    ]


def ids_seen(known: Sequence[Record], records: Sequence[Record]) -> list[str]:
    """Of `records`, the ids of those that are, or are near-duplicates of, a known one."""
    clusters = cluster_records(record.text for record in (*known, *records))
    seen = set(clusters[: len(known)])
    return [one.id for one, cluster in zip(records, clusters[len(known) :], strict=True) if cluster in seen]


def refuse_shown_records(records: Sequence[Record], tasks: Sequence[Task]) -> None:
    """Refuse worked examples that are held-out records, or near-duplicates of one.

    Raises:
        ConfigError: the records, by id.
    """
    examples = example_records(tasks)
    if not examples:
        return
    if leaked := ids_seen(examples, records):
        raise ConfigError(
            f"examples: {len(leaked)} of {len(records)} held-out records are worked examples of a task file, or near-"
            f"duplicates of one ({', '.join(leaked[:5])}): a score on them would be worthless. Take other charts as "
            "examples, or leave these records out."
        )


def find_gold_overlap(trained: Sequence[Record], scored: Sequence[Record], tasks: Sequence[Task]) -> dict[str, Any]:
    """Task, and `all` -> how much of the scored gold is also trained gold; tasks without either are left out."""
    found: dict[str, Counter[str]] = {}
    for task in tasks:
        known, asked = _gold_keys(trained, task), _gold_keys(scored, task)
        if asked and any(task.name in (record.gold or {}) for record in trained):
            found[task.name] = Counter(
                items=asked.total(),
                items_known=sum(number for key, number in asked.items() if key in known),
                names=len(asked),
                names_known=len(asked.keys() & known.keys()),
            )
    if found:
        found[ALL_TASKS] = sum(found.values(), Counter())
    parts = ("items", "items_known", "names", "names_known")
    return {task: {part: counts[part] for part in parts} for task, counts in found.items()}


def _gold_keys(records: Sequence[Record], task: Task) -> Counter[str]:
    entity = entity_of(task)
    return Counter(entity.key(item.text) for record in records for item in (record.gold or {}).get(task.name, ()))


@dataclass(frozen=True)
class _Texts:
    """All texts end to end as word numbers, those learned from first; every text ends with a number of its own."""

    words: _Hashes
    owner: NDArray[np.int64]
    num_trained: int
    num_texts: int

    @classmethod
    def of(cls, trained: Sequence[Sequence[str]], scored: Sequence[Sequence[str]]) -> _Texts:
        numbers: dict[str, int] = {}
        flat: list[int] = []
        owner: list[int] = []
        texts = [*trained, *scored]
        for number, text in enumerate(texts):
            flat += [numbers.setdefault(word, len(numbers)) for word in text]
            flat.append(-1 - number)
            owner += [number] * (len(text) + 1)
        mixed = _mix(np.asarray(flat, dtype=np.int64).astype(np.uint64))
        return cls(mixed, np.asarray(owner, dtype=np.int64), len(trained), len(texts))

    def runs(self, size: int) -> _Hashes:
        """The hash of the run of `size` words that begins at each place: two overlapping runs of a power of two."""
        power, hashes = 1, self.words
        while 2 * power <= size:
            hashes = _mix(hashes[: len(hashes) - power] * _MULTIPLIER + hashes[power:])
            power *= 2
        rest = size - power
        if rest:
            hashes = _mix(hashes[: len(hashes) - rest] * _MULTIPLIER + hashes[rest:])
        return hashes

    def shared(self, size: int) -> tuple[_Hashes, NDArray[np.int64], NDArray[np.int64]]:
        """Runs of `size` words, and the places where a run of a trained and of a scored text are the same."""
        runs = self.runs(size) if size <= len(self.words) else np.empty(0, np.uint64)
        split = int(np.searchsorted(self.owner, self.num_trained))
        first, second = runs[:split], runs[split:]
        return (
            runs,
            np.flatnonzero(np.isin(first, second)),
            split + np.flatnonzero(np.isin(second, first)),
        )

    def scored_with_run(self, size: int) -> set[int]:
        """Scored texts that share a run of `size` words with a trained one."""
        return set(self.owner[self.shared(size)[2]].tolist())


def _mix(values: _Hashes) -> _Hashes:
    mixed: _Hashes = (values ^ (values >> np.uint64(29))) * _FINISH
    return mixed ^ (mixed >> np.uint64(32))


def _longest_run(texts: _Texts) -> tuple[int, tuple[int, int] | None]:
    """Words of the longest shared run, and which trained and scored text share it. By bisection: a shared run of n
    words holds a shared run of n - 1."""
    low, high = 0, max(Counter(texts.owner.tolist()).values(), default=1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(texts.shared(middle)[2]) else (low, middle)
    if low == 0:
        return 0, None
    runs, trained, scored = texts.shared(low)
    places = {int(runs[place]): int(place) for place in trained}
    for place in scored.tolist():
        other = places[int(runs[place])]
        if np.array_equal(texts.words[other : other + low], texts.words[place : place + low]):
            return low, (int(texts.owner[other]), int(texts.owner[place]) - texts.num_trained)
    raise AssertionError("two runs of words have the same 64-bit hash and are not the same")


def _largest_shares(texts: _Texts) -> list[float]:
    """For each scored text, the largest share of its (or the trained text's, if smaller) 5-word runs in one trained
    text; 0 for a text of fewer words."""
    if len(texts.words) < SHINGLE_WORDS:
        return [0.0] * (texts.num_texts - texts.num_trained)
    runs = texts.runs(SHINGLE_WORDS)
    own = texts.owner[: len(runs)]
    inside = own == texts.owner[SHINGLE_WORDS - 1 :]
    pairs = np.unique(np.stack([own[inside].astype(np.uint64), runs[inside]]), axis=1)
    sizes = np.bincount(pairs[0].astype(np.int64), minlength=texts.num_texts)
    holders: dict[int, list[int]] = defaultdict(list)
    found = [0.0] * (texts.num_texts - texts.num_trained)
    for number, of in groupby(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True), itemgetter(0)):
        if number < texts.num_trained:
            for _, run in of:
                holders[run].append(number)
            continue
        # One text at a time: a printed form is shared by all with all.
        shared = Counter(other for _, run in of for other in holders.get(run, ()))
        found[number - texts.num_trained] = max(
            (count / min(int(sizes[number]), int(sizes[other])) for other, count in shared.items()), default=0.0
        )
    return found


def naive_leak(cluster_sizes: Sequence[int], num_trained: int) -> float | None:
    """The share of held-out records that have a cluster mate in training when single records are split at random.

    Expected value, exact: with N records of which n are drawn for training, a held-out record of a cluster of s has
    no mate among them with probability C(N - s, n) / C(N - 1, n). `cluster_sizes`: one entry per cluster, summing
    to N. None when nothing is trained on, or nothing held out.
    """
    total = sum(cluster_sizes)
    if not 0 < num_trained < total:
        return None
    safe: dict[int, float] = {}
    for size in set(cluster_sizes):
        # C(N - s, n) / C(N - 1, n) = product over the s - 1 mates of (N - n - j) / (N - j), j = 1 ... s - 1
        factors = [max(0, total - num_trained - j) / (total - j) for j in range(1, size)]
        safe[size] = float(np.prod(factors)) if factors else 1.0
    return 1 - sum(size * safe[size] for size in cluster_sizes) / total


def find_naive_leak(run_dir: Path) -> dict[str, Any]:
    """What splitting single entries at random, at the same sizes, would have put on both sides.

    Duplicates that `prepare` dropped count with their cluster: a naive split would have kept them.
    """
    records = list(read_rows(run_dir / "records" / "records.jsonl", Record))
    clusters = {record.id: record.cluster for record in records}
    sizes = count_by(record.cluster for record in records)
    dropped = 0
    for row in read_rows(run_dir / "records" / "rejected.jsonl", RejectedRecord):
        if row.kept_as is not None and row.kept_as in clusters:
            sizes[clusters[row.kept_as]] += 1
            dropped += 1
    share = sum(record.split == "train" for record in records) / len(records)
    total = len(records) + dropped
    return {
        "entries": total,
        "dropped_duplicates": dropped,
        "clusters": len(sizes),
        "expected_leak": naive_leak(list(sizes.values()), round(share * total)),
    }
