"""The program as a user calls it."""

from __future__ import annotations

import subprocess
import sys

from places import ROOT


def chartdistill(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chartdistill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
