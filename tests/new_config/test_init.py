"""`init`: five answers become a folder with a config that runs, or a sentence and nothing on disk."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import load_run
from chartdistill.doctor.shipped import CONFIGS
from chartdistill.errors import ArtefactError, ChartDistillError, InputError
from chartdistill.new_config.init import init
from init_answers import charts, gold, options
from places import ROOT


def _nothing(folder: Path) -> None:
    pass


def _empty(folder: Path) -> None:
    folder.mkdir()


def _only_pdf(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.pdf").write_bytes(b"%PDF-1.7\n")


def _pdf_called_txt(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"%PDF-1.7\n1 0 obj\n")


def _one_chart(folder: Path) -> None:
    folder.write_text("x")


def _no_files_but_folders(folder: Path) -> None:
    (folder / "a.txt").mkdir(parents=True)


def _blank(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.txt").write_text(" \n")


def _dangling(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.txt").symlink_to(folder / "gone")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_nothing, "does not exist"), (_empty, "has no files at all"), (_only_pdf, "pdftotext"),
        (_pdf_called_txt, "pdf"), (_one_chart, "file of another kind"), (_no_files_but_folders, "has no files at all"),
        (_blank, "holds no text"), (_dangling, "a link to a file that does not exist"),
    ],
)  # fmt: skip
def test_charts_that_are_none_leave_nothing(make: Any, said: str, tmp_path: Path) -> None:
    make(tmp_path / "charts")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=re.escape(said)):
        init(tmp_path / "mine", options(tmp_path / "charts"))
    assert sorted(tmp_path.rglob("*")) == before


def test_gold_of_other_charts_leaves_nothing(tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    other = gold(tmp_path / "gold.jsonl", "patient-7", "patient-8")
    with pytest.raises(
        InputError, match="has gold of none of the 6 charts; they are called c0, c1, c2, in the gold pati"
    ):
        init(tmp_path / "mine", options(records, gold=str(other)))
    assert {path.name for path in tmp_path.iterdir()} == {"charts", "gold.jsonl"}


def test_gold_may_stand_in_the_file_of_the_charts(tmp_path: Path) -> None:
    """A JSONL with charts and gold is named for both."""
    items = {"medication": [{"text": "Velorim", "status": "continue"}]}
    lines = [
        {"id": f"c{i}", "text": f"Visit {i}. Takes Velorim {i} mg daily at home.", "gold": items} for i in range(6)
    ]
    (tmp_path / "charts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    init(tmp_path / "mine", options(tmp_path / "charts.jsonl", gold=str(tmp_path / "charts.jsonl")))
    (source,) = load_run(tmp_path / "mine" / "config.yaml").config.records
    assert source.gold is not None and source.gold.path == tmp_path / "charts.jsonl"


def test_a_file_that_is_no_gold_leaves_nothing(tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    for text in ("", "not gold\n", '{"a": 1}\n', '{"id": "c1", "gold": {"surgery": []}}\n'):
        (tmp_path / "gold.jsonl").write_text(text)
        with pytest.raises(InputError, match=re.escape(str(tmp_path / "gold.jsonl"))):
            init(tmp_path / "mine", options(records, gold=str(tmp_path / "gold.jsonl")))
    assert not (tmp_path / "mine").exists()


def test_other_hardware_is_planned_for(tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    assert init(tmp_path / "mine", options(records, hardware="l40s:2", tasks="medication,allergy,procedure"))
    text = (tmp_path / "mine" / "config.yaml").read_text()
    assert "planned for l40s:2" in text.replace("\n# ", " ")
    assert yaml.safe_load(text)["tasks"] == ["tasks/medication.yaml", "tasks/allergy.yaml", "tasks/procedure.yaml"]


@pytest.mark.skipif(not (ROOT / "models" / "SmolLM2-135M-Instruct").exists(), reason="needs `make model`")
def test_the_config_is_a_go_here_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    records = charts(tmp_path / "it's two")
    assert init(Path("my own"), options(records, gold=str(gold(tmp_path / "gold.jsonl", "c2"))))
    said = capsys.readouterr().out
    assert "GO" in said and said.splitlines()[-1].endswith(" run 'my own/config.yaml'")
    folder = tmp_path / "my own"
    for path in (folder / "tasks").iterdir():
        assert path.read_bytes() == (CONFIGS / "tasks" / path.name).read_bytes()
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "tasks"}
    assert (folder.stat().st_mode & 0o077) == 0


def test_what_is_there_stays(tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    mine = tmp_path / "mine"
    (mine / "tasks").mkdir(parents=True)
    for name in ("config.yaml", "tasks/medication.yaml"):
        (mine / name).write_text("mine")
        with pytest.raises(ArtefactError, match="--overwrite"):
            init(mine, options(records))
        assert [path.read_text() for path in mine.rglob("*.yaml")] == ["mine"]
        (mine / name).unlink()
    (mine / "notes.txt").write_text("mine")
    init(mine, options(records))
    before = (mine / "config.yaml").read_text()
    (mine / "tasks" / "medication.yaml").write_text("edited")
    init(mine, options(records, report_text="yes"), overwrite=True)
    assert (mine / "config.yaml").read_text() != before
    assert (mine / "tasks" / "medication.yaml").read_text() != "edited"
    assert (mine / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"charts", "mine"}


def test_the_folder_must_have_a_place_of_its_own(tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    (tmp_path / "file").write_text("")
    for folder, said in (
        (records, "lies among the charts"), (records / "mine", "lies among the charts"),
        (tmp_path / "file", "is a file"), (tmp_path / "no" / "mine", "mkdir -p"),
        (tmp_path / "a\nb", "cannot hold this name"),
    ):  # fmt: skip
        with pytest.raises(ChartDistillError, match=re.escape(said)):
            init(folder, options(records))
    assert {path.name for path in tmp_path.iterdir()} == {"charts", "file"}


def own_terminal() -> None:
    """In a child: its standard input is its terminal, and Ctrl-C there ends it, also where ours ignores that."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"\x03", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_an_end_in_the_middle_of_the_questions_leaves_nothing(end: bytes, tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "chartdistill", "init", str(tmp_path / "mine")],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
        preexec_fn=own_terminal,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    for question, answer in ((b"Where are", f"{records}\n".encode()), (b"hardware?", end)):
        until = time.monotonic() + 300
        while question not in seen and time.monotonic() < until:
            seen += os.read(ours, 4096)
        os.write(ours, answer)
    assert process.wait(300) == 130
    os.close(ours)
    assert process.stdout is not None and process.stdout.read() == b""
    assert {path.name for path in tmp_path.iterdir()} == {"charts"}
