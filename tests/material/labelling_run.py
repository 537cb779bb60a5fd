"""A run to label, small enough for a random model."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from chartdistill.config import Run, load_run
from chartdistill.records.prepare import prepare
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Label
from places import ROOT


def silent(done: int, total: int | None = None, tokens: int = 0) -> None:
    pass


def config(folder: Path, model: Path, **label_options: object) -> Path:
    """A config with two tasks and six short records, answered by a random model through transformers."""
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    tasks = folder / "tasks"
    if not tasks.exists():
        shutil.copytree(ROOT / "configs/tasks", tasks)
    values |= {
        "run_dir": str(folder / "run"),
        "tasks": ["tasks/medication.yaml", "tasks/tests.yaml"],
        "records": [{"type": "synthetic", "pool": "train", "count": 6, "seed": 4}],
        "label": {"max_answer_tokens": 8, "records_per_window": 2, "max_failure_fraction": 1, **label_options},
    }
    for role in ("teacher", "student"):
        values[role] = {"model": str(model), "engine": {"type": "transformers", "batch_size": 4}}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def prepared(folder: Path, model: Path, **label_options: object) -> Run:
    run = load_run(config(folder, model, **label_options))
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    return run


def rows_of(run: Run) -> list[Label]:
    return list(read_rows(run.dir / "labels" / "labels.jsonl", Label))
