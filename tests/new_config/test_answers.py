"""The five answers of `init`: what may be said, and what is said of a wrong one."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from chartdistill.errors import ChartDistillError, ConfigError, InputError
from chartdistill.new_config.answers import ask_all, task_files
from init_answers import charts, options


@pytest.mark.parametrize("name", [b"a\nb", b"a\x1b[1mb", b"Bef\xfcnde", b"a\xe2\x80\xa8b"])
def test_a_path_that_a_config_cannot_hold_is_refused_by_name(name: bytes, tmp_path: Path) -> None:
    records = charts(tmp_path / os.fsdecode(name))
    with pytest.raises(InputError, match="a config cannot hold this name") as refused:
        ask_all(options(records))
    assert "\x1b" not in str(refused.value)


def test_a_path_may_be_typed_as_a_shell_or_a_file_manager_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    records = charts(tmp_path / "two words")
    for typed in ("~/two words", f"'{records}'", f'"{records}"', str(records).replace(" ", "\\ ")):
        source = ask_all(options(typed)).records
        assert source.type == "folder" and source.path == records


def test_other_endings_are_a_pattern(tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    for path in records.iterdir():
        path.rename(path.with_suffix(".note"))
    with pytest.raises(InputError, match=r"6 named \*\.note"):
        ask_all(options(records))
    source = ask_all(options(f"{records}/*.note")).records
    assert source.type == "folder" and source.pattern == "*.note"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("mode", [0o000, 0o600])
def test_a_folder_that_is_closed_is_said_to_be(mode: int, tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    records.chmod(mode)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            ask_all(options(records))
    finally:
        records.chmod(0o700)


@pytest.mark.parametrize(("code", "planned"), [(6, None), (255, [])], ids=["no card", "a broken driver"])
def test_a_cpu_is_a_cpu_whatever_cards_are_here(
    code: int, planned: list[Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    hardware = ask_all(options(charts(tmp_path / "charts"))).hardware
    assert hardware.config.stem == "cpu-smollm2"
    assert hardware.planned == planned


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hardware": "gpu-80"}, "did you mean 'gpu-80gb'?"), ({"hardware": "tpu"}, "allowed are auto, cpu"),
        ({"hardware": "h100:0"}, "NAME:COUNT"), ({"tasks": "medications"}, "did you mean 'medication'?"),
        ({"tasks": " , "}, "name at least one"), ({"tasks": "medication,allergy"}, "was trained for medication"),
        ({"gold": "nowhere.jsonl"}, "does not exist"), ({"report_text": "perhaps"}, "say yes or no"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_answered_with_what_is_allowed(changes: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ChartDistillError, match=re.escape(said)):
        ask_all(options(charts(tmp_path / "charts")) | changes)


def test_without_a_terminal_each_missing_option_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(ConfigError, match=r"no terminal.*--hardware, --gold are missing"):
            ask_all(options(tmp_path, hardware=None, gold=None))
        with pytest.raises(ConfigError, match="--report-text is missing"):
            ask_all(options(tmp_path, report_text=None))


def test_on_a_terminal_the_missing_ones_are_asked_until_they_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = charts(tmp_path / "charts")
    ours, theirs = os.openpty()
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(ours, f"nowhere\n{records}\ncpu\n\nnone\nmaybe\nyes\n".encode())
        answers = ask_all({})
    os.close(ours)
    said = capsys.readouterr().err
    assert "nowhere does not exist" in said and "say yes or no" in said
    assert said.count("Where are the charts?") == 2
    assert [path.stem for path in answers.tasks] == ["medication", "prognosis", "diagnosis", "tests"]
    assert answers.report_text and answers.gold is None


@pytest.mark.parametrize(
    ("hardware", "offered"),
    [("cpu", {"medication", "prognosis", "diagnosis", "tests"}), ("gpu-24gb", set(task_files()))],
)
def test_the_question_names_the_tasks_that_the_hardware_can_answer(
    hardware: str,
    offered: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = options(charts(tmp_path / "charts"), hardware=hardware, tasks=None)
    ours, theirs = os.openpty()
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(ours, b"nothing\n\n")
        ask_all(given)
    os.close(ours)
    said = capsys.readouterr().err
    asked = re.search(r"Which findings\? Of (.*?) \[", said)
    named = re.search(r"--tasks 'nothing': there are (.*?)\.", said)
    assert asked and named and set(asked[1].split(", ")) == set(named[1].split(", ")) == offered
