"""A run folder with traces of a record in every kind of file that a verb writes, and an own way of finding them."""

from __future__ import annotations

import json
import os
import random
import re
import signal
from pathlib import Path
from typing import Any

from chartdistill.demo.charts import write_chart
from chartdistill.erasure.erase import erase
from chartdistill.evaluation.registration import register
from chartdistill.evaluation.variant import Variant
from chartdistill.records import body_hash
from chartdistill.runtime.run_folder import make_folder, read_rows, write_text
from chartdistill.schema import (
    CuratedLabel,
    Label,
    Prediction,
    Record,
    RejectedRecord,
    Thought,
    ThoughtRow,
    TrainExample,
)
from report_run import write_manifest, write_rows

GONE, NEAR, KEPT, HELD_OUT = "chart-30", "chart-31", "chart-300", "chart-2"
"""The record to erase, one of its cluster, one whose id only begins like it, and one of the test split."""
SECRET = "Quibbleton Marmaduke's left thumb itches whenever the harbour bell rings at dusk."
"""Words of the record to erase alone."""


def write_run(folder: Path) -> Path:
    """Forty short records; of each rows in all files, and of `GONE` also what killed calls leave."""
    rng = random.Random(8)
    names = [*(f"chart-{number}" for number in range(39)), KEPT]
    records = []
    for number, name in enumerate(names):
        text = write_chart(rng, "heldout", 40).text + f" Room {number} of ward {number % 7}, bed {number * 13}."
        text += f" {SECRET}" if name == GONE else ""
        cluster = "near" if name in (GONE, NEAR) else f"c{number}"
        split = "test" if number < 10 else "validation" if number < 14 else "train"
        source = f"charts.jsonl#{number}"
        records.append(Record(id=name, source=source, text=text, cluster=cluster, split=split, segments=()))  # type: ignore[arg-type]
    write_rows(folder / "records/records.jsonl", *records)
    copy = f"same words as x, which is kept as record {GONE}"
    write_rows(
        folder / "records/rejected.jsonl", RejectedRecord(source="y", id="copy-30", reason="duplicate", detail=copy)
    )
    counts = {"read": 41, "kept": 40, "rejected": 1, "by_reason": {"duplicate": 1}, "clusters": 39}
    write_manifest(folder / "records", counts=counts)
    _write_answers(folder, records)
    _write_leftovers(folder, next(record for record in records if record.id == GONE))
    return folder


def _write_answers(folder: Path, records: list[Record]) -> None:
    labels = [Label(key=f"k{r.id}", record=r.id, task="medication", strategy="direct", completion="x") for r in records]
    write_rows(folder / "labels/labels.jsonl", *labels)
    write_manifest(folder / "labels", counts={"labels": len(labels), "failures": 0})
    write_rows(folder / "labels/shard-0-of-2.jsonl", *labels[::2])
    write_rows(folder / "labels/labels.journal.jsonl", *labels)
    thoughts = [
        ThoughtRow(
            key=f"k{r.id}", record=r.id, task="medication",
            thoughts=(Thought(question="q", text=f"It says: {r.text}", tokens=9),),
        )
        for r in records
    ]  # fmt: skip
    write_rows(folder / "labels/thoughts.jsonl", *thoughts)
    write_rows(folder / "labels/thoughts-of-shard-0-of-2.jsonl", *thoughts[::2])
    kept = [CuratedLabel(record=r.id, task="medication", items=()) for r in records]
    write_rows(folder / "curated/kept.jsonl", *kept)
    write_rows(folder / "curated/rejected.jsonl")
    taught = [r for r in records if r.split != "test"]
    write_rows(folder / "curated/train.jsonl", *(
        TrainExample(record=r.id, task="medication", split=r.split, prompt=f"{r.text}\n\nList.", completion="x")
        for r in taught
    ))  # fmt: skip
    chats = [{"messages": [{"role": "user", "content": f"{r.text}\n\nList."}, {"role": "assistant", "content": "x"}]}
             for r in taught]  # fmt: skip
    write_text(folder / "curated/train_messages.jsonl", "".join(json.dumps(one) + "\n" for one in chats))
    write_text(folder / "curated/readmissions.json", json.dumps([f"{GONE}:medication", f"{KEPT}:medication"]) + "\n")
    counts = {"read": 40, "kept": 40, "rejected": 0, "train_examples": {"train": 26, "validation": 4}}
    write_manifest(folder / "curated", counts=counts)
    tested = [r for r in records if r.split == "test"]
    for arm in ("teacher", "base", "student", "student_filtered"):
        rows = [Prediction(key=arm, record=r.id, task="medication", arm=arm, completion="x", items=()) for r in tested]
        write_rows(folder / f"predictions/{arm}.jsonl", *rows)
    register(folder, (), tested, "evaluate", answering=True)
    variants = [Variant.of(r, "deleted", r.text + " changed") for r in records]
    write_rows(folder / "predictions/variants/variants.jsonl", *variants)
    write_rows(folder / "predictions/variants/student.jsonl", *(
        Prediction(key="v", record=v.id, task="medication", arm="student", completion="x", items=()) for v in variants
    ))  # fmt: skip
    scores = {"longest_run": {"scored_record": "chart-1", "trained_record": GONE}, "words": 9}
    write_text(folder / "predictions/scores.json", json.dumps(scores, indent=1))
    write_manifest(folder / "predictions", counts={"records": 10, "predictions": {}})


def _write_leftovers(folder: Path, gone: Record) -> None:
    for place in ("report", "cache/arrow", "review", "records/.datasets-x", "adapter/checkpoints/checkpoint-3"):
        make_folder(folder / place)
    write_text(folder / "report/report.html", f"<p>{gone.text}</p>")
    write_manifest(folder / "report")
    write_text(folder / "cache/arrow/data.bin", gone.text)
    write_text(folder / "records/.datasets-x/part", gone.text)
    write_text(folder / "records/.staged.jsonl", gone.line() + "\n")
    write_text(folder / "labels/.labels.jsonl.7.partial", gone.line())
    decisions = [{"record": name, "task": "medication", "who": "A", "note": "as said"} for name in (GONE, KEPT)]
    write_text(folder / "review/decisions.jsonl", "".join(json.dumps(one) + "\n" for one in decisions))
    write_text(folder / "adapter/checkpoints/checkpoint-3/optimizer.pt", gone.text)
    write_text(folder / "adapter/fingerprint", "0123")
    write_text(folder / "adapter/adapter_model.safetensors", "weights")
    write_manifest(folder / "adapter")


def words_left(folder: Path, text: str, others: list[str]) -> list[str]:
    """Files in which five words in a row of a text stand that no other text has, found by plain comparison."""

    def runs(of: str) -> set[str]:
        words = re.findall(r"[a-z0-9]+", of.lower())
        return {" ".join(words[at : at + 5]) for at in range(len(words) - 4)}

    own = runs(text) - set().union(*map(runs, others))
    assert len(own) > 5
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            said = path.read_bytes().decode("utf-8", "replace").replace("\\n", "\n").replace('\\"', '"')
            found += [path.name] if own & runs(said) else []
    return found


def records_of(folder: Path) -> list[Record]:
    return list(read_rows(folder / "records/records.jsonl", Record))


def body_of(record: Record) -> str:
    return body_hash(record.text)


def erase_and_be_killed(run: Path, number: int) -> None:
    """Erase `GONE`, and be killed at the so-manieth call that changes what is on the disk."""
    calls = 0

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for name in ("replace", "unlink", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
    erase([run], [GONE], say=lambda line: None)
