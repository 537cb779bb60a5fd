"""`init`: five answers become a config that holds to the shipped one, or a sentence and nothing on disk."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import load_run
from chartdistill.doctor.machine import parse_cards
from chartdistill.doctor.shipped import CONFIGS, PLANNED_FOR, pick
from chartdistill.errors import ArtefactError, ChartDistillError, ConfigError, InputError
from chartdistill.new_config.answers import ask_all, task_files
from chartdistill.new_config.config_text import new_config, split_sections
from chartdistill.new_config.init import init
from places import ROOT

SHIPPED = ("cpu-smollm2", *PLANNED_FOR)
HARDWARE = {"cpu-smollm2": "cpu"}
"""What gives a shipped config, where it is not its own name."""
OF_THE_ANSWERS = {"name", "run_dir", "tasks", "records", "report", "gates"}


def charts(folder: Path, number: int = 6) -> Path:
    """Charts of a few words each."""
    folder.mkdir(parents=True)
    for i in range(number):
        (folder / f"c{i}.txt").write_text(f"Visit {i}. Takes Velorim {i} mg daily. Plan: stop Tandrel, order CBC.")
    return folder


def gold(path: Path, *ids: str) -> Path:
    """Gold of one drug for each id."""
    items = [{"text": "Velorim", "status": "continue"}]
    path.write_text("".join(json.dumps({"id": i, "gold": {"medication": items}}) + "\n" for i in ids))
    return path


def options(records: Path | str, **changes: str | None) -> dict[str, str | None]:
    """All five, as the command line gives them."""
    given: dict[str, str | None] = {
        "records": str(records), "hardware": "cpu", "tasks": "medication,tests", "gold": "none", "report_text": "no",
    }  # fmt: skip
    return given | changes


def made_from(shipped: str, tmp_path: Path, **changes: str | None) -> str:
    """The text of a config made from a shipped one."""
    records = tmp_path / "charts"
    given = options(records if records.exists() else charts(records), hardware=HARDWARE.get(shipped, shipped))
    return new_config(ask_all(given | changes), tmp_path / "mine")


def comments(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("#")]


@pytest.mark.parametrize("shipped", SHIPPED)
def test_what_no_answer_concerns_is_the_shipped_configs_to_the_letter(shipped: str, tmp_path: Path) -> None:
    source = (CONFIGS / f"{shipped}.yaml").read_text(encoding="utf-8")
    made = made_from(shipped, tmp_path)
    values, theirs = yaml.safe_load(made), yaml.safe_load(source)
    assert values.keys() - OF_THE_ANSWERS == theirs.keys() - OF_THE_ANSWERS
    for name in theirs.keys() - OF_THE_ANSWERS:
        for role_option, value in list(theirs[name].items()) if isinstance(theirs[name], dict) else ():
            if isinstance(value, str) and value.startswith("../"):
                assert Path(values[name].pop(role_option)) == (CONFIGS / value).resolve()
                del theirs[name][role_option]
        assert values[name] == theirs[name]
    assert values.get("gates") == theirs.get("gates")
    head, sections = split_sections(source)
    of_answers = {line for name in OF_THE_ANSWERS & sections.keys() - {"gates"} for line in comments(sections[name])}
    of_head = [line for line in comments(head) if "make distill" not in line]
    for line in [*of_head, *(line for text in sections.values() for line in comments(text))]:
        assert line in made or line in of_answers
    assert "path/to/charts" not in made
    assert max(map(len, made.splitlines())) <= 140


@pytest.mark.parametrize("shipped", SHIPPED)
def test_each_option_of_the_config_is_explained(shipped: str, tmp_path: Path) -> None:
    lines = made_from(shipped, tmp_path).splitlines()
    options = [number for number, line in enumerate(lines) if re.match(r"\w+:", line)]
    assert len(options) >= 9
    for number in options:
        assert lines[number - 1].startswith("# "), f"{lines[number]} has no line above it that explains it"


@pytest.mark.parametrize("shipped", SHIPPED)
def test_with_gold_the_gates_are_those_that_shipped_configs_offer(shipped: str, tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    given = options(records, hardware=HARDWARE.get(shipped, shipped), gold=str(gold(tmp_path / "gold.jsonl", "c1")))
    made = new_config(ask_all(given), tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(made)
    (tmp_path / "mine" / "tasks").symlink_to(CONFIGS / "tasks")
    gates = load_run(tmp_path / "mine" / "config.yaml").config.gates
    offered = re.findall(r"^  #?\s*- \{metric: (\w+)", (CONFIGS / "gpu-24gb.yaml").read_text(), re.MULTILINE)
    assert sorted(gate.metric for gate in gates) == sorted(offered)
    assert "joint_f1" in offered and "invented_rate" in offered
    without = yaml.safe_load(new_config(ask_all(given | {"tasks": "tests"}), tmp_path / "mine"))["gates"]
    assert {gate["metric"] for gate in without} == {*offered} - {"stop_as_continue_rate"}


def test_shipped_gpu_configs_have_one_section_of_gates() -> None:
    sections = {name: split_sections((CONFIGS / f"{name}.yaml").read_text())[1]["gates"] for name in PLANNED_FOR}
    assert len(set(sections.values())) == 1


@pytest.mark.parametrize("name", PLANNED_FOR)
def test_the_cards_a_shipped_config_is_planned_for_are_those_its_head_names(name: str) -> None:
    assert f"--cards {PLANNED_FOR[name]}`" in (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    assert pick(parse_cards(PLANNED_FOR[name]))[0] == f"configs/{name}.yaml"


@pytest.mark.parametrize(
    "name",
    [
        "charts",
        "two words",
        "it's",
        'say "aah"',
        "Ärzte-Brief",
        "a: b",
        "#1",
        "- x",
        "{a}",
        "%s",
        "$HOME",
        "*",
        "~",
        "a\u00a0b\u202fc",
    ],
)
def test_any_printable_path_arrives_as_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = charts(tmp_path / name)
    folder = tmp_path / f"mine {name}"
    folder.mkdir()
    (folder / "tasks").symlink_to(CONFIGS / "tasks")
    given = options(f"./{name}", gold=str(gold(tmp_path / f"gold {name}.jsonl", "c1", "c5")))
    (folder / "config.yaml").write_text(new_config(ask_all(given), folder), encoding="utf-8")
    run = load_run(folder / "config.yaml")
    (source,) = run.config.records
    assert source.type == "folder" and source.path == records
    assert source.gold is not None and source.gold.path == tmp_path / f"gold {name}.jsonl"
    assert run.dir == folder / "run"


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


def test_a_file_that_is_no_gold_leaves_nothing(tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    for text in ("", "not gold\n", '{"a": 1}\n', '{"id": "c1", "gold": {"surgery": []}}\n'):
        (tmp_path / "gold.jsonl").write_text(text)
        with pytest.raises(InputError, match=re.escape(str(tmp_path / "gold.jsonl"))):
            init(tmp_path / "mine", options(records, gold=str(tmp_path / "gold.jsonl")))
    assert not (tmp_path / "mine").exists()


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


def test_the_question_names_every_shipped_task() -> None:
    from chartdistill.new_config.answers import QUESTIONS

    (asked,) = [question.asks for question in QUESTIONS if question.name == "tasks"]
    assert all(name in asked for name in task_files())


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"\x03", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_an_end_in_the_middle_of_the_questions_leaves_nothing(end: bytes, tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "chartdistill", "init", str(tmp_path / "mine")],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
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
