"""A run for `doctor` to look at, and one line of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chartdistill.config import Run, load_run
from chartdistill.doctor.check import Check
from chartdistill.doctor.diagnosis import Diagnosis
from places import ROOT


def run_with(tmp_path: Path, model: Path, **changes: Any) -> Run:
    """The demo's config with another model, a few charts, and a run folder of its own."""
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text(encoding="utf-8"))
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    values["records"] = [{"type": "synthetic", "count": 3}]
    values["run_dir"] = str(tmp_path / "run")
    for role in ("teacher", "student"):
        values[role]["model"] = str(model)
    for name, value in changes.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_run(path)


def named(found: Diagnosis, name: str) -> Check:
    [check] = [check for check in found.checks if check.name == name]
    return check
