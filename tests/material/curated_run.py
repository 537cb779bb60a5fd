"""A run whose labels are curated, to train a student on."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from chartdistill.config import Run, load_run
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import (
    RowWriter,
    read_rows,
    write_manifest,
)
from chartdistill.schema import Label, Record, Split, TopLogprobs, TrainExample
from places import ROOT

TASKS = ("medication", "diagnosis")
ANSWERS = {"medication": "aspirin | continue", "diagnosis": "None found"}


def silent(done: int, total: int | None = None, tokens: int = 0) -> None:
    """No progress is shown."""


def make_run(folder: Path, model: Path, records: int = 6, **options: Any) -> Run:
    """A run whose labels are curated: four training records to one validation record and one test record."""
    values = {
        "name": "test", "run_dir": str(folder / "run"), "system": "Answer from this chart alone.",
        "tasks": [str(ROOT / f"configs/tasks/{task}.yaml") for task in TASKS],
        "records": [{"type": "synthetic", "count": 1}],
        "teacher": {"model": str(model)}, "student": {"model": str(model)},
        "train": {"epochs": 1, "learning_rate": 1e-2, "validation_passes": 1, "validation_records": 1,
                  "dtype": "float32", "lora": {"rank": 4}, **options},
    }  # fmt: skip
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    run = load_run(path)
    splits: list[Split] = ["train", "train", "validation", "train", "test", "train"]
    with RowWriter(run.dir / "records/records.jsonl") as out, RowWriter(run.dir / "curated/train.jsonl") as examples:
        for i in range(records):
            text = f"Patient {i} takes aspirin daily. " + "No other findings. " * (i % 3)
            split, source = splits[i % 6], f"{'north' if i % 2 else 'south'}/{i}.txt"
            out.write(Record(id=f"r{i}", source=source, text=text, cluster=f"c{i}", split=split, segments=()))
            for task in TASKS[: 1 + i % 2]:
                if split != "test":
                    examples.write(
                        TrainExample(record=f"r{i}", task=task, split=split, prompt=text, completion=ANSWERS[task])
                    )
    write_manifest(run.dir / "curated", f"mark of {records}", 0.0)
    return run


def store_distributions(run: Run, model: Path, answers: dict[str, str]) -> None:
    """Labels with the teacher's two likeliest tokens at each place."""
    builder = PromptBuilder.from_tokenizer(load_tokenizer(model), "")

    def packed(values: Any, kind: str) -> str:
        return base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode()

    with RowWriter(run.dir / "labels/labels.jsonl") as out:
        for row in read_rows(run.dir / "curated/train.jsonl", TrainExample):
            ids = builder.answer(answers[row.task])
            top = TopLogprobs(k=2, token_ids=packed(ids, "<i4"), ids=packed([[i, 9] for i in ids], "<i4"),
                              logprobs=packed([[-0.2, -2.5]] * len(ids), "<f2"))  # fmt: skip
            out.write(Label(key=f"{row.record}{row.task}", record=row.record, task=row.task, strategy="direct",
                            completion=answers[row.task], finish_reason="stop", top_logprobs=top))  # fmt: skip
    write_manifest(run.dir / "labels", "labelled", 0.0)
