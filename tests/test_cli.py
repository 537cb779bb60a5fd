"""The command line as a user meets it: plain errors, exit codes, the dry run."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.command_line import EXIT_CODES, build_parser, completion
from command_line import chartdistill, forked
from places import ROOT


def test_missing_weights_are_said_before_any_work(tmp_path: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    (charts / "a.txt").write_text("Takes Velorim 20 mg daily.")
    run_dir = tmp_path / "run"
    answer = forked("run", "configs/gpu-24gb.yaml", "--records", str(charts), "--run-dir", str(run_dir))
    assert answer.returncode == 4
    assert "hf download Qwen/Qwen3-8B-FP8" in answer.stderr
    assert "make demo" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not run_dir.exists()


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    answer = forked("run", "configs/demo.yaml", "--run-dir", str(tmp_path / "run"), "--dry-run", "--json")
    plan = json.loads(answer.stdout)
    assert plan["tasks"] == ["medication", "prognosis", "diagnosis", "tests"]
    assert plan["config"]["train"]["lora"]["rank"] == 16
    assert not any(plan["complete"].values())
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_wrong_config_has_its_own_exit_code() -> None:
    answer = chartdistill("run", "configs/no-such.yaml")
    assert answer.returncode == 2
    assert "does not exist" in answer.stderr


def test_prepare_says_what_it_rejected_and_passed_over_and_shows_no_older_report(tmp_path: Path) -> None:
    charts, run_dir = tmp_path / "charts", tmp_path / "run"
    charts.mkdir()
    (charts / "a.txt").write_text("Takes Velorim 20 mg daily.")
    (charts / "b.txt").write_bytes(b"%PDF-1.4\n1 0 obj\n")
    (charts / "C.TXT").write_text("Takes Velorim 20 mg daily.")
    old = run_dir / "report" / "report.json"
    old.parent.mkdir(parents=True)
    old.write_text("not even JSON", encoding="utf-8")
    answer = forked("prepare", "configs/demo.yaml", "--records", str(charts), "--run-dir", str(run_dir))
    assert answer.returncode == 0, answer.stderr
    shown = " ".join(answer.stdout.replace("│", " ").split())
    assert "rejected 1 (pdf 1)" in shown and "passed_over 1" in shown and "kept 1 (" in shown
    assert "report.html" not in shown


def test_score_shows_its_forms_and_how_many_pairs_are_left_to_judge(tmp_path: Path) -> None:
    gold, answers, left = (tmp_path / name for name in ("gold.jsonl", "answers.jsonl", "left.jsonl"))
    gold.write_text('{"id": "c1", "gold": {"diagnosis": [{"text": "sore throat"}]}}\n', encoding="utf-8")
    answers.write_text('{"record": "c1", "task": "diagnosis", "items": ["angina of the throat"]}\n', encoding="utf-8")
    answer = forked("score", str(answers), str(gold), "--unmatched", str(left))
    assert f"1 unmatched pairs in {left}: for `same` write true or false" in answer.stdout
    forms = forked("score", "--help").stdout
    assert '{"record": "c1", "task": "medication", "completion": "aspirin | stop"}' in forms


def verbs() -> dict[str, str]:
    """Verb -> its help page."""
    parser = build_parser()
    (found,) = [action for action in parser._actions if action.dest == "command"]
    assert found.choices is not None
    return {name: verb.format_help() for name, verb in dict(found.choices).items()}  # type: ignore[call-overload]


@pytest.mark.parametrize("name", sorted(verbs()))
def test_each_verb_has_a_sentence_and_an_example_that_its_own_grammar_takes(name: str) -> None:
    page = verbs()[name]
    (example,) = [line.removeprefix("example: ") for line in page.splitlines() if line.startswith("example: ")]
    words = shlex.split(example.removeprefix('eval "$(').removesuffix(')"'))
    assert words[:2] == ["chartdistill", name]
    assert build_parser().parse_args(words[1:]).command == name
    assert page.count(".\n\n") >= 1 and "--verbose" in page


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["predct", "x"], "did you mean 'predict'?"),
        (["evalute"], "did you mean 'evaluate'?"),
        (["reprot", "c.yaml"], "did you mean 'report'?"),
        (["import_model"], "did you mean 'import-model'?"),
        (["run", "c.yaml", "--rundir", "x"], "did you mean '--run-dir'?"),
        (["zzz"], "Verbs: init, run, prepare, label"),
        ([], "name a verb, for example: chartdistill run configs/demo.yaml"),
        (["--verison"], "did you mean '--version'?"),
        (["-x", "run"], "unknown: -x"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args(typed)
    assert stop.value.code == 2
    assert meant in capsys.readouterr().err


def test_help_names_every_exit_code_that_errors_have() -> None:
    import chartdistill.errors as errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")]
    assert {kind.exit_code for kind in kinds} <= set(EXIT_CODES)
    page = build_parser().format_help()
    assert all(meaning in page for meaning in EXIT_CODES.values())
    told = (ROOT / "docs" / "your-charts.md").read_text(encoding="utf-8")
    table = told.partition("| exit code | meaning |")[2].partition("\n\n")[0]
    codes = [int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in cell.split(", ")]
    assert sorted(codes) == sorted(EXIT_CODES)


def test_quiet_says_of_doctor_what_it_does_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["doctor", "--help"])
    assert "only what is amiss, and the verdict" in " ".join(capsys.readouterr().out.split())


SLOW_IMPORT = """
import importlib.abc, runpy, sys, time, weakref
def wait(_):
    print("importing", flush=True)
    time.sleep(5)
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == waited_for:
            sys.meta_path.remove(self)
            if in_a_callback:  # where Python drops exceptions
                gone = Slow()
                watched = weakref.ref(gone, wait)
                del gone
            else:
                wait(None)
in_a_callback = sys.argv.pop(1) == "in a callback"
waited_for = sys.argv.pop(1)
sys.meta_path.insert(0, Slow())
runpy.run_module("chartdistill", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", ["pydantic", "chartdistill.pipeline"])
@pytest.mark.parametrize("where", ["in the open", "in a callback"])
@pytest.mark.parametrize("heeds", [True, False])
def test_ctrl_c_while_libraries_are_imported(library: str, where: str, heeds: bool) -> None:
    """One sentence; but a caller that ignores Ctrl-C (`nohup`, a shell's background job) is not stopped by it."""
    command = [sys.executable, "-c", SLOW_IMPORT, where, library, "run", "configs/demo.yaml", "--dry-run"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL if heeds else signal.SIG_IGN),
    ) as verb:  # fmt: skip
        assert verb.stdout is not None
        assert verb.stdout.readline() == "importing\n"
        os.killpg(verb.pid, signal.SIGINT)
        said, errors = verb.communicate(timeout=120)
    if heeds:
        assert (verb.returncode, said) == (130, "")
        assert errors == "chartdistill: interrupted; what was finished is kept, run the same command to go on.\n"
    else:
        assert (verb.returncode, errors) == (0, "")
        assert "prepare" in said


@pytest.mark.parametrize("where", ["in the open", "in a callback"])
def test_being_told_to_end_while_libraries_are_imported(where: str) -> None:
    """Python drops what a handler raises in a callback; a supervisor that asked must not be left waiting."""
    command = [
        sys.executable,
        "-c",
        SLOW_IMPORT,
        where,
        "chartdistill.pipeline",
        "run",
        "configs/demo.yaml",
        "--dry-run",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as verb:
        assert verb.stdout is not None
        assert verb.stdout.readline() == "importing\n"
        os.killpg(verb.pid, signal.SIGTERM)
        said, errors = verb.communicate(timeout=120)
    assert (verb.returncode, said, errors) == (143, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_completes_verbs_and_options(shell: str) -> None:
    script = completion(shell)
    assert script.startswith("autoload") is (shell == "zsh")
    asked = "COMP_WORDS=(chartdistill {}); COMP_CWORD={}; _chartdistill; echo ${{COMPREPLY[@]}}"
    body = script.removeprefix("autoload -U +X bashcompinit && bashcompinit\n")

    def completed(words: str, place: int) -> list[str]:
        command = ["bash", "-c", f"{body}\n{asked.format(words, place)}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert completed("pre", 1) == ["prepare", "predict"]
    assert completed("predict --o", 2) == ["--out", "--overwrite"]
    assert completed("predict char", 2) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "has no files at all: put one .txt file for each chart"),
        (["A.TXT", "b.TXT"], "2 named *.TXT"),
        (["a.pdf"], "pdftotext"),
        (["a.docx"], "libreoffice --convert-to txt"),
        (["charts.jsonl"], "Name the file itself"),
    ],
)
def test_a_folder_without_charts_is_told_the_next_step(tmp_path: Path, files: list[str], said: str) -> None:
    from chartdistill.errors import InputError
    from chartdistill.records.sources import source_for

    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError) as stop:
        list(source_for(tmp_path).read(1000))
    assert said in str(stop.value)


def test_a_single_chart_is_told_to_be_named_by_its_folder(tmp_path: Path) -> None:
    from chartdistill.errors import InputError
    from chartdistill.records.sources import source_for

    (tmp_path / "one.txt").write_text("Takes Velorim.")
    with pytest.raises(InputError, match="is one chart"):
        source_for(tmp_path / "one.txt")


def test_each_kind_of_yaml_file_is_sent_to_its_verb() -> None:
    from chartdistill.config import load_run
    from chartdistill.errors import ConfigError
    from chartdistill.study.options import load_study

    configs = ROOT / "configs"
    for load, path, said in (
        (load_run, configs / "study-demo.yaml", "is a study, not a config of one run. Instead: chartdistill study"),
        (load_study, configs / "demo.yaml", "is a config of one run, not a study. Instead: chartdistill run"),
        (load_run, configs / "tasks/tests.yaml", "is a task"),
        (load_run, configs, "is a folder, not a YAML file"),
        (load_run, Path("elsewhere/demo.yaml"), f"shipped: {configs / 'demo.yaml'}"),
    ):
        with pytest.raises(ConfigError) as stop:
            load(path)
        assert said in str(stop.value)


def test_a_folder_that_cannot_be_made_is_said_without_traceback(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("x")
    for place in ("loop", "file", "file/deeper", "x" * 300):
        answer = forked("prepare", "configs/demo.yaml", "--run-dir", str(tmp_path / place))
        assert answer.returncode == 5, answer.stderr
        assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("encoding", "said"), [("latin-1", b"m\xe4rz \\u2265 \\udce4\n"), ("utf-8", "märz ≥ \\udce4\n".encode())]
)
def test_what_a_terminal_has_no_sign_for_ends_no_verb(encoding: str, said: bytes) -> None:
    code = (
        "from chartdistill import cli\n"
        "cli._call = lambda arguments: print('m\\u00e4rz \\u2265 \\udce4') or 0\n"
        "cli.main(['completion', 'bash'])"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_output_that_finds_no_room_or_no_reader_is_said_without_a_traceback() -> None:
    command = [sys.executable, "-m", "chartdistill", "completion", "bash"]
    with open("/dev/full", "wb") as full:
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert said.returncode == 5 and said.stderr.startswith("chartdistill: the disk is full"), said.stderr
    assert said.stderr.count("\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    said = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (said.returncode, said.stderr) == (141, "")
