"""Labelling in shards: together they are the run that one machine would have made, whatever became of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.config import Run
from chartdistill.errors import ArtefactError, ConfigError
from chartdistill.labelling.label import label, label_shard
from chartdistill.pipeline import run_shard, run_verb
from chartdistill.runtime.run_folder import read_rows
from chartdistill.runtime.run_locks import UNFINISHED_ERASURE, lock
from chartdistill.runtime.shards import Shard
from chartdistill.schema import Label, Record
from labelling_run import prepared, rows_of, silent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> list[Label]:
    """The labels of an unsharded run."""
    run = in_single_windows(tmp_path_factory.mktemp("whole"), tiny_model)
    label(run, silent)
    return rows_of(run)


def in_single_windows(folder: Path, model: Path) -> Run:
    """One record at a time, so that no answer depends on which other records stand in its batch."""
    return prepared(folder, model, records_per_window=1)


def shard_rows(run: Run, shard: Shard) -> list[Label]:
    return list(read_rows(run.dir / "labels" / shard.file_name, Label))


def test_every_record_is_in_exactly_one_shard_and_shards_are_of_a_size() -> None:
    ids = [f"chart-{number}" for number in range(4000)]
    for count in (1, 3, 8):
        shards = [Shard(index, count) for index in range(count)]
        sizes = [sum(shard.holds(name) for name in ids) for shard in shards]
        assert sum(sizes) == len(ids) and min(sizes) > 0.8 * len(ids) / count
        assert all(sum(shard.holds(name) for shard in shards) == 1 for name in ids[:200])


@pytest.mark.parametrize("text", ["4/4", "5/4", "0/0", "1", "1/", "/4", "-1/4", "1/4/8", "a/b", " 1/4", "1.0/4", "١/٤"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--shard .* is not I/N.*I from 0 to N-1"):
        Shard.parse(text)
    assert Shard.parse("3/4") == Shard(3, 4)


@pytest.mark.slow
def test_shards_together_give_the_labels_of_one_run(tmp_path: Path, tiny_model: Path, whole: list[Label]) -> None:
    run = in_single_windows(tmp_path, tiny_model)
    records = list(read_rows(run.dir / "records" / "records.jsonl", Record))
    command = [sys.executable, "-m", "chartdistill", "label", str(tmp_path / "run.yaml"), "--shard"]
    refused = subprocess.run([*command, "2/2"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "I from 0 to N-1" in refused.stderr
    first = subprocess.run([*command, "0/2"], capture_output=True, text=True, check=True)
    counts = run_shard(run, Shard(1, 2))
    for index in (0, 1):
        held = [record.id for record in records if Shard(index, 2).holds(record.id)]
        assert held, "an empty shard tests nothing"
        assert [row.record for row in shard_rows(run, Shard(index, 2))] == [name for name in held for _ in run.tasks]
    assert counts is not None and counts["labels"] == len(run.tasks) * counts["records"] == len(held) * len(run.tasks)
    assert f"{len(records) - len(held)} records" in first.stderr
    assert not (run.dir / "labels" / "labels.jsonl").exists() and not (run.dir / "labels" / "manifest.json").exists()
    manifest = run_verb(run, "label")
    assert manifest["rows_from_shards"] == len(whole)
    assert manifest["speed"] is None, "all was there: nothing was left to ask"
    assert rows_of(run) == whole
    assert sorted(path.name for path in (run.dir / "labels").iterdir()) == ["labels.jsonl", "manifest.json"]
    assert run_shard(run, Shard(0, 2)) is None, "the run is labelled"


def test_what_shards_did_not_finish_is_asked_and_nothing_twice(
    tmp_path: Path, tiny_model: Path, whole: list[Label]
) -> None:
    run = in_single_windows(tmp_path, tiny_model)
    labels = run.dir / "labels"
    for shard in (Shard(0, 2), Shard(0, 3)):  # two divisions that overlap
        label_shard(run, shard, silent)
        assert shard_rows(run, shard)
    # One more was killed as it wrote its second record.
    lines = [row.line() + "\n" for row in whole if Shard(1, 2).holds(row.record)]
    (labels / "shard-1-of-2.journal.jsonl").write_text("".join(lines[:2]) + lines[2][:50])
    # And one has rows of other options, and one that failed.
    stale = whole[0].model_copy(update={"key": "0" * 16, "completion": "Stalemycin", "failure": None})
    failed = whole[-1].model_copy(update={"completion": None, "finish_reason": None, "failure": "timeout: x"})
    (labels / "shard-4-of-5.jsonl").write_text(stale.line() + "\n" + failed.line() + "\n")
    manifest = label(run, silent)
    assert rows_of(run) == whole
    assert 0 < manifest["rows_from_shards"] < len(whole)


def test_a_shard_goes_on_where_it_was_killed(tmp_path: Path, tiny_model: Path, whole: list[Label]) -> None:
    run, shard = in_single_windows(tmp_path, tiny_model), Shard(1, 2)
    journal = run.dir / "labels" / "shard-1-of-2.journal.jsonl"
    journal.parent.mkdir()
    own = [row for row in whole if shard.holds(row.record)]
    first = [row.model_copy(update={"prompts": 77}) for row in own[:2]]  # it would show if they were asked again
    journal.write_text("".join(row.line() + "\n" for row in first) + own[2].line()[:50])
    label_shard(run, shard, silent)
    assert shard_rows(run, shard) == [*first, *own[2:]]
    assert not journal.exists()


def test_a_shard_takes_over_what_other_divisions_and_earlier_runs_finished(
    tmp_path: Path, tiny_model: Path, whole: list[Label]
) -> None:
    run = in_single_windows(tmp_path, tiny_model)
    labels = run.dir / "labels"
    labels.mkdir()
    marked = [row.model_copy(update={"prompts": 77}) for row in whole]
    (labels / "labels.journal.jsonl").write_text("".join(row.line() + "\n" for row in marked[:6]))
    (labels / "shard-0-of-1.jsonl").write_text("".join(row.line() + "\n" for row in marked[4:]))
    label_shard(run, Shard(0, 2), silent)
    label_shard(run, Shard(1, 2), silent)
    assert shard_rows(run, Shard(0, 2)) == [row for row in marked if Shard(0, 2).holds(row.record)]
    assert shard_rows(run, Shard(1, 2)) == [row for row in marked if Shard(1, 2).holds(row.record)]


def test_shards_are_held_one_by_one_and_the_run_folder_apart(tmp_path: Path) -> None:
    with Shard(0, 2).lock(tmp_path, tmp_path):
        with Shard(1, 2).lock(tmp_path, tmp_path):
            pass
        with (
            pytest.raises(ArtefactError, match=r"another process \(pid \d+ on .+\) is writing shard 0/2"),
            Shard(0, 2).lock(tmp_path, tmp_path),
        ):
            pass
        with pytest.raises(ArtefactError, match="writing shards"), lock(tmp_path):
            pass
    with (
        lock(tmp_path),
        pytest.raises(ArtefactError, match=r"another process \(pid \d+\) is writing to"),
        Shard(0, 2).lock(tmp_path, tmp_path),
    ):
        pass
    with Shard(0, 2).lock(tmp_path, tmp_path):
        pass
    (tmp_path / UNFINISHED_ERASURE).touch()  # the shard would ask about a chart that is half gone
    with (
        pytest.raises(ArtefactError, match=r"an erasure of records .* was interrupted"),
        Shard(0, 2).lock(tmp_path, tmp_path),
    ):
        pass
