"""A run to evaluate: all that comes before, with gold for labels and an untrained adapter."""

from __future__ import annotations

import json
from pathlib import Path

from chartdistill.config import Run
from chartdistill.prompting.answer_format import format_answer
from chartdistill.runtime.run_folder import RowWriter, make_folder, read_rows, write_text
from chartdistill.schema import Gate, Label, Record, TrainExample
from training_run import write_adapter


def finish(folder: Path) -> None:
    make_folder(folder)
    write_text(folder / "manifest.json", json.dumps({"fingerprint": folder.name, "seconds": 1.0}))


def write_what_train_needs_and_leaves(run: Run, model: Path) -> None:
    """What `label`, `curate` and `train` would write of records that are prepared."""
    records = list(read_rows(run.dir / "records" / "records.jsonl", Record))
    with RowWriter(run.dir / "labels" / "labels.jsonl") as labels:
        for record in records:
            for task in run.tasks:
                gold = (record.gold or {})[task.name]
                labels.write(
                    Label(
                        key=f"{record.id}{task.name}", record=record.id, task=task.name, strategy="chain",
                        gate=Gate(answer="yes"), completion=format_answer(gold), finish_reason="stop",
                    )
                )  # fmt: skip
    with RowWriter(run.dir / "curated" / "train.jsonl") as examples:
        examples.write(*(
            TrainExample(record=r.id, task="tests", split=r.split, prompt="p", completion="c")
            for r in records if r.split != "test"
        ))  # fmt: skip
    for name in ("kept", "rejected"):
        with RowWriter(run.dir / "curated" / f"{name}.jsonl"):
            pass
    for stage in ("labels", "curated", "adapter"):
        finish(run.dir / stage)
    write_adapter(run.dir / "adapter", model)
