"""Where `make distill RECORDS=...` writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.records.prepare import prepare
from chartdistill.records.sources import FolderSource, PrepareOptions
from places import ROOT


def picked(cwd: Path, records: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/pick_run_dir.py"), records]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_charts_of_another_folder_of_this_name_do_not_replace_the_first_ones_run(tmp_path: Path) -> None:
    """`make distill RECORDS=b/charts` trained over the adapter and the report of `RECORDS=a/charts`."""
    for home in ("a", "b"):
        (tmp_path / home / "charts").mkdir(parents=True)
    (tmp_path / "a/charts/one.txt").write_text("She was told to stop Velorim 5 mg today.")
    assert picked(tmp_path, "a/charts").stdout.strip() == "runs/charts"
    prepare([FolderSource(path=tmp_path / "a/charts")], tmp_path / "runs/charts/records", PrepareOptions())
    for again in ("a/charts", "a/charts/", "a/charts/*.TXT", str(tmp_path / "a/charts")):
        assert picked(tmp_path, again).stdout.strip() == "runs/charts"
    other = picked(tmp_path, "b/charts")
    assert other.returncode == 5 and not other.stdout
    assert f"holds the run of {tmp_path / 'a/charts'}" in other.stderr and "RUN_DIR=runs/NAME" in other.stderr


@pytest.mark.parametrize("records", [".", "charts/.."])
def test_a_run_of_the_current_folder_goes_below_runs(records: str, tmp_path: Path) -> None:
    """`RECORDS=..` wrote its run into the folder that make was called in."""
    (tmp_path / "charts").mkdir()
    assert picked(tmp_path, records).stdout.strip() == f"runs/{tmp_path.name}"


def test_a_path_without_a_name_is_refused(tmp_path: Path) -> None:
    refused = picked(tmp_path, "/")
    assert refused.returncode == 5 and "RUN_DIR=runs/NAME" in refused.stderr
