"""What a record's id, or a group's value, stands for in a run folder: records, copies of them, adapters.

In: the folder of a run, or of a study with its runs, and the names a person gave. Out: the records to erase, what the
search must not find of them, and the adapters that learned from them. Nothing is changed here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from chartdistill.erasure.elsewhere import rows_elsewhere
from chartdistill.erasure.search import strings
from chartdistill.errors import ArtefactError, InputError
from chartdistill.evaluation.formats.brat import hashed_name, record_of
from chartdistill.records import AnySource, SourceEntry, body_hash, clean
from chartdistill.records.sources.entry import group_text
from chartdistill.runtime.run_folder import read_manifest, read_rows
from chartdistill.runtime.tombstones import Tombstones
from chartdistill.schema import Record, RejectedRecord, Split, TrainExample

RECORDS, REJECTED = "records.jsonl", "rejected.jsonl"
_NEAR = 3
_SOURCES: TypeAdapter[list[AnySource]] = TypeAdapter(list[AnySource])


@dataclass
class Target:
    """One record to erase."""

    id: str
    source: str = ""
    split: Split | None = None
    words: set[str] = field(default_factory=set)
    """`body_hash` of each text that goes by this id."""
    clusters: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    """Of its charts that stand in no records/."""

    @property
    def by_place(self) -> bool:
        """Whether its id is only its place in a file: `charts:17`, of the source `charts.jsonl:17`."""
        path, _, row = self.source.rpartition(":")
        return bool(path) and row.isdigit() and self.id == f"{Path(path).stem}:{row}"


def homes_of(folder: Path) -> list[Path]:
    """The run folders in a folder: itself, and those of a study. Links are left out: they lead to another of them.

    Raises:
        ArtefactError: there is none.
    """
    found = sorted({path.parent.parent for path in folder.rglob(RECORDS) if path.parent.name == "records"
                    and not path.parent.is_symlink() and not path.is_symlink()})  # fmt: skip
    if not found:
        raise ArtefactError(
            f"{folder} is no run folder: nothing below it is a records/{RECORDS}. Name the folder that `run` or "
            "`study` wrote to."
        )
    return found


def runs_in(folder: Path) -> list[Path]:
    """All folders in a folder that have a stage of a run, those of a study that take their records from another."""
    stages = ("labels", "curated", "predictions")
    return sorted({path.parent for name in stages for path in folder.rglob(name) if path.is_dir()})


def records_in(homes: Sequence[Path]) -> Iterator[Record]:
    """All records of some run folders, one at a time."""
    for home in homes:
        yield from read_rows(home / "records" / RECORDS, Record)


def find_targets(
    folder: Path, homes: Sequence[Path], ids: Sequence[str], groups: Sequence[str]
) -> tuple[dict[str, Target], list[str]]:
    """The records that some ids and groups stand for, and those ids that are unknown here.

    A chart that was left out as a duplicate stands in the run as the record with its words, which then goes too; so
    does what stands under an id, or has a record's words, in files that no stage reads.
    """
    wanted = {*ids, *(one for home in homes for one in _ids_of_groups(home, groups))}
    rejected = [row for home in homes for row in _rejected(home)]
    kept_as = {row.id: row.kept_as for row in rejected if row.id is not None and row.kept_as is not None}
    wanted |= {kept_as[one] for one in wanted if one in kept_as}
    copies = {row.id: row for row in rejected if row.id is not None and (row.id in wanted or row.kept_as in wanted)}
    targets = {name: Target(name, row.source) for name, row in copies.items()}
    for record in records_in(homes):
        if record.id in wanted:
            _add(targets.setdefault(record.id, Target(record.id)), record)
    for home in homes:  # of records that were prepared before, and whose examples are still there
        for example in _examples(home):
            if example.record in wanted and example.record not in targets:
                targets[example.record] = Target(example.record, split=example.split)
    _add_elsewhere(folder, homes, wanted, targets)
    return targets, [one for one in ids if one not in targets]


def _add_elsewhere(folder: Path, homes: Sequence[Path], wanted: set[str], targets: dict[str, Target]) -> None:
    words = {body for target in targets.values() for body in target.words}
    others = {record.id for record in records_in(homes)} - targets.keys()
    hashed = {hashed_name(one): one for one in wanted | targets.keys()}
    for row in rows_elsewhere(folder, homes):
        name = next((one for one in row.names if one in wanted or one in targets), None)
        name = name or next(filter(None, (record_of(one, hashed) for one in row.names)), None)
        body = row.body
        if name is None and body in words and row.names[0] not in others:
            name = row.names[0]
        if name is not None:
            target = targets.setdefault(name, Target(name, row.source))
            if body is not None and body not in words | target.words:
                target.words.add(body)
                target.texts.append(row.text or "")


def _add(target: Target, record: Record) -> None:
    target.source = target.source or record.source
    target.split = record.split if target.split in (None, record.split) else "train"
    target.words.add(body_hash(record.text))
    target.clusters.add(record.cluster)


def with_near_duplicates_of(folder: Path, homes: Sequence[Path], targets: dict[str, Target]) -> dict[str, Target]:
    """The records with those of the same clusters, which are near-duplicates or charts of one patient, and all that
    stands for one of these: entries that were left out as its duplicates, its words under another id."""
    return find_targets(folder, homes, [*targets, *near_duplicates(homes, targets)], ())[0]


def near_duplicates(homes: Sequence[Path], targets: dict[str, Target]) -> list[str]:
    """Ids of other records of the same clusters."""
    clusters = {cluster for target in targets.values() for cluster in target.clusters}
    others = (one.id for one in records_in(homes) if one.cluster in clusters and one.id not in targets)
    return list(dict.fromkeys(others))


def _rejected(home: Path) -> Iterator[RejectedRecord]:
    path = home / "records" / REJECTED
    if path.exists():
        yield from read_rows(path, RejectedRecord)


def _examples(home: Path) -> Iterator[TrainExample]:
    path = home / "curated" / "train.jsonl"
    if path.exists():
        yield from read_rows(path, TrainExample)


def _ids_of_groups(home: Path, groups: Sequence[str]) -> Iterator[str]:
    """Ids of all charts of some groups, read in the sources: a run folder holds no group's value.

    Raises:
        InputError: no source says whose chart an entry is, a source cannot be read, or a group has no chart.
    """
    if not groups:
        return
    manifest = read_manifest(home / "records") or {}
    try:
        sources = _SOURCES.validate_python(manifest.get("sources") or [])
    except ValidationError:
        sources = []
    grouped = [source for source in sources if source.grouped_by() is not None]
    if not grouped:
        if manifest.get("sources"):
            raise InputError(
                f"{home}: --group: none of its sources says whose chart an entry is (group_field, group_folder), so "
                "no record can be told by its group. Name the records: --record ID."
            )
        return  # a run of a study, made from the records of another one
    wanted = {group_key(group): group for group in groups}
    met: set[str] = set()
    for source in grouped:
        try:
            for entry in source.read():
                if isinstance(entry, SourceEntry) and entry.group in wanted:
                    met.add(entry.group or "")
                    yield entry.id
        except InputError as error:
            raise InputError(
                "--group: a run folder holds no group's value, so the sources are read again, and one cannot be: "
                f"{error} Or name the records: --record ID."
            ) from None
    if lacking := [name for key, name in wanted.items() if key not in met]:
        raise InputError(
            f"{home}: --group {lacking[0]!r}: no chart of its sources has this group. Where the charts are gone from "
            "there already, name the records: --record ID."
        )


def group_key(group: str) -> str:
    """A group's value as sources compare it.

    Raises:
        InputError: it stands for a missing value, or is no text.
    """
    try:
        found = group_text(group)
    except ValueError:
        raise InputError(f"--group {group!r} is not UTF-8; give the value as the source has it.") from None
    if found is None:
        raise InputError(f"--group {group!r} means nobody known; give a patient's number.")
    return found


def nearest(homes: Sequence[Path], name: str) -> list[str]:
    """Known ids like a name, the nearest first."""
    known = {record.id for record in records_in(homes)}
    known |= {row.id for home in homes for row in _rejected(home) if row.id is not None}
    folded = {one.casefold(): one for one in sorted(known)}
    found = difflib.get_close_matches(name.casefold().strip(), list(folded), n=_NEAR, cutoff=0.5)
    return [folded[one] for one in found]


@dataclass(frozen=True)
class Learned:
    """Which of the records an adapter has to do with."""

    folder: Path
    trained: tuple[str, ...]
    validated: tuple[str, ...]
    perhaps: tuple[str, ...] = ()
    """Of the training records, where the examples were made anew since the adapter was trained, without them."""

    def __bool__(self) -> bool:
        return bool(self.trained or self.validated or self.perhaps)


def adapters_in(folder: Path, targets: dict[str, Target]) -> list[Learned]:
    """The adapters of all runs in a folder, finished or not, that learned from some of the records."""
    found = []
    for home in sorted({path.parent for path in folder.rglob("adapter") if path.is_dir() and not path.is_symlink()}):
        by_split: dict[str, set[str]] = {"train": set(), "validation": set()}
        for example in _examples(home):
            if example.record in targets and example.split in by_split:
                by_split[example.split].add(example.record)
        perhaps: set[str] = set()
        if _older(home / "adapter", home / "curated"):
            perhaps = {name for name, one in targets.items() if one.split == "train"} - by_split["train"]
        trained, validated = (tuple(sorted(names)) for names in by_split.values())
        of = Learned(home / "adapter", trained, validated, tuple(sorted(perhaps)))
        if of:
            found.append(of)
    return found


def _older(adapter: Path, curated: Path) -> bool:
    """Whether an adapter was trained before its examples were last made, or they are gone."""
    trained, made = adapter / "manifest.json", curated / "manifest.json"
    if not trained.exists():
        return False
    # What `report` writes into the adapter's manifest later is no training: the weights' own time counts.
    weights = adapter / "adapter_model.safetensors"
    when = (weights if weights.exists() else trained).stat().st_mtime_ns
    return not made.exists() or made.stat().st_mtime_ns > when


def texts_of(homes: Sequence[Path], targets: dict[str, Target]) -> Iterator[str]:
    """The texts of the records; of those that are in no records/ any more, what examples and other files have."""
    known = set()
    for target in targets.values():
        yield from target.texts
    for record in records_in(homes):
        if record.id in targets:
            known.add(record.id)
            yield record.text
    for home in homes:
        yield from (row.prompt for row in _examples(home) if row.record in targets and row.record not in known)


def other_texts(folder: Path, homes: Sequence[Path], targets: dict[str, Target]) -> Iterator[str]:
    """What else is written in the folder and may share words: other records and their examples (of which some may be of
    records that are no more), charts in other files, questions, what the system is told."""
    words = {body for target in targets.values() for body in target.words}
    for row in rows_elsewhere(folder, homes):
        if row.text is not None and targets.keys().isdisjoint(row.names) and row.body not in words:
            yield clean(row.text).text
    yield from (record.text for record in records_in(homes) if record.id not in targets)
    for home in homes:
        yield from (row.prompt for row in _examples(home) if row.record not in targets)
    for path in (*folder.rglob("adapter/run.json"), *folder.rglob("curated/manifest.json")):
        try:
            yield from strings(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue


def erased_before(homes: Sequence[Path], name: str) -> str | None:
    """When a record of this id was erased; None where it was not."""
    found = [row for home in homes if (row := Tombstones.of(home).of_record(name)) is not None]
    return found[0].time if found else None
