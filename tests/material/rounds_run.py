"""A small run whose teacher is a file of labels, some of which the filters reject, and whose student reads well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from chartdistill.config import Run, load_run
from chartdistill.pipeline import VERBS, run_verb
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.schema import Item
from places import ROOT

MODEL = ROOT / "src/chartdistill/demo/models/teacher"
"""Trained to answer, so that what it says of a rejected label can be kept."""
TASKS = ("medication", "tests")
INVENTED = {"medication": Item(text="zorvaxin", status="continue"), "tests": Item(text="dream cartography")}
"""Stand in no chart, so that the label is rejected."""
SOURCES = (
    {"type": "synthetic", "pool": "train", "count": 8, "seed": 1, "split": "train"},
    {"type": "synthetic", "pool": "train", "count": 4, "seed": 2, "split": "validation"},
    {"type": "synthetic", "pool": "heldout", "count": 4, "seed": 3, "split": "test"},
)


def write_config(folder: Path, num_wrong: int = 4, **changes: Any) -> Path:
    """A config in `folder`, beside its labels: gold, but an invented item for `num_wrong` training charts."""
    lines, wrong = [], 0
    for number, source in enumerate(SOURCES):
        for entry in SyntheticSource.model_validate(source).read(10**6, folder):
            bad = number == 0 and wrong < num_wrong
            wrong += bad
            for task in TASKS:
                items = (INVENTED[task],) if bad else (entry.gold or {})[task]
                lines.append({"record": entry.id, "task": task, "completion": format_answer(items)})
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    values |= {
        "run_dir": str(folder / "run"),
        "tasks": [str(ROOT / f"configs/tasks/{task}.yaml") for task in TASKS],
        "records": list(SOURCES),
        "teacher": {"labels": str(folder / "labels.jsonl")},
        "student": {"model": str(MODEL), "engine": {"type": "transformers"}},
        "train": {"epochs": 1, "learning_rate": 1e-5, "dtype": "float32"},
        "evaluate": {"max_answer_tokens": 96, "bootstrap_resamples": 100, "confidence": False},
        "gates": [],
        "rounds": 2,
    } | changes
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def here(run: Run, first: str, last: str) -> None:
    """The verbs from the first to the last, in this process."""
    names = list(VERBS)
    for verb in names[names.index(first) : names.index(last) + 1]:
        run_verb(run, verb)


def made(folder: Path, **changes: Any) -> Run:
    """The run of a config in `folder`."""
    return load_run(write_config(folder, **changes))
