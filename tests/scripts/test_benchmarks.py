"""The benchmarks are run by hand, so what they use of the program must at least be there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT, SCRIPTS


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("bench_*.py")), ids=lambda script: script.stem)
def test_a_benchmark_finds_what_it_uses(script: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    said = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, env=environment, check=False
    )
    assert said.returncode == 0, said.stderr
