"""Charts of one patient: on one side of every split, in one cluster, and never named."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from chartdistill.errors import InputError
from chartdistill.records import AnnotationFile, AnySource, split_in_words
from chartdistill.records.groups import join_groups
from chartdistill.records.prepare import prepare
from chartdistill.records.sources import FolderSource, JsonlSource, PrepareOptions, SyntheticSource, TableSource
from chartdistill.records.sources.entry import group_text
from chartdistill.runtime.run_folder import read_rows
from chartdistill.runtime.tombstones import Tombstone, Tombstones
from chartdistill.schema import Record, RejectedRecord, Task

OPTIONS = PrepareOptions(test_fraction=0.4, validation_fraction=0.2)


def words(seed: int | str, number: int = 60) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("bcdfghklmnprstaeiou", k=6)) for _ in range(number)) + "."


def jsonl(path: Path, *rows: dict[str, Any], **options: Any) -> JsonlSource:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonlSource(path=path, group_field="patient", **options)


def prepared(folder: Path, *sources: AnySource) -> tuple[dict[str, Any], dict[str, Record], list[RejectedRecord]]:
    manifest = prepare(sources, folder, OPTIONS)
    records = {record.id: record for record in read_rows(folder / "records.jsonl", Record)}
    return manifest, records, list(read_rows(folder / "rejected.jsonl", RejectedRecord))


def test_no_patient_is_on_two_sides_and_intervals_have_their_clusters(tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "text": words(i), "patient": f"p{i // 5}"} for i in range(200)]
    manifest, records, _ = prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows))
    splits: dict[str, set[str]] = {}
    clusters: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["patient"], set()).add(records[row["id"]].split)
        clusters.setdefault(row["patient"], set()).add(records[row["id"]].cluster)
    assert all(len(found) == 1 for found in (*splits.values(), *clusters.values()))
    assert len(set.union(*splits.values())) == 3, "the patients themselves are divided"
    counts = manifest["counts"]
    assert (counts["groups"], counts["without_group"], counts["clusters"]) == (40, 0, 40)
    assert (counts["near_duplicate_clusters"], counts["largest_cluster"]) == (200, 5)
    assert "by group (patient)" in split_in_words(manifest)


def test_a_chart_filed_for_two_patients_joins_them_and_what_is_joined_to_them(tmp_path: Path) -> None:
    copy = words("copied")
    rows = [
        {"id": "a", "text": words(1), "patient": "one"},
        {"id": "b", "text": copy, "patient": "one"},
        {"id": "c", "text": copy + " And a line more.", "patient": "two"},
        {"id": "d", "text": words(2), "patient": "two"},
        {"id": "e", "text": words(2).replace(".", " indeed."), "patient": None},
        {"id": "f", "text": words(3), "patient": "three"},
    ]
    found = []
    for name, order in (("there", rows), ("back", rows[::-1])):
        _, records, _ = prepared(tmp_path / name, jsonl(tmp_path / "a.jsonl", *order))
        assert len({records[name].cluster for name in "abcde"}) == 1
        assert records["f"].cluster != records["a"].cluster
        found.append({name: record.cluster for name, record in records.items()})
    assert found[0] == found[1], "the order plays no part"


def test_a_chain_of_groups_and_clusters_is_one(tmp_path: Path) -> None:
    links = [(f"body{i}", f"g{i + side}") for i in range(300) for side in (0, 1)]
    random.Random(0).shuffle(links)
    clusters = {f"body{i}": f"c{i}" for i in range(400)}
    joined = join_groups(clusters, links)
    assert len({joined[f"body{i}"] for i in range(300)}) == 1
    assert len(set(joined.values())) == 101
    assert joined == join_groups(clusters, reversed(links))


def test_one_patient_of_two_sources_is_one_however_the_number_was_stored(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text(
        f'id,text,patient\nt1,"{words("t1")}",1001.0\nt2,"{words("t2")}",\nt3,"{words("t3")}",0077\n'
    )
    rows = [
        {"id": "j1", "text": words("j1"), "patient": 1001},
        {"id": "j2", "text": words("j2"), "patient": " 1001 "},
        {"id": "j3", "text": words("j3"), "patient": "77"},
    ]
    table = TableSource(path=tmp_path / "notes.csv", group_field="patient")
    _, records, _ = prepared(tmp_path / "out", table, jsonl(tmp_path / "a.jsonl", *rows))
    assert records["t1"].cluster == records["j1"].cluster == records["j2"].cluster
    assert len({record.cluster for record in records.values()}) == 4, "0077 is not 77, and no number is nobody's"


@pytest.mark.parametrize(
    "value",
    [
        None, "", "  ", float("nan"), "NaN", "N/A", "null", "<NA>", "None", "unknown", "-", "N.A.", "(blank)",
        "Not  Available", "Missing", " \u200b", "\ufeff", ".", "___", "?!",
    ],
)  # fmt: skip
def test_what_stands_for_nothing_makes_no_group(value: object) -> None:
    assert group_text(value) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P17", "p17 "), (17, "17.0"), (17.0, "17"), ("\uff11\uff17", "17"), ("A-1", "a-1"),
        ("17", "\ufeff17"), ("17", "1\u200b7"), ("17", "17\x00"), ("17", "\u00ad17\t"), ("17.0", "17.0\u200d"),
        ("A-1", "A\u20111"), ("A-1", "A\u20131"), ("Ode, Mara", "ODE,\u00a0 Mara"), ("Ode\tMara", "Ode Mara"),
        ("Stra\u00dfe", "STRASSE"), ("Jos\u00e9", "Jose\u0301"), ("\u01f0", "J\u030c"),
    ],
)  # fmt: skip
def test_the_same_patient_in_other_letters(one: object, other: object) -> None:
    assert group_text(one) == group_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("007", "7"), ("A1", "A-1"), ("17.5x", "17"), ("no", "none at all"), ("1 7", "17"), ("n.a.1", "1")],
)
def test_other_patients(one: object, other: object) -> None:
    assert group_text(one) != group_text(other)


def test_charts_without_a_group_stand_alone_and_are_counted(tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "text": words(i), **({"patient": "p1"} if i < 2 else {})} for i in range(6)]
    manifest, records, _ = prepared(
        tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows, {"id": "odd", "text": words(9), "patient": [1]})
    )
    assert (manifest["counts"]["groups"], manifest["counts"]["without_group"]) == (1, 4)
    assert len({record.cluster for record in records.values()}) == 5
    assert manifest["counts"]["by_reason"] == {"bad_group": 1}
    assert "4 charts have no group" in split_in_words(manifest)


def test_given_splits_that_part_a_patient_are_findings_with_their_own_reason(tmp_path: Path) -> None:
    rows = [
        {"id": "test", "text": words(1), "patient": "one", "split": "test"},
        {"id": "train", "text": words(2), "patient": "one", "split": "train"},
        {"id": "free", "text": words(3), "patient": "one"},
        {"id": "copy", "text": words(1) + " More.", "patient": "two", "split": "train"},
        {"id": "other", "text": words(4), "patient": "two", "split": "validation"},
        {"id": "fine", "text": words(5), "patient": "three", "split": "train"},
    ]
    _, records, rejected = prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows, split_field="split"))
    assert {name: record.split for name, record in records.items()} == {"test": "test", "free": "test", "fine": "train"}
    assert {row.id: row.reason for row in rejected} == {
        "train": "group_crosses_split", "copy": "crosses_split", "other": "group_crosses_split"
    }  # fmt: skip


def test_a_field_that_no_row_has_is_refused_not_taken_for_a_split_by_patient(tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "text": words(i), "patient_id": i} for i in range(4)]
    with pytest.raises(InputError, match=r"group_field: patient: none of the 4 entries has one"):
        prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows))
    (tmp_path / "a.csv").write_text("id,text\n1,abc\n")
    with pytest.raises(InputError, match=r"no column 'patient'.*`group_field`"):
        list(TableSource(path=tmp_path / "a.csv", group_field="patient").read())
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.txt").write_text(words(1))
    with pytest.raises(InputError, match="group_folder: 1: none"):
        prepared(tmp_path / "out", FolderSource(path=tmp_path / "flat", group_folder=1))


@pytest.mark.parametrize(("place", "clusters"), [(1, 2), (2, 2), (-1, 3)])
def test_a_folder_on_the_way_is_the_patient(tmp_path: Path, place: int, clusters: int) -> None:
    names = ["2023/Quillfeather/a.txt", "2024/Quillfeather/c.txt", "2024/Roe/d.txt", "2024/Roe/2/e.txt"]
    for name in names:
        (tmp_path / "charts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "charts" / name).write_text(words(name))
    manifest, records, _ = prepared(tmp_path / "out", FolderSource(path=tmp_path / "charts", group_folder=place))
    assert len({record.cluster for record in records.values()}) == clusters
    assert manifest["counts"]["without_group"] == 0


def test_the_patient_is_named_nowhere_but_in_the_path(tmp_path: Path) -> None:
    for name in ("Quillfeather/Quillfeather_1.txt", "Quillfeather/2.txt", "Roe/1.txt", "Roe/same.txt"):
        (tmp_path / "charts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "charts" / name).write_text(words("same" if name.startswith("Roe") else name))
    _, records, _ = prepared(tmp_path / "out", FolderSource(path=tmp_path / "charts", group_folder=1))
    assert len(records) == 3
    for record in records.values():
        assert "quillfeather" not in record.model_copy(update={"source": ""}).line().casefold()
    assert "quillfeather" not in (tmp_path / "out" / "manifest.json").read_text().casefold()
    again = prepared(tmp_path / "again", FolderSource(path=tmp_path / "charts", group_folder=1))[1]
    assert list(again) == list(records), "ids are the same each time"
    (tmp_path / "charts" / "Aab").mkdir()
    (tmp_path / "charts" / "Aab" / "1.txt").write_text(words("new"))
    more = prepared(tmp_path / "more", FolderSource(path=tmp_path / "charts", group_folder=1))[1]
    assert set(records) < set(more), "a patient more changes no other's id"


def test_values_of_fields_are_written_nowhere_and_ids_that_hold_them_are_refused(tmp_path: Path) -> None:
    rows = [{"id": f"note-{i}", "text": words(i), "patient": f"Quillfeather{i % 3}"} for i in range(9)]
    prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows))
    assert not [p for p in (tmp_path / "out").iterdir() if "quillfeather" in p.read_text().casefold()]
    telling = [row | {"id": f"{row['patient'].upper()}-{i}"} for i, row in enumerate(rows)]
    with pytest.raises(InputError, match="9 of 9 record ids hold the value") as error:
        prepared(tmp_path / "no", jsonl(tmp_path / "b.jsonl", *telling))
    assert "uillfeather" not in str(error.value)
    allowed = jsonl(tmp_path / "b.jsonl", *telling, ids_show_group=True)
    assert len(prepared(tmp_path / "yes", allowed)[1]) == 9
    unnamed = jsonl(tmp_path / "b.jsonl", *telling, id_field="none")
    assert "b:1" in prepared(tmp_path / "rows", unnamed)[1]


@pytest.mark.parametrize(
    ("patient", "record_id"),
    [
        ("MRN00{}77123", "MRN00{}77123n1"), ("10{}0023", "10{}002320240101"), ("Quill{}mark", "note_quill{}mark2"),
        ("77-{}-1", "v77\u2011{}\u20111"), ("P{}4-9", "P\u200b{}4-9"), ("{}9", "{}9-4"),
    ],
)  # fmt: skip
def test_ids_that_hold_a_patient_within_a_longer_word_are_refused_too(
    tmp_path: Path, patient: str, record_id: str
) -> None:
    rows = [{"id": record_id.format(i), "text": words(i), "patient": patient.format(i)} for i in range(1, 9)]
    with pytest.raises(InputError, match="8 of 8 record ids hold the value"):
        prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows))


def test_short_values_within_longer_ids_are_chance(tmp_path: Path) -> None:
    rows = [{"id": f"visit{1000 + i}", "text": words(i), "patient": str(i % 10)} for i in range(20)]
    assert len(prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows))[1]) == 20


def test_a_field_that_holds_no_plain_value_is_said_to_be_that(tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "text": words(i), "patient": {"reference": f"Patient/{i}"}} for i in range(4)]
    with pytest.raises(InputError, match="of 4 entries none has one that is text or a whole number, 4 have something"):
        prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows))


def test_a_source_that_gives_no_chart_is_not_blamed_on_its_groups(tmp_path: Path) -> None:
    wrong = [{"id": f"n{i}", "note": words(i), "patient": f"p{i}"} for i in range(4)]
    with pytest.raises(InputError, match="none of the 4 entries became a record"):
        prepared(tmp_path / "no", jsonl(tmp_path / "a.jsonl", *wrong))
    good = tmp_path / "b.jsonl"
    good.write_text(json.dumps({"id": "b", "text": words(9)}) + "\n")
    manifest, _, _ = prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *wrong), JsonlSource(path=good))
    assert manifest["split_by"] == "near_duplicates", "no record has a group"


def test_gold_finds_a_chart_by_the_path_that_its_id_must_not_show(tmp_path: Path) -> None:
    gold = []
    for i in range(6):
        path = tmp_path / "charts" / f"quillfeather{i // 2}" / f"n{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(words(i))
        gold.append({"record": f"quillfeather{i // 2}/n{i}", "task": "tests", "items": []})
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    task = Task(name="tests", item="test", gate_question="g", extraction_question="e", question="q")
    source = FolderSource(path=tmp_path / "charts", group_folder=1, gold=AnnotationFile(path=tmp_path / "gold.jsonl"))
    manifest = prepare([source], tmp_path / "out", OPTIONS, tasks=[task])
    assert manifest["gold"][0]["records_by_task"] == {"tests": 6} and not manifest["gold"][0]["records_without_gold"]
    records = list(read_rows(tmp_path / "out" / "records.jsonl", Record))
    assert all(record.gold == {"tests": ()} and "quillfeather" not in record.id for record in records)
    assert "quillfeather" not in (tmp_path / "out" / "gold_findings.jsonl").read_text()
    rows = [row | {"record": "elsewhere/" + row["record"]} for row in gold]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"gives no gold for the tasks of this run \(no_record 6\)"):
        prepare([source], tmp_path / "none", OPTIONS, tasks=[task])


def test_row_numbers_that_happen_to_be_patients_are_no_matter(tmp_path: Path) -> None:
    rows = [{"text": words(i), "patient": i + 1} for i in range(9)]
    assert len(prepared(tmp_path / "out", jsonl(tmp_path / "a.jsonl", *rows))[1]) == 9


def test_without_a_group_the_summary_says_that_patients_may_be_parted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": "a", "text": words(1)}) + "\n")
    manifest, _, _ = prepared(tmp_path / "out", JsonlSource(path=path))
    assert manifest["split_by"] == "near_duplicates" and "groups" not in manifest["counts"]
    assert "other charts of the same patient may stand on both" in split_in_words(manifest)
    assert split_in_words(prepare([SyntheticSource(count=3)], tmp_path / "made", OPTIONS)) == ""


def test_a_source_without_a_group_is_described_as_before(tmp_path: Path) -> None:
    assert not [key for key in JsonlSource(path=tmp_path).model_dump() if "group" in key]
    assert not [key for key in FolderSource(path=tmp_path).model_dump() if "group" in key]


def test_a_source_stays_accepted_when_its_patients_are_erased(tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "text": words(i), "patient": "p"} for i in range(3)]
    alone = {"id": "alone", "text": words("alone"), "patient": None}
    source = jsonl(tmp_path / "a.jsonl", *rows, alone)
    prepared(tmp_path / "run" / "records", source)
    erased = Tombstones.of(tmp_path / "run").with_salt(tmp_path / "run")
    gone = Tombstone(time="2026-01-31T09:30:00Z", what="group", name=erased.hashed("group", "p"))
    erased.write(tmp_path / "run", [gone])
    manifest, records, _ = prepared(tmp_path / "run" / "records", source)
    assert set(records) == {"alone"} and manifest["counts"]["by_reason"] == {"erased": 3}
