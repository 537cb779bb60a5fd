"""A config to make a mistake in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from places import ROOT


def written(tmp_path: Path, change: Any = None) -> Path:
    """A valid config beside copies of the shipped tasks, after `change` has edited its values."""
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    if change:
        change(values)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
