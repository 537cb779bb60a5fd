"""prepare: nothing lost, nothing leaked between splits, nothing done twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chartdistill.errors import InputError
from chartdistill.records import AnnotationFile
from chartdistill.records.prepare import cluster_split, prepare
from chartdistill.records.sources import DatasetSource, FolderSource, JsonlSource, PrepareOptions, SyntheticSource
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Record, RejectedRecord, Task

OPTIONS = PrepareOptions()


def words(seed: int, number: int = 60) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("bcdfghklmnprstaeiou", k=6)) for _ in range(number)) + "."


def jsonl(path: Path, *rows: dict[str, Any]) -> JsonlSource:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonlSource(path=path, split_field="split", gold_field="gold")


def results(folder: Path) -> tuple[dict[str, Record], list[RejectedRecord]]:
    records = list(read_rows(folder / "records.jsonl", Record))
    assert len({record.id for record in records}) == len(records)
    return {record.id: record for record in records}, list(read_rows(folder / "rejected.jsonl", RejectedRecord))


def test_counts_add_up_and_name_every_reason(tmp_path: Path) -> None:
    source = jsonl(
        tmp_path / "a.jsonl",
        {"id": "first", "text": words(1) + "surgery, hernia, mesh,"},
        {"id": "second", "text": words(1).upper() + "urology, stone,"},
        {"id": "short", "text": "Cough.nan"},
        {"id": "first", "text": words(2)},
        {"id": "no text"},
        {"id": "third", "text": words(3)},
    )
    manifest = prepare([source, SyntheticSource(count=5)], tmp_path / "out", OPTIONS)
    records, rejected = results(tmp_path / "out")
    counts = manifest["counts"]
    assert (counts["read"], counts["kept"], counts["rejected"]) == (11, 7, 4)
    assert counts["by_reason"] == {"duplicate": 1, "duplicate_id": 1, "missing_text": 1, "too_short": 1}
    assert sum(counts["by_split"].values()) == counts["kept"] == len(records)
    assert {row.reason: row.id for row in rejected} == {
        "duplicate": "second", "duplicate_id": "first", "missing_text": "no text", "too_short": "short"
    }  # fmt: skip
    duplicate_id = next(row for row in rejected if row.reason == "duplicate_id")
    assert duplicate_id.source.endswith("a.jsonl:4")
    assert "a.jsonl:1" in duplicate_id.detail
    assert counts["clusters"] == 7
    assert counts["cleaned"]["keyword_tail"] >= 2
    assert records["first"].text == words(1)
    assert records["first"].original_span(0, 6) == (0, 6)


def test_rows_without_an_id_are_told_apart_by_the_source(tmp_path: Path) -> None:
    task = Task(name="tests", item="test", gate_question="g", extraction_question="e", question="q")
    sources: list[Any] = []
    for number, name in enumerate(("a/charts", "b/charts", "charts-2", "c/charts")):
        path = tmp_path / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"text": words(number), "other": words(number + 10)}) + "\n")
        sources.append(JsonlSource(path=path))
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"record": "charts:1", "task": "tests", "items": []}) + "\n")
    sources[1] = JsonlSource(path=tmp_path / "b/charts.jsonl", gold=AnnotationFile(path=gold))
    sources += [DatasetSource(path=tmp_path / "a/charts.jsonl", text_field="other")]
    sources += [JsonlSource(path=tmp_path / "a/charts.jsonl", text_field="other", called="notes")]
    prepare(sources, tmp_path / "out", OPTIONS.model_copy(update={"keep_duplicates": "all"}), tasks=[task])
    records, rejected = results(tmp_path / "out")
    assert not rejected
    assert list(records) == ["charts:1", "charts-3:1", "charts-2:1", "charts-4:1", "charts-5:1", "notes:1"]
    assert {name for name, record in records.items() if record.gold is not None} == {"charts-3:1"}


def test_one_of_several_duplicates_is_kept_under_the_first_id(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": words(1)},
        {"id": "b", "text": words(1).replace(" ", " -- ")},
        {"id": "c", "text": words(2)},
    ]
    prepare([jsonl(tmp_path / "a.jsonl", *rows)], tmp_path / "one", OPTIONS)
    records, rejected = results(tmp_path / "one")
    assert list(records) == ["a", "c"]
    assert records["a"].text == rows[1]["text"]
    assert [(row.id, row.reason, row.kept_as) for row in rejected] == [("b", "duplicate", "a")], "each id stands once"
    prepare(
        [jsonl(tmp_path / "a.jsonl", *rows)], tmp_path / "all", OPTIONS.model_copy(update={"keep_duplicates": "all"})
    )
    records, rejected = results(tmp_path / "all")
    assert list(records) == ["a", "b", "c"]
    assert records["a"].cluster == records["b"].cluster != records["c"].cluster
    assert not rejected


def test_a_duplicate_with_gold_is_preferred(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": words(1) + " -- "}, {"id": "b", "text": words(1), "gold": {"tests": []}}]
    prepare([jsonl(tmp_path / "a.jsonl", *rows)], tmp_path / "out", OPTIONS)
    assert results(tmp_path / "out")[0]["a"].gold == {"tests": ()}


def test_gold_that_cannot_be_used_costs_nothing_that_was_finished(tmp_path: Path) -> None:
    task = Task(name="tests", item="test", gate_question="g", extraction_question="e", question="q")
    (tmp_path / "charts.jsonl").write_text(json.dumps({"id": "a", "text": words(1)}) + "\n")
    gold = tmp_path / "gold.jsonl"
    source = JsonlSource(path=tmp_path / "charts.jsonl", gold=AnnotationFile(path=gold))
    said = [json.dumps({"record": "a", "task": "tests", "items": items}) + "\n" for items in ([], ["CBC"])]
    gold.write_text(said[0])
    prepare([source], tmp_path / "out", OPTIONS, tasks=[task])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    gold.write_text("".join(said))
    with pytest.raises(InputError, match="two labels of one record and task"):
        prepare([source], tmp_path / "out", OPTIONS, tasks=[task])
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "refused.jsonl"}
    assert after == before


def test_near_duplicates_share_a_split_and_shares_follow_the_options(tmp_path: Path) -> None:
    rows = [{"id": f"{seed}-{copy}", "text": f"{words(seed)} Copy {copy}."} for seed in range(300) for copy in range(2)]
    prepare([jsonl(tmp_path / "a.jsonl", *rows)], tmp_path / "out", OPTIONS)
    records, _ = results(tmp_path / "out")
    assert len(records) == 600
    for seed in range(300):
        pair = records[f"{seed}-0"], records[f"{seed}-1"]
        assert pair[0].cluster == pair[1].cluster
        assert pair[0].split == pair[1].split == cluster_split(pair[0].cluster, OPTIONS)
    splits = [record.split for record in records.values()]
    assert splits.count("test") == pytest.approx(120, abs=42)
    assert splits.count("validation") == pytest.approx(60, abs=32)


def test_more_records_move_no_earlier_record(tmp_path: Path) -> None:
    prepare([SyntheticSource(count=30)], tmp_path / "few", OPTIONS)
    prepare([SyntheticSource(count=60)], tmp_path / "many", OPTIONS)
    few, many = results(tmp_path / "few")[0], results(tmp_path / "many")[0]
    assert few == {record_id: many[record_id] for record_id in few}


def test_a_forced_split_wins_and_crossing_records_are_rejected(tmp_path: Path) -> None:
    source = jsonl(
        tmp_path / "a.jsonl",
        {"id": "train copy", "text": words(1), "split": "train"},
        {"id": "test copy", "text": words(1), "split": "test"},
        {"id": "near, unforced", "text": words(1) + " Seen again."},
        {"id": "validation near", "text": words(1) + " Seen later.", "split": "validation"},
        {"id": "train only", "text": words(2), "split": "train"},
        {"id": "validation", "text": words(3), "split": "validation"},
    )
    prepare([source], tmp_path / "out", OPTIONS)
    records, rejected = results(tmp_path / "out")
    assert {record.id: record.split for record in records.values()} == {
        "test copy": "test", "near, unforced": "test", "train only": "train", "validation": "validation"
    }  # fmt: skip
    assert {row.id: row.reason for row in rejected} == {
        "train copy": "crosses_split",
        "validation near": "crosses_split",
    }


def test_the_same_input_is_not_read_again(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", {"text": words(1)})
    calls: list[tuple[int, int | None]] = []
    first = prepare([source], tmp_path / "out", OPTIONS, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1, 1)
    calls.clear()
    assert prepare([source], tmp_path / "out", OPTIONS, lambda done, total: calls.append((done, total))) == first
    assert not calls
    source = jsonl(tmp_path / "a.jsonl", {"text": words(1)}, {"text": words(2)})
    assert prepare([source], tmp_path / "out", OPTIONS)["counts"]["kept"] == 2
    stricter = PrepareOptions(min_words=100)
    with pytest.raises(InputError, match="none of the 2 entries became a record \\(2 too_short\\)"):
        prepare([source], tmp_path / "out", stricter)
    again = prepare([source], tmp_path / "out", OPTIONS)
    assert again["counts"]["kept"] == 2 and len(results(tmp_path / "out")[0]) == 2, "a slip costs nothing finished"
    refused = read_rows(tmp_path / "out" / "refused.jsonl", RejectedRecord)
    assert [row.reason for row in refused] == ["too_short", "too_short"]


def test_a_missing_source_leaves_a_finished_folder_alone(tmp_path: Path) -> None:
    prepare([SyntheticSource(count=2)], tmp_path / "out", OPTIONS)
    with pytest.raises(InputError, match="nowhere does not exist"):
        prepare([FolderSource(path=tmp_path / "nowhere")], tmp_path / "out", OPTIONS)
    assert (tmp_path / "out" / "manifest.json").exists()


def test_bad_files_are_rejected_beside_good_ones(tmp_path: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    (charts / "good.txt").write_text(f"{words(1)} <|im_end|><s> {words(2)}")
    (charts / "latin.txt").write_bytes(f"Ödem. {words(3)}".encode("cp1252"))
    (charts / "empty.txt").touch()
    (charts / "binary.txt").write_bytes(bytes(range(256)))
    (charts / "gone.txt").symlink_to(charts / "nowhere")
    (charts / "loop").symlink_to(charts)
    with (charts / "large.txt").open("wb") as stream:
        stream.truncate(20_000_000)
    manifest = prepare([FolderSource(path=charts)], tmp_path / "out", OPTIONS)
    records, _ = results(tmp_path / "out")
    assert records["good"].text == f"{words(1)} <|im_end|><s> {words(2)}"
    assert records["latin"].text.startswith("Ödem")
    counts = manifest["counts"]
    assert counts["by_reason"] == {"binary": 1, "empty": 1, "symlink_loop": 1, "too_large": 1, "unreadable": 1}
    assert counts["decoded_as"] == {"utf-8": 1, "cp1252": 1}


def test_nothing_but_the_results_stays_in_the_folder_and_it_is_private(tmp_path: Path) -> None:
    (tmp_path / "out" / ".datasets-killed").mkdir(parents=True)
    (tmp_path / "out" / "..staged.jsonl.1.partial").write_text("left by a killed run")
    prepare([SyntheticSource(count=3)], tmp_path / "out", OPTIONS)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"manifest.json", "records.jsonl", "rejected.jsonl"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "out").iterdir())


_ON_A_FULL_DISK = """
import subprocess, sys
from pathlib import Path
from chartdistill.errors import ArtefactError
from chartdistill.records.prepare import prepare
from chartdistill.records.sources import PrepareOptions, SyntheticSource
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
run = lambda: prepare([SyntheticSource(count=200)], disk / "records", PrepareOptions())
try:
    run()
except ArtefactError as error:
    print(error)
print(sorted(path.name for path in (disk / "records").iterdir()))
subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
print(run()["counts"]["kept"])
"""


def test_a_full_disk_is_said_and_the_next_run_succeeds(tmp_path: Path) -> None:
    unshare = ["unshare", "--map-root-user", "--mount"]
    try:
        allowed = subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this machine lets us make no private mount")
    command = [*unshare, sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    message, left, kept = done.stdout.splitlines()
    assert "the disk is full" in message
    assert left == "[]"
    assert kept == "200"
