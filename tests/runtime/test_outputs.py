"""Files that a user names: refused before any work, never half, never over something, taken up after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.errors import ArtefactError
from chartdistill.runtime.outputs import ResumableLines, require_writable, whole_file


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing/out.jsonl", "does not exist. Make it"),
        ("missing/deeper/out.jsonl", "does not exist. Make it"),
        ("folder", "is a folder. Give the name of a file in it"),
        ("old.jsonl", "exists and stays as it is"),
        ("old.jsonl/out.jsonl", "does not exist|Not a directory"),
        ("x" * 300, "File name too long"),
        ("loop/out.jsonl", "symbolic links|does not exist"),
        ("link", "exists and stays as it is"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "old.jsonl").write_text("old\n")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "link").symlink_to(tmp_path / "old.jsonl")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtefactError, match=said):
        require_writable("--out", tmp_path / place)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is made, no folder either"


def test_what_is_read_is_not_replaced_even_when_asked(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("charts.jsonl", "run/labels.jsonl"):
        (tmp_path / name).write_text("{}\n")
        with pytest.raises(ArtefactError, match="it would be lost"):
            require_writable("--out", tmp_path / name, overwrite=True, read=(tmp_path / name, tmp_path / "run", None))
    require_writable("--out", tmp_path / "run" / "new.jsonl", read=(tmp_path / "run",))


def test_a_whole_file_replaces_at_the_end_and_an_error_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    with pytest.raises(RuntimeError), whole_file(path) as stream:
        stream.write("half")
        raise RuntimeError
    assert path.read_text() == "old\n"
    with whole_file(path) as stream:
        stream.write("new\n")
        assert path.read_text() == "old\n"
    assert path.read_text() == "new\n"
    assert [one.name for one in tmp_path.iterdir()] == ["out.jsonl"]
    assert path.stat().st_mode & 0o777 == 0o600


KILLED = """
import os, sys; from pathlib import Path
from chartdistill.runtime.outputs import ResumableLines
with ResumableLines(Path(sys.argv[1]), sys.argv[2]) as lines:
    lines.write(["a", "b"])
    os.write(lines._stream.fileno(), b"torn")
    print(lines.num_lines, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_killed_whole_file_leaves_no_words_of_charts_behind_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    program = (
        "import os, sys; from pathlib import Path; from chartdistill.runtime.outputs import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as stream:\n"
        "    stream.write('words'); stream.flush(); os.kill(os.getpid(), 9)\n"
    )
    begin_and_kill(path, "m1")
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -signal.SIGKILL
    living = tmp_path / f".gold.jsonl.{os.getppid()}.partial"
    living.write_text("of another process")
    assert len(list(tmp_path.iterdir())) == 3
    with whole_file(path) as stream:
        stream.write("new\n")
    assert {one.name for one in tmp_path.iterdir()} == {"gold.jsonl", living.name, ".gold.jsonl.m1.partial"}


def begin_and_kill(path: Path, mark: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), mark], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_lines_of_a_killed_process_are_taken_up_and_the_old_file_stays_until_all_are_there(tmp_path: Path) -> None:
    path = tmp_path / "out [1].jsonl"
    path.write_text("old\n")
    begin_and_kill(path, "m1")
    assert path.read_text() == "old\n"
    with ResumableLines(path, "m1") as lines:
        assert lines.num_lines == 2, "whole lines, without the torn one"
        lines.write(["c"])
        lines.finish()
    assert path.read_text() == "a\nb\nc\n"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_lines_of_other_options_are_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    begin_and_kill(path, "m1")
    with ResumableLines(path, "m2") as lines:
        assert lines.num_lines == 0
        with pytest.raises(ArtefactError, match="another process is writing"), ResumableLines(path, "m2"):
            pass
        lines.finish()
    assert [one.name for one in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("other", ["out.jsonl", "out.v2", "*", "outer"])
def test_what_a_kill_left_of_another_file_stays(tmp_path: Path, other: str) -> None:
    begin_and_kill(tmp_path / other, "m1")
    for name in ("out", "[o]ut"):
        with ResumableLines(tmp_path / name, "m2") as lines:
            lines.finish()
    with ResumableLines(tmp_path / other, "m1") as lines:
        assert lines.num_lines == 2


def test_a_full_disk_is_said_and_nothing_else() -> None:
    with pytest.raises(ArtefactError, match="the disk is full"), ResumableLines(Path("/dev/full"), "m") as lines:
        lines.write(["a"])
    with pytest.raises(ArtefactError, match="the disk is full"), whole_file(Path("/dev/full")) as stream:
        stream.write("a")


def test_a_pipe_is_written_as_it_comes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    require_writable("--out", pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    with ResumableLines(pipe, "m") as lines:
        lines.write(["a"])
        lines.finish()
    assert reader.communicate(timeout=20)[0] == "a\n"
    assert pipe.is_fifo()
