"""Sources -> records: cleaned, clustered, split. The first verb.

In: sources. Out, in the verb's folder: `records.jsonl` (`Record`), `rejected.jsonl` (`RejectedRecord`) and
`manifest.json` with the counts. Must hold: read = kept + rejected, every rejection with its reason; near-duplicates
and charts of one group (patient) never stand in two splits; no group's value is written; record ids are unique; the
result does not depend on memory size, since text goes through a file between the two passes and only hashes are held.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chartdistill.clinical.vocabulary import mark_of
from chartdistill.errors import InputError
from chartdistill.records.annotations import annotations_sha256
from chartdistill.records.cleaning import Cleaned, clean
from chartdistill.records.erased import LEFT_OUT, say_left_out, was_erased
from chartdistill.records.gold import GoldFile, finish_gold
from chartdistill.records.groups import SPLIT_BY, check_groups, group_key, join_groups
from chartdistill.records.near_duplicates import ClusterBuilder, body_words
from chartdistill.records.sources import BAD_GROUP, AnySource, PrepareOptions, SourceEntry, with_own_names
from chartdistill.records.sources.dataset import CACHE_PREFIX
from chartdistill.runtime.run_folder import (
    RowWriter,
    begin,
    count_by,
    fingerprint,
    finished,
    read_rows,
    write_manifest,
)
from chartdistill.runtime.tombstones import ERASED, Tombstones
from chartdistill.schema import Item, Record, RejectedRecord, Row, Split, Task

Progress = Callable[[int, int | None], None]
"""Called with (entries done, all entries or None while that is not known)."""

RECORDS, REJECTED = "records.jsonl", "rejected.jsonl"
REFUSED = "refused.jsonl"
"""The rejections of a call of which no record was left; what was complete before it stays."""
_STAGED = ".staged.jsonl"
"""Cleaned entries between the two passes; removed at the end."""
_PROGRESS_EVERY = 200
_OF_FILES = " (of text files: rename one, or name the folder above both as one source)"
_HELD_OUT_FIRST: tuple[Split, ...] = ("test", "validation", "train")


class _StagedEntry(Row):
    """A cleaned entry between the two passes."""

    id: str
    source: str
    text: str
    segments: tuple[tuple[int, int, int], ...]
    gold: dict[str, tuple[Item, ...]] | None


@dataclass
class _Candidate:
    """What is held in memory of a staged entry."""

    id: str
    source: str
    body: str
    """Hash of its words."""
    split: Split | None
    """Forced by its source."""
    worth: tuple[bool, int]
    """Which of several duplicates to keep: one with gold, then the longest."""
    group: str | None
    """Hash of its group's value."""
    rejected: tuple[str, str] | None = None
    """(reason, detail)."""


def prepare(
    sources: Sequence[AnySource],
    folder: Path,
    options: PrepareOptions,
    progress: Progress | None = None,
    tasks: Sequence[Task] = (),
) -> dict[str, Any]:
    """Write the records of all sources into `folder`; returns the manifest. Does nothing when that was done before.

    `tasks`: for gold that comes in a file of its own, which is read for them.

    Raises:
        InputError: a source is missing or unreadable as a whole, or no record is left.
        ArtefactError: the folder cannot be written, or the disk is full.
    """
    sources = with_own_names(sources)
    described = [source.model_dump(mode="json") for source in sources]
    golds = [source.gold for source in sources if source.gold is not None]
    gold_state = [annotations_sha256(gold.path) if gold.path.exists() else None for gold in golds]
    state = fingerprint(
        "prepare", version("chartdistill"), options.model_dump(), described, [s.stamp() for s in sources],
        *([gold_state, [task.model_dump() for task in tasks], *filter(None, [mark_of(tasks)])] if golds else []),
    )  # fmt: skip
    erased = Tombstones.of(folder.parent)
    if (done := finished(folder, state)) is not None and done.get(ERASED) == erased.facts():
        return done
    started = begin(folder)
    _remove_leftovers(folder)
    with RowWriter(folder / REJECTED, refused=folder / REFUSED) as rejected, RowWriter(folder / RECORDS) as records:
        first_pass = _FirstPass(options, rejected, progress, erased)
        try:
            with RowWriter(folder / _STAGED) as staged:
                gold_files = [None if one.gold is None else GoldFile(one.gold, tasks) for one in sources]
                for source, gold in zip(sources, gold_files, strict=True):
                    first_pass.take(source, source.read(options.max_bytes, folder), staged, gold)
            near = first_pass.bodies.clusters()
            clusters = join_groups(near, ((c.body, c.group) for c in first_pass.candidates if c.group is not None))
            splits = _reject_crossing(first_pass.candidates, clusters, near, options)
            ids = _reject_duplicates(first_pass.candidates) if options.keep_duplicates == "one" else {}
            kept = _write_records(folder / _STAGED, records, first_pass, clusters, splits, ids)
        finally:
            (folder / _STAGED).unlink(missing_ok=True)
        counts = first_pass.counts(kept, clusters, splits) | {
            "passed_over": sum(source.passed_over().total() for source in sources)
        }
        _require_some(folder, counts)
        gold_facts = finish_gold(gold_files, folder, first_pass.rejected, erased)
    (folder / REFUSED).unlink(missing_ok=True)
    by_group = any(candidate.group is not None for candidate in first_pass.candidates)
    counts |= _group_counts(kept, near, clusters) if by_group else {}
    facts: dict[str, Any] = {"counts": counts, "options": options.model_dump(), "sources": described, **gold_facts}
    if erased:
        facts[ERASED] = erased.facts()
        say_left_out(counts["by_reason"].get(ERASED, 0), folder.parent)
    facts[SPLIT_BY] = "group" if by_group else "near_duplicates"
    return write_manifest(folder, state, started, **facts, versions={"chartdistill": version("chartdistill")})


def _require_some(folder: Path, counts: dict[str, Any]) -> None:
    """That all entries are accounted for and some became records."""
    if counts["read"] != counts["kept"] + counts["rejected"]:
        raise AssertionError(f"prepare lost entries: {counts}")
    if not counts["kept"]:
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts["by_reason"].items())
        raise InputError(
            f"none of the {counts['read']} entries became a record ({reasons or 'the sources are empty'}). "
            f"See {folder / REFUSED} for each, then change the sources or the limits under `prepare`."
        )


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left half written: it holds record text, and no later run reads it."""
    (folder / _STAGED).unlink(missing_ok=True)
    for path in folder.glob(f"{CACHE_PREFIX}*"):
        shutil.rmtree(path)


class _FirstPass:
    """Reads, cleans and stages entries; counts everything."""

    def __init__(
        self, options: PrepareOptions, rejected: RowWriter, progress: Progress | None, erased: Tombstones
    ) -> None:
        self._erased = erased
        self.bodies = ClusterBuilder()
        self.candidates: list[_Candidate] = []
        self.reasons: list[str] = []
        self._options = options
        self._rejected = rejected
        self._progress = progress
        self._sources_of_ids: dict[str, str] = {}
        self._num_read = 0
        self._cleaned: Counter[str] = Counter()
        self._encodings: Counter[str] = Counter()
        self._repaired = 0
        self.rejected: dict[str, str] = {}
        """Id -> why it became no record."""

    def take(
        self,
        source: AnySource,
        entries: Iterator[SourceEntry | RejectedRecord],
        staged: RowWriter,
        gold_file: GoldFile | None = None,
    ) -> None:
        """All entries of one source, with the gold of its `gold_file`.

        Raises:
            InputError: the source names a group that no entry has, or its ids show the groups.
        """
        grouped = shown = taken = bad = 0
        for entry in entries:
            self._num_read += 1
            if self._progress is not None and self._num_read % _PROGRESS_EVERY == 0:
                self._progress(self._num_read, None)
            if isinstance(entry, SourceEntry):  # of what was erased, too: the source is the one that was accepted
                grouped, shown = grouped + (entry.group is not None), shown + entry.id_shows_group
            if was_erased(entry, self._erased):
                self._rejected.write(LEFT_OUT)
                self.reasons.append(LEFT_OUT.reason)
                continue
            if isinstance(entry, RejectedRecord):
                self.reject(entry)
                bad += entry.reason == BAD_GROUP
                continue
            taken += 1
            self._encodings[entry.encoding] += 1
            self._repaired += entry.repaired
            cleaned = clean(entry.text)
            self._cleaned.update(cleaned.removed)
            problem = self._problem(entry, cleaned)
            if problem is not None:
                self.reject(RejectedRecord(source=entry.source, id=entry.id, reason=problem[0], detail=problem[1]))
                continue
            self._sources_of_ids[entry.id] = entry.source
            body = self.bodies.add(cleaned.text)
            gold = (
                entry.gold if gold_file is None else gold_file.of_record(entry.id, body, cleaned.text, entry.filed_as)
            )
            worth = (bool(gold), len(cleaned.text))
            group = None if entry.group is None else group_key(entry.group)
            self.candidates.append(_Candidate(entry.id, entry.source, body, entry.split, worth, group))
            staged.write(
                _StagedEntry(id=entry.id, source=entry.source, text=cleaned.text, segments=cleaned.segments, gold=gold)
            )
        if source.grouped_by() is not None:
            check_groups(source, taken, bad, grouped, shown)

    def reject(self, row: RejectedRecord) -> None:
        """Write one rejection."""
        self._rejected.write(row)
        self.reasons.append(row.reason)
        if row.id is not None:
            self.rejected.setdefault(row.id, row.reason)

    def report(self, done: int) -> None:
        """Tell how many staged entries the second pass has written."""
        total = len(self.candidates)
        if self._progress is not None and (done % _PROGRESS_EVERY == 0 or done == total):
            self._progress(done, total)

    def counts(self, kept: list[_Candidate], clusters: dict[str, str], splits: dict[str, Split]) -> dict[str, Any]:
        """The manifest's counts."""
        kept_clusters = [clusters[candidate.body] for candidate in kept]
        by_reason = count_by(self.reasons)
        return {
            "read": self._num_read,
            "kept": len(kept),
            "rejected": len(self.reasons),
            "by_reason": by_reason,
            "by_split": {
                split: sum(splits[c] == split for c in kept_clusters) for split in ("train", "validation", "test")
            },
            "clusters": len(set(kept_clusters)),
            "duplicates": len(self.candidates) - len({candidate.body for candidate in self.candidates}),
            "cleaned": dict(self._cleaned.most_common()),
            "decoded_as": dict(self._encodings.most_common()),
            "repaired_bytes": self._repaired,
        }

    def _problem(self, entry: SourceEntry, cleaned: Cleaned) -> tuple[str, str] | None:
        if entry.id in self._sources_of_ids:
            first = self._sources_of_ids[entry.id]
            return "duplicate_id", f"{first} has this id already; give one of the two another id{_OF_FILES}"
        num_words = len(body_words(cleaned.text))
        if num_words < self._options.min_words:
            limit = self._options.min_words
            return "too_short", f"{num_words} words after cleaning; at least {limit} are asked for: see min_words"
        return None


def cluster_split(cluster: str, options: PrepareOptions) -> Split:
    """The split of a cluster: its sha256 as a number in [0, 1), cut at the fractions. Other records play no part."""
    position = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:8]) / 2**64
    if position < options.test_fraction:
        return "test"
    return "validation" if position < options.test_fraction + options.validation_fraction else "train"


def _group_counts(kept: list[_Candidate], near: dict[str, str], clusters: dict[str, str]) -> dict[str, int]:
    """Of kept records: groups, those without one, clusters before groups joined them, and the largest joined one."""
    return {
        "groups": len({candidate.group for candidate in kept if candidate.group is not None}),
        "without_group": sum(candidate.group is None for candidate in kept),
        "near_duplicate_clusters": len({near[candidate.body] for candidate in kept}),
        "largest_cluster": max(Counter(clusters[candidate.body] for candidate in kept).values(), default=0),
    }


def _reject_crossing(
    candidates: list[_Candidate], clusters: dict[str, str], near: dict[str, str], options: PrepareOptions
) -> dict[str, Split]:
    """The split of each cluster. Where sources force several, the most held out wins and the others' records go.

    `near`: body -> cluster before groups joined them, which tells why a record goes.
    """
    forced: dict[str, Split] = {}
    for candidate in candidates:
        cluster = clusters[candidate.body]
        if candidate.split is not None:
            forced[cluster] = min(candidate.split, forced.get(cluster, "train"), key=_HELD_OUT_FIRST.index)
    given = {(near[candidate.body], candidate.split) for candidate in candidates}
    splits = {cluster: forced.get(cluster) or cluster_split(cluster, options) for cluster in set(clusters.values())}
    for candidate in candidates:
        split = splits[clusters[candidate.body]]
        if candidate.split not in (None, split):
            alike = (near[candidate.body], split) in given
            what = "a near-duplicate of it" if alike else "another chart of its group, or of one joined to it,"
            candidate.rejected = (
                "crosses_split" if alike else "group_crosses_split",
                f"its source puts it in {candidate.split}, but {what} is in {split}",
            )
    return splits


def _reject_duplicates(candidates: list[_Candidate]) -> dict[str, str]:
    """Keep one record of each body: the worthiest text under the first id. Returns own id -> id to file it under, of
    the record and of the rejection that gets the id which the record left: each id that was read stands once."""
    groups: dict[str, list[_Candidate]] = {}
    for candidate in candidates:
        if candidate.rejected is None:
            groups.setdefault(candidate.body, []).append(candidate)
    ids: dict[str, str] = {}
    for group in groups.values():
        kept = max(group, key=lambda candidate: candidate.worth)
        ids[kept.id], ids[group[0].id] = group[0].id, kept.id
        for candidate in group:
            if candidate is not kept:
                candidate.rejected = (
                    "duplicate",
                    f"same words as {kept.source}, which is kept as record {group[0].id}",
                )
    return ids


def _write_records(
    staging: Path,
    records: RowWriter,
    first_pass: _FirstPass,
    clusters: dict[str, str],
    splits: dict[str, Split],
    ids: dict[str, str],
) -> list[_Candidate]:
    """The second pass: staged entries -> records or rejections. Returns the kept ones."""
    kept = []
    staged = read_rows(staging, _StagedEntry)
    for done, (candidate, entry) in enumerate(zip(first_pass.candidates, staged, strict=True), 1):
        first_pass.report(done)
        if candidate.rejected is not None:
            reason, detail = candidate.rejected
            own = ids.get(candidate.id, candidate.id)
            first_pass.reject(RejectedRecord(source=candidate.source, id=own, reason=reason, detail=detail))
            continue
        kept.append(candidate)
        cluster = clusters[candidate.body]
        records.write(
            Record(
                id=ids.get(entry.id, entry.id),
                source=entry.source,
                text=entry.text,
                cluster=cluster,
                split=splits[cluster],
                segments=entry.segments,
                gold=entry.gold,
            )
        )
    return kept
