"""A finished run folder with synthetic charts and invented labels, predictions and scores, for the tests of report."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from chartdistill.demo.charts import write_chart
from chartdistill.evaluation import REGISTRATIONS, TrustGate, register
from chartdistill.metrics import HEADLINE
from chartdistill.metrics.catalogue import BY_NAME
from chartdistill.prompting.answer_format import format_answer
from chartdistill.runtime.run_folder import RowWriter, make_folder, read_rows, write_text
from chartdistill.schema import CuratedLabel, Gate, Item, Label, Prediction, Record, Rejection, Row, Task

TASKS = tuple(
    Task(name=name, item=item, statuses=statuses, gate_question="Any?", extraction_question="List.", question="List.")
    for name, item, statuses in (
        ("medication", "drug", ("start", "continue", "change", "stop", "hold", "past", "avoid", "given-once")),
        ("prognosis", "prognosis", ()),
        ("diagnosis", "diagnosis", ()),
        ("tests", "test", ()),
    )
)
ARMS = {"teacher": 0.12, "base": 0.55, "student": 0.2}
"""Arm -> share of its items and answers that go wrong."""
HOSTILE = '<script>alert("x")</script><img src=http://leak.invalid/p.png> Zzyzxol <|im_end|>'
NUM_RECORDS = 60


def write_run(folder: Path, gold: bool = True, seed: int = 3) -> Path:
    """A finished run with invented labels, predictions and scores; the first test record holds hostile text."""
    rng = random.Random(seed)
    records = _write_records(folder, rng, gold)
    _write_labels(folder, records)
    write_rows(folder / "adapter" / "training_log.jsonl")
    lines = [
        {"step": step, "epoch": step / 40, "loss": 2.4 * 0.97**step + 0.3, "learning_rate": 1e-4}
        for step in range(1, 121)
    ]
    checks = [{"step": step, "validation_loss": 2.2 * 0.97**step + 0.4} for step in range(20, 121, 20)]
    rows = sorted([*lines, *checks], key=lambda row: row["step"])
    write_text(folder / "adapter" / "training_log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_manifest(
        folder / "adapter",
        seconds=88.5,
        method="shared-prefix",
        kept_step=90,
        versions={"torch": "2.13.0", "peft": "0.21.2"},
    )
    tested = [record for record in records if record.split == "test"]
    for arm, wrong in ARMS.items():
        answers = [_predict(record, task, arm, wrong, rng) for record in tested for task in TASKS]
        write_rows(folder / "predictions" / f"{arm}.jsonl", *answers)
    write_text(folder / "predictions" / "scores.json", json.dumps(invent_scores(gold)))
    write_manifest(folder / "predictions", seconds=41.0)
    return folder


def set_in_time(folder: Path, *gates: TrustGate) -> None:
    """Register gates as if they had been in the config when the arms began to answer."""
    answers, aside = folder / "predictions", folder / "aside"
    (folder / REGISTRATIONS).unlink(missing_ok=True)
    answers.rename(aside)
    records = read_rows(folder / "records" / "records.jsonl", Record)
    register(folder, gates, (record for record in records if record.split == "test"), "evaluate", answering=True)
    aside.rename(answers)


def write_rows(path: Path, *rows: Row) -> None:
    """Rows of a stage, which stays finished where it was: a writer un-finishes it."""
    manifest = path.parent / "manifest.json"
    finished = manifest.read_bytes() if manifest.exists() else None
    with RowWriter(path) as writer:
        writer.write(*rows)
    if finished is not None:
        manifest.write_bytes(finished)


def write_manifest(folder: Path, **facts: Any) -> None:
    make_folder(folder)
    write_text(folder / "manifest.json", json.dumps({"fingerprint": folder.name, **facts}))


def _write_records(folder: Path, rng: random.Random, gold: bool) -> list[Record]:
    records = []
    for i in range(NUM_RECORDS):
        chart = write_chart(rng, "heldout")
        text = f"{HOSTILE}\n{chart.text}" if i == 0 else chart.text
        items = {task: tuple(Item(text=t, status=s) for t, s in found) for task, found in chart.gold.items()}
        records.append(
            Record(
                id=f"chart-{i:03d}",
                source=f"notes/chart-{i:03d}.txt",
                text=text,
                cluster=f"c{i}",
                split="test" if i < 24 else "train",
                segments=((0, 0, len(text)),),
                gold=items if gold else None,
            )
        )
    write_rows(folder / "records" / "records.jsonl", *records)
    counts = {
        "read": NUM_RECORDS + 4,
        "kept": NUM_RECORDS,
        "rejected": 4,
        "by_reason": {"duplicate": 3, "empty": 1},
        "by_split": {"train": NUM_RECORDS - 24, "test": 24},
        "clusters": NUM_RECORDS,
    }
    write_manifest(folder / "records", seconds=1.2, counts=counts)
    return records


def _write_labels(folder: Path, records: list[Record]) -> None:
    labels, kept, rejected = [], [], []
    for i, record in enumerate(records):
        for task in TASKS:
            items = (record.gold or {}).get(task.name, ())
            cut = (i + len(task.name)) % 17 == 0
            labels.append(
                Label(
                    key=f"{i}{task.name}",
                    record=record.id,
                    task=task.name,
                    strategy="chain",
                    gate=Gate(answer="yes" if items else "no"),
                    completion=format_answer(items),
                    finish_reason="length" if cut else "stop",
                )
            )
            if cut:
                reason = Rejection(filter="truncation", reason="truncated", evidence="finish reason length")
            elif (i + len(task.name)) % 11 == 0:
                reason = Rejection(
                    filter="grounding",
                    reason="invented",
                    item=Item(text="Nosuchdrug"),
                    evidence="no part of the text matches",
                )
            else:
                kept.append(CuratedLabel(record=record.id, task=task.name, items=items))
                continue
            rejected.append(CuratedLabel(record=record.id, task=task.name, items=None, rejections=(reason,)))
    write_rows(folder / "labels" / "labels.jsonl", *labels)
    write_manifest(
        folder / "labels", seconds=63.0, labels=len(labels), failures=0, prompt_tokens=90210, strategy="chain"
    )
    write_rows(folder / "curated" / "kept.jsonl", *kept)
    write_rows(folder / "curated" / "rejected.jsonl", *rejected)
    names = [label.rejections[0].reason for label in rejected]
    by_task = {
        task.name: {
            "kept": sum(label.task == task.name for label in kept),
            "rejected": sum(label.task == task.name for label in rejected),
            "none_found": sum(label.task == task.name and label.items == () for label in kept),
        }
        for task in TASKS
    }
    counts = {"read": len(labels), "kept": len(kept), "rejected": len(rejected), "by_task": by_task,
              "by_reason": {name: names.count(name) for name in sorted(set(names))}}  # fmt: skip
    write_manifest(folder / "curated", seconds=0.4, counts=counts)


def _predict(record: Record, task: Task, arm: str, wrong: float, rng: random.Random) -> Prediction:
    if rng.random() < wrong / 12:
        return Prediction(
            key="k", record=record.id, task=task.name, arm=arm, completion="Sure! Here is <b>a list</b>", items=None
        )
    items = [item for item in (record.gold or {}).get(task.name, ()) if rng.random() > wrong / 2]
    if rng.random() < wrong / 2:
        items.append(
            Item(text=rng.choice(("Inventamol", "vitals", "history")), status="start" if task.statuses else None)
        )
    if task.statuses and items and rng.random() < wrong:
        items[0] = items[0].model_copy(update={"status": "hold"})
    answer = format_answer(items)
    return Prediction(
        key="k", record=record.id, task=task.name, arm=arm, completion=answer, finish_reason="stop", items=tuple(items)
    )


def invent_scores(gold: bool) -> dict[str, Any]:
    """Scores with a value of its own for every cell, whatever other cells there are, so that a mix-up cannot pass."""
    rng = random.Random(11)

    def luck(*cell: str) -> random.Random:
        return random.Random(" ".join(("scores", *cell)))

    def estimate(value: float, spread: float, n: int) -> dict[str, Any]:
        low, high = round(value - spread, 4), round(value + spread, 4)
        found = {"value": round(value, 4), "low": low, "high": high, "n": n, "unscored": 0, "reason": None}
        return found | {"records": None, "clusters": 24, "discordant": None}

    metrics = [m for m in BY_NAME.values() if (gold or not m.needs_gold) and m.name != "attribute_error_rate"]
    tasks = ("all", *(task.name for task in TASKS))
    arms: dict[str, Any] = {}
    for arm, wrong in ARMS.items():
        arms[arm] = {"cost": {"seconds": 10 + 30 * wrong, "prompt_tokens": 40000, "completion_tokens": 1900}}
        for task in tasks:
            n = 212 if task == "all" else rng.randint(40, 70)
            arms[arm][task] = {
                m.name: estimate(
                    (0.9 - wrong if m.better != "lower" else 0.06 + wrong / 3) + luck(arm, task, m.name).random() / 30,
                    0.03 + luck(arm, task, m.name, "spread").random() / 40,
                    n,
                )
                for m in metrics
                if not (arm == "teacher" and m.name.startswith("teacher"))
            }
    if gold:
        arms["base"]["prognosis"]["abstention_specificity"] = {
            "value": None, "low": None, "high": None, "n": 0, "unscored": 2, "reason": "no record without prognosis",
            "records": None, "clusters": 0, "discordant": None,
        }  # fmt: skip
    differences = {}
    for first, second in (("student", "base"), ("student", "teacher")):
        gap = {"base": 0.31, "teacher": -0.01}[second]
        differences[f"{first}-{second}"] = {
            task: {
                m.name: estimate(
                    (-gap / 3 if m.better == "lower" else gap) + luck(first, second, task, m.name).random() / 90,
                    0.04,
                    212,
                )
                for m in metrics
            }
            for task in tasks
        }
    for of in differences.values():
        for row in (row for found in of.values() for row in found.values()):
            row["discordant"] = 15
    p_values = {
        pair: {"all": {name: {"p": p / 6, "holm": p, "clusters": 24, "reason": None} for name in HEADLINE}}
        for pair, p in (("student-base", 0.0006), ("student-teacher", 0.9))
    }
    return {
        "gold": {task.name: gold for task in TASKS}, "arms": arms, "differences": differences,
        **({"p_values": p_values, "verdicts": 6} if gold else {}),
    }  # fmt: skip
