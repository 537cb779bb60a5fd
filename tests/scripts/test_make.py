"""What `make distill` and `make demo` do, by the real Makefile, with this environment in the place of .venv."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A folder that make takes for an environment that is set up."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o700)
    (folder / ".ready").touch()
    return folder


def make(venv: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", f"VENV={venv}", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in ("RECORDS", "CONFIG", "RUN_DIR")}
    environment |= {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_CACHE": str(venv / "hub"), **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


@pytest.mark.slow
def test_all_that_is_missing_is_said_at_once_with_commands_that_parse(venv: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "charts"
    said = make(venv, "distill", "CONFIG=configs/gpu-24gb.yaml", f"RECORDS={nowhere}", f"RUN_DIR={tmp_path / 'run'}")
    assert "Error 3" in said.stderr and "make demo" not in said.stderr  # a slip in the command, and said as one
    assert f"{nowhere} does not exist" in said.stderr
    said = make(venv, "distill", "CONFIG=configs/gpu-24gb.yaml", f"RUN_DIR={tmp_path / 'run'}")
    assert "Error 9" in said.stderr and "make demo" in said.stderr
    for role in ("teacher weights", "student weights", "charts"):
        assert f"NO   {role}" in said.stderr
    commands = [line.strip() for line in said.stderr.splitlines() if " download " in line]
    assert [line.split()[2] for line in commands] == ["Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-1.7B"]
    for line in commands:
        program, rest = line.split(" ", 1)
        line = f"{ROOT / program if '/' in program else program} {rest}"  # as it stands there, for who is in the clone
        offline = os.environ | {"HF_HUB_OFFLINE": "1"}
        tried = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path, env=offline)
        # Usage is 2; without a network it gets as far as looking for the model.
        assert tried.returncode == 1, tried.stderr
        assert "offline" in (tried.stdout + tried.stderr).lower()


@pytest.mark.parametrize("config", [{}, {"CONFIG": "configs/cpu-smollm2.yaml"}], ids=["found", "named"])
def test_charts_that_are_not_there_are_said_before_a_model_is_fetched(
    venv: Path, tmp_path: Path, config: dict[str, str]
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.pdf").touch()
    for charts, why in ((tmp_path / "nowhere", "does not exist"), (tmp_path / "scans", "pdftotext")):
        said = make(venv, "distill", f"RECORDS={charts}", **config)
        assert "Error 3" in said.stderr and f"distill: {charts} " in said.stderr and why in said.stderr
        assert "model" not in said.stdout + said.stderr


def test_the_demo_is_the_demo_whatever_hardware_is_here(venv: Path) -> None:
    planned = make(venv, "-n", "demo", "RUN_DIR=runs/one two", CONFIG="configs/gpu-80gb.yaml").stdout
    assert 'run configs/demo.yaml --run-dir "runs/one two"' in " ".join(planned.split())
    assert "pick_config" not in planned and "gpu-80gb" not in planned
    refused = make(venv, "-n", "demo", "RECORDS=charts")
    assert refused.returncode == 2 and "make distill RECORDS=" in refused.stderr


def test_charts_without_a_run_folder_get_one_that_holds_no_other_charts_run(venv: Path) -> None:
    planned = " ".join(make(venv, "-n", "distill", "RECORDS=a/my charts").stdout.split())
    assert 'pick_run_dir.py "a/my charts") || exit $?; \\ !' in planned
    assert '--records "a/my charts" --run-dir "$run_dir" --doctor' in planned
    named = make(venv, "-n", "distill", "RECORDS=a/charts", "RUN_DIR=runs/x").stdout
    assert "pick_run_dir" not in named and '--run-dir "runs/x"' in named
    assert "run-dir" not in make(venv, "-n", "distill").stdout


def test_an_environment_whose_python_is_gone_is_set_up_again(venv: Path, tmp_path: Path) -> None:
    """An upgrade of the system leaves a link to nowhere: make said `No such file or directory` and no more."""
    assert "scripts/setup.sh" not in make(venv, "-n", "demo").stdout
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(tmp_path / "python3.9")
    assert "scripts/setup.sh" in make(venv, "-n", "demo").stdout
