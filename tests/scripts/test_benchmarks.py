"""Scripts are run by hand, so what they use of the program must at least be there, and begin as a verb does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT, SCRIPTS


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("bench_*.py")), ids=lambda script: script.stem)
def test_a_benchmark_finds_what_it_uses(script: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    said = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, env=environment, check=False
    )
    assert said.returncode == 0, said.stderr


@pytest.mark.slow
def test_our_arm_of_the_training_benchmark_runs(tmp_path: Path) -> None:
    out = tmp_path / "train.json"
    sizes = "--shape tiny --dtype float32 --tasks 2 --record-tokens 60 --records-per-step 1 --steps 2 --rounds 1"
    command = [sys.executable, str(SCRIPTS / "bench_train.py"), *sizes.split(), "--arms", "ours"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    said = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert said.returncode == 0 and "not run" not in said.stdout, said.stdout + said.stderr
    assert out.exists()


def test_a_comparison_of_no_rounds_is_refused() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(SCRIPTS / "bench_engine.py"), "--rounds", "0"]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert said.returncode == 2 and "--rounds is 0; at least 1" in said.stderr


OPEN_MODELS = ("VllmEngine", "ask_sheets", "open_teacher", "load_tokenizer", "from_pretrained")


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda script: script.stem)
def test_a_script_that_opens_models_begins_as_a_verb_does(script: Path) -> None:
    """Offline, its sockets guarded, without the lines of libraries."""
    text = script.read_text(encoding="utf-8")
    is_program = "def main" in text and script.stem != "behaviour"  # which reads the demo's tokenizer alone
    if not is_program or not any(name in text for name in OPEN_MODELS):
        pytest.skip("opens none")
    assert "prepare_process()" in text


def test_what_begins_as_a_verb_does_is_quiet_and_stays_on_the_machine() -> None:
    program = """
import logging, os, socket, warnings
from chartdistill.runtime.start import prepare_process
prepare_process()
for name in ("vllm.triton_utils.importing", "vllm.utils.cpu_resource_utils", "accelerate.launchers"):
    logging.getLogger(name).warning("noise of %s", name)
warnings.warn("noise", DeprecationWarning)
assert os.environ["HF_HUB_OFFLINE"] == "1"
try:
    socket.create_connection(("192.0.2.1", 443), 1)
except PermissionError:
    print("guarded")
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHARTDISTILL_", "VLLM_", "HF_"))}
    environment = kept | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("guarded\n", "", 0)
