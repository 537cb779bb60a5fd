"""Run folders: private, whole or absent, one writer, nothing finished is lost to a kill."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.errors import ArtefactError, InputError
from chartdistill.runtime.outputs import ResumableLines
from chartdistill.runtime.run_folder import (
    Journal,
    RowWriter,
    begin,
    disk_errors,
    fingerprint,
    is_done,
    link_folder,
    read_manifest,
    read_rows,
    require_manifest,
    write_manifest,
)
from chartdistill.runtime.run_locks import lock, looking_on, nobody_looking_on
from chartdistill.runtime.shards import Shard
from chartdistill.runtime.shared_rows import SharedRows
from chartdistill.runtime.whole_folder import whole_folder
from chartdistill.schema import Prediction, RejectedRecord
from file_systems import like_nfs, without_locks


def row(key: str, failure: str | None = None) -> Prediction:
    return Prediction(
        key=key, record=key, task="t", arm="a", completion=None if failure else "x", items=None, failure=failure
    )


@pytest.mark.slow
@pytest.mark.parametrize("library", ["safetensors", "tokenizers", "torch", "python"])
def test_a_full_disk_is_said_whatever_library_writes(tmp_path: Path, library: str) -> None:
    writes = {
        "safetensors": "import numpy; from safetensors.numpy import save_file; "
        "write = lambda: save_file({'a': numpy.zeros(9999)}, path)",
        "tokenizers": "from tokenizers import Tokenizer, models; "
        "write = lambda: Tokenizer(models.WordLevel({f'w{i}': i for i in range(9999)}, 'w0')).save(path)",
        "torch": "import torch; write = lambda: torch.save({'a': torch.zeros(9999)}, path)",
        "python": "write = lambda: open(path, 'wb', 0).write(bytes(99999)) == 99999 or open(path, 'ab', 0).write(b'x')",
    }
    code = (
        f"import resource, sys; from pathlib import Path; from chartdistill.runtime.run_folder import disk_errors\n"
        f"path = sys.argv[1]; {writes[library]}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))\n"
        "with disk_errors(Path(path)): write()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ArtefactError: the disk is full while writing" in done.stderr


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    for error in (ValueError("(os error 2)"), InputError("28"), OSError(9, "bad descriptor")):
        with pytest.raises(type(error)), disk_errors(tmp_path):
            raise error


def test_rows_come_back_and_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rows.jsonl"
    rows = [RejectedRecord(source="a", reason="empty", detail=f"line\n{i}") for i in range(3)]
    with RowWriter(path) as out:
        out.write(*rows)
        assert not path.exists()  # whole or absent
    assert list(read_rows(path, RejectedRecord)) == rows
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_failed_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RowWriter(tmp_path / "rows.jsonl") as out:
        out.write(row("a"))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_not_read_and_is_cut_off_on_append(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(row("a").line() + "\n" + row("b").line()[:20])
    assert [r.key for r in read_rows(path, Prediction, grows=True)] == ["a"]
    path.rename(tmp_path / "rows.journal.jsonl")
    assert [r.key for r in read_rows(tmp_path / "rows.journal.jsonl", Prediction)] == ["a"]
    (tmp_path / "rows.journal.jsonl").rename(path)
    with RowWriter(path, append=True) as out:
        out.write(row("c"))
    assert [r.key for r in read_rows(path, Prediction)] == ["a", "c"]


def test_a_file_that_appeared_whole_and_breaks_off_is_not_read_as_a_shorter_one(tmp_path: Path) -> None:
    """A run folder that was copied in part taught one label less, and said that it was done."""
    with RowWriter(tmp_path / "rows.jsonl") as out:
        out.write(row("a"), row("b"))
    os.truncate(tmp_path / "rows.jsonl", (tmp_path / "rows.jsonl").stat().st_size - 5)
    with pytest.raises(InputError, match=r"rows\.jsonl:2: the file breaks off .*delete manifest.json"):
        list(read_rows(tmp_path / "rows.jsonl", Prediction))


def test_a_bad_line_is_named_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(row("a").line() + '\n{"secret": "Takes Velorim"}\n')
    with pytest.raises(InputError, match=r"rows.jsonl:2: not a Prediction row") as caught:
        list(read_rows(path, Prediction))
    assert "Velorim" not in str(caught.value)


def test_manifest_means_complete(tmp_path: Path) -> None:
    mark = fingerprint("inputs", {"a": 1})
    started = begin(tmp_path)
    assert not is_done(tmp_path, mark)
    with pytest.raises(ArtefactError, match="chartdistill label CONFIG"):
        require_manifest(tmp_path, "label")
    write_manifest(tmp_path, mark, started, counts={"read": 1})
    assert is_done(tmp_path, mark)
    assert not is_done(tmp_path, fingerprint("inputs", {"a": 2}))
    (tmp_path / ".rows.jsonl.77.partial").write_text("left by a killed run")
    begin(tmp_path)
    assert not list(tmp_path.glob(".*.partial"))


def test_what_was_complete_stays_until_the_first_file_changes(tmp_path: Path) -> None:
    mark = fingerprint("inputs")
    with RowWriter(tmp_path / "rows.jsonl") as out:
        out.write(row("a"))
    write_manifest(tmp_path, mark, begin(tmp_path))
    begin(tmp_path)
    assert is_done(tmp_path, mark), "begun is not changed"
    why = tmp_path / "refused.jsonl"
    with pytest.raises(InputError), RowWriter(tmp_path / "rows.jsonl", refused=why) as out:
        out.write(row("b"))
        raise InputError("a slip")
    assert is_done(tmp_path, mark)
    assert [r.key for r in read_rows(tmp_path / "rows.jsonl", Prediction)] == ["a"]
    assert [r.key for r in read_rows(why, Prediction)] == ["b"], "what explains the refusal"
    with Journal(tmp_path / "rows.jsonl", Prediction) as journal:
        journal.add([row("c")])
    assert is_done(tmp_path, mark), "a journal is begun with a copy"
    with RowWriter(tmp_path / "rows.jsonl") as out:
        out.write(row("d"))
    assert not is_done(tmp_path, mark)


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from chartdistill.runtime.run_locks import lock\n"
        "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ArtefactError, match=rf"pid {holder.pid}"), lock(tmp_path):
            pass
    finally:
        holder.kill()  # as kill -9: the system lets go of the lock
        holder.wait()
    with lock(tmp_path):
        pass


def test_journal_keeps_what_is_finished_and_orders_it(tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    with Journal(target, Prediction) as journal:
        journal.add([row("b"), row("c", failure="engine died")])
    # A kill here: nothing was finished, the target does not exist, yet "b" is not asked again.
    assert not target.exists()
    with (tmp_path / "rows.journal.jsonl").open("a") as stream:
        stream.write('{"torn')
    with Journal(target, Prediction) as journal:
        assert "b" in journal
        assert "c" not in journal  # failures are tried again
        journal.add([row("a"), row("c")])
        journal.finish(["a", "b", "c"])
    assert [r.key for r in read_rows(target, Prediction)] == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    with Journal(target, Prediction) as journal:  # other options: what is still wanted is taken over
        assert "a" in journal
        journal.finish(["b"])
    assert [r.key for r in read_rows(target, Prediction)] == ["b"]


def test_a_full_disk_is_said_plainly_and_loses_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from chartdistill.runtime.run_folder import RowWriter; from chartdistill.schema import RejectedRecord\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from chartdistill.errors import ArtefactError\n"
        "try:\n"
        "    with RowWriter(Path(sys.argv[1]), append=True) as out:\n"
        "        for i in range(1000): out.write(RejectedRecord(source=str(i), reason='x', detail='y' * 50))\n"
        "except ArtefactError as error: print(error)\n"
    )
    path = tmp_path / "rows.jsonl"
    answer = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert "the disk is full" in answer.stdout
    assert "run the same command again" in answer.stdout
    kept = list(read_rows(path, RejectedRecord, grows=True))
    assert len(kept) > 10
    assert [json.loads(r.line())["source"] for r in kept] == [str(i) for i in range(len(kept))]


def test_every_lock_can_be_had_on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    like_nfs(monkeypatch)
    shard = Shard(0, 2)
    with lock(tmp_path), shard.lock(tmp_path, tmp_path / "labels", within=True):
        pass
    with shard.lock(tmp_path, tmp_path / "labels"):
        pass
    with (
        looking_on(tmp_path),
        looking_on(tmp_path),
        pytest.raises(ArtefactError, match="`chartdistill review` is open"),
        nobody_looking_on([tmp_path]),
    ):
        pass
    with nobody_looking_on([tmp_path]):
        pass
    assert SharedRows(tmp_path / "decisions.jsonl", RejectedRecord).add(lambda rows: ()) == []
    with ResumableLines(tmp_path / "answers.jsonl", "mark") as lines:
        lines.finish()
    with whole_folder(tmp_path / "model") as work:
        (work / "config.json").touch()


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(monkeypatch)
    held = [
        lock(tmp_path),
        Shard(0, 2).lock(tmp_path, tmp_path / "labels"),
        looking_on(tmp_path),
        ResumableLines(tmp_path / "answers.jsonl", "mark"),
        whole_folder(tmp_path / "model"),
    ]
    for one in held:
        with pytest.raises(ArtefactError, match=rf"file system of {tmp_path}.* has no locks \(.*another one"), one:
            pass
    with pytest.raises(ArtefactError, match="has no locks"):
        SharedRows(tmp_path / "decisions.jsonl", RejectedRecord).add(lambda rows: ())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"fingerprint": 1}', b"\xff", b"\x00" * 20])
def test_a_damaged_manifest_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    with pytest.raises(ArtefactError, match=r"manifest\.json is damaged"):
        read_manifest(tmp_path)


def test_a_row_that_is_no_utf_8_is_named_by_its_line(tmp_path: Path) -> None:
    row = RejectedRecord(source="a", reason="x", detail="y").line().encode() + b"\n"
    (tmp_path / "rows.jsonl").write_bytes(row + row.replace(b"y", b"\xff"))
    with pytest.raises(InputError, match=r"rows\.jsonl:2: not a RejectedRecord row"):
        list(read_rows(tmp_path / "rows.jsonl", RejectedRecord))


def test_a_row_that_a_power_cut_spoilt_is_asked_for_again(tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    with Journal(target, Prediction) as journal:
        journal.add([row("a"), row("b"), row("c")])
    path = tmp_path / "rows.journal.jsonl"
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\x00" * (len(second) - 1) + b"\n" + third)
    with Journal(target, Prediction) as journal:
        assert [key for key in "abc" if key in journal] == ["a", "c"]
        journal.add([row("b")])
        journal.finish(["a", "b", "c"])
    assert [r.key for r in read_rows(target, Prediction)] == ["a", "b", "c"]


def test_a_link_of_a_run_folder_that_was_moved_or_copied_leads_to_its_own_records(tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    for home in (first, other):
        (home / "records").mkdir(parents=True)
    link = tmp_path / "rounds" / "records"
    link.parent.mkdir()
    link_folder(link, first / "records")
    link_folder(link, first / "records")
    assert link.resolve() == first / "records"
    link_folder(link, other / "records")  # a copy of the whole folder: the first one is still there
    assert link.resolve() == other / "records"
    other.rename(tmp_path / "moved")
    link_folder(link, tmp_path / "moved" / "records")  # and one that leads to nothing
    assert link.resolve() == tmp_path / "moved" / "records"
