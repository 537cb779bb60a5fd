"""A study in files, of a few charts and a tiny model."""

from __future__ import annotations

from pathlib import Path

import yaml

from places import ROOT


def write_study(folder: Path, model_folder: Path, options: dict[str, object]) -> Path:
    """A study of six training records and three test records, with the tiny model as teacher and student."""
    model = {"model": str(model_folder), "engine": {"type": "transformers"}}
    base = {
        "name": "mini", "run_dir": "unused", "system": "Answer.", "teacher": model, "student": model,
        "tasks": [str(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "tests")],
        "records": [
            {"type": "synthetic", "pool": "train", "count": 6, "seed": 1, "split": "train"},
            {"type": "synthetic", "pool": "heldout", "count": 3, "seed": 3, "split": "test"},
        ],
        "label": {"max_answer_tokens": 8, "strategy": "direct"},
        "train": {"epochs": 1, "checkpoints": 1},
        "evaluate": {"max_answer_tokens": 8, "bootstrap_resamples": 100},
    }  # fmt: skip
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    path = folder / "study.yaml"
    named = {"name": "mini-study", "config": "base.yaml", "run_dir": str(folder / "study")}
    path.write_text(yaml.safe_dump(named | options))
    return path
