"""`evaluate`: teacher, base student and tuned student on the same held-out records. Writes predictions/.

The teacher's answers are its labels for these records, already made by `label`. Base and student answer the
consolidated question in one engine life, the adapter switched on for the student. Stored predictions can be scored
again without an engine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chartdistill.answers import parse_answer
from chartdistill.config import Run
from chartdistill.engines import Generation, Generator, Request
from chartdistill.errors import InputError
from chartdistill.metrics import agreement, difference, score_arm
from chartdistill.metrics.intervals import Estimate
from chartdistill.model_folder import load_tokenizer, model_fingerprint, read_json
from chartdistill.progress import ProgressCallback
from chartdistill.prompts import PromptBuilder
from chartdistill.schema import Label, Prediction, Record, Task, TrainExample, content_hash
from chartdistill.store import (
    Journal,
    RowWriter,
    begin,
    fingerprint,
    is_done,
    read_manifest,
    read_rows,
    require_manifest,
    write_manifest,
    write_text,
)

ARMS = ("teacher", "base", "student")
_RECORDS_PER_WINDOW = 256


def evaluate(run: Run, progress: ProgressCallback) -> dict[str, Any]:
    """Predict with all arms, score them, and return the manifest.

    Raises:
        InputError: the split is empty, or the student was trained on a record (or near-duplicate) of it.
    """
    options, student = run.config.evaluate, run.config.student
    folder, adapter = run.dir / "predictions", run.dir / "adapter"
    upstream = [require_manifest(run.dir / stage, verb)["fingerprint"] for stage, verb in _NEEDS.items()]
    model = run.model_folder("student")
    mark = fingerprint(upstream, options.model_dump(), run.config.system, model_fingerprint(model))
    if is_done(folder, mark):
        return read_manifest(folder) or {}
    started = begin(folder)
    records = held_out_records(run.dir, options.split)
    teacher = teacher_predictions(run.dir, records, run.tasks)
    with RowWriter(folder / "teacher.jsonl") as out:
        out.write(*teacher)
    arms = {"teacher": teacher}
    seconds: dict[str, float] = {"teacher": require_manifest(run.dir / "labels", "label")["seconds"]}
    builder = PromptBuilder.from_tokenizer(load_tokenizer(model), run.config.system, student.template_options)
    rank = int(read_json(adapter / "adapter_config.json")["r"])
    with student.engine.open(model, lora_rank=rank) as generator:
        for number, (arm, folder_or_none) in enumerate((("base", None), ("student", adapter))):
            begin_arm = time.monotonic()
            asked = _Asked(builder, run.tasks, options.max_answer_tokens, arm, folder_or_none)
            arm_mark = content_hash(
                model_fingerprint(model), upstream if arm == "student" else None, student.engine.model_dump()
            )
            _predict(asked, records, generator, folder, arm_mark, number * len(records), 2 * len(records), progress)
            arms[arm] = list(read_rows(folder / f"{arm}.jsonl", Prediction))
            seconds[arm] = time.monotonic() - begin_arm
    scores = _scores(arms, {r.id: r for r in records}, run.tasks, options.seed, options.bootstrap_resamples)
    for arm, rows in arms.items():
        scores["arms"][arm]["cost"] = _cost(rows, seconds[arm])
    write_text(folder / "scores.json", json.dumps(scores, indent=1) + "\n")
    return write_manifest(
        folder, mark, started,
        split=options.split, options=options.model_dump(), arms=list(arms), model=str(model),
        counts={"records": len(records), "predictions": {arm: len(rows) for arm, rows in arms.items()}},
    )  # fmt: skip


_NEEDS = {"records": "prepare", "labels": "label", "curated": "curate", "adapter": "train"}


def held_out_records(run_dir: Path, split: str) -> list[Record]:
    """Records of a split, after checking that no near-duplicate of them was trained on."""
    records = [record for record in read_rows(run_dir / "records" / "records.jsonl", Record) if record.split == split]
    if not records:
        raise InputError(
            f"{run_dir / 'records'} has no record in the split {split!r}, so there is nothing to score on. Raise "
            "prepare.test_fraction, or give more records."
        )
    examples = read_rows(run_dir / "curated" / "train.jsonl", TrainExample)
    trained = {row.record for row in examples if row.split == "train"}
    clusters = {r.cluster for r in read_rows(run_dir / "records" / "records.jsonl", Record) if r.id in trained}
    seen = [record.id for record in records if record.cluster in clusters]
    if seen:
        raise InputError(
            f"{len(seen)} of {len(records)} records of the split {split!r} are near-duplicates of training records "
            f"({', '.join(seen[:5])}): a score on them would be worthless. Run `chartdistill prepare` again."
        )
    return records


def teacher_predictions(run_dir: Path, records: Sequence[Record], tasks: Sequence[Task]) -> list[Prediction]:
    """The teacher's labels of these records as predictions of the arm `teacher`, before any filter."""
    wanted, by_name = {record.id for record in records}, {task.name: task for task in tasks}
    return [
        Prediction(
            key=row.key,
            record=row.record,
            task=row.task,
            arm="teacher",
            completion=row.completion,
            finish_reason=row.finish_reason,
            items=None if row.completion is None else parse_answer(row.completion, by_name[row.task]),
            failure=row.failure,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
        )
        for row in read_rows(run_dir / "labels" / "labels.jsonl", Label)
        if row.record in wanted and row.task in by_name and row.sample == 0
    ]


class _Asked:
    """The consolidated questions, for one arm."""

    def __init__(
        self, builder: PromptBuilder, tasks: Sequence[Task], max_tokens: int, arm: str, adapter: Path | None
    ) -> None:
        self.builder, self.tasks, self.arm, self.adapter = builder, tasks, arm, adapter
        self._max_tokens = max_tokens

    def request(self, record: Record, task: Task) -> Request:
        ids = self.builder.prompt(record.text, task.question)
        return Request(ids, self._max_tokens, self.builder.end_id)

    def prediction(self, key: str, record: Record, task: Task, answer: Generation) -> Prediction:
        return Prediction(
            key=key,
            record=record.id,
            task=task.name,
            arm=self.arm,
            completion=answer.text,
            finish_reason=answer.finish_reason,
            items=None if answer.text is None else parse_answer(answer.text, task),
            failure=answer.failure,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        )


def _predict(
    asked: _Asked,
    records: Sequence[Record],
    generator: Generator,
    folder: Path,
    mark: str,
    done_before: int,
    total: int,
    progress: ProgressCallback,
) -> None:
    tokens = 0
    keys: list[str] = []
    with Journal(folder / f"{asked.arm}.jsonl", Prediction) as journal:
        for start in range(0, len(records), _RECORDS_PER_WINDOW):
            window = records[start : start + _RECORDS_PER_WINDOW]
            pairs = []
            for record in window:
                for task in asked.tasks:
                    request = asked.request(record, task)
                    key = content_hash(
                        mark, asked.arm, record.id, task.name, list(request.prompt_ids), request.max_tokens
                    )
                    keys.append(key)
                    if key not in journal:
                        pairs.append((key, record, task, request))
            answers = generator.generate([request for *_, request in pairs], asked.adapter)
            rows = [asked.prediction(k, r, t, answer) for (k, r, t, _), answer in zip(pairs, answers, strict=True)]
            journal.add(rows)
            tokens += sum(row.prompt_tokens + row.completion_tokens for row in rows)
            progress(done_before + start + len(window), total, tokens)
        journal.finish(keys)


def _scores(
    arms: Mapping[str, list[Prediction]],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """scores.json: whether there is gold, every arm's metrics by task, and the student's paired differences."""
    scores: dict[str, Any] = {"gold": {}, "arms": {}, "differences": {}}
    for task in tasks:
        scores["gold"][task.name] = any(task.name in (record.gold or {}) for record in records.values())
    for arm, rows in arms.items():
        metrics = score_arm(rows, records, tasks, seed=seed, resamples=resamples)
        for task_name, values in agreement(
            rows, arms["teacher"], records, tasks, seed=seed, resamples=resamples
        ).items():
            metrics.setdefault(task_name, {}).update(values)
        scores["arms"][arm] = _as_json(metrics)
    for other in ("teacher", "base"):
        differences = difference(
            arms["student"],
            arms[other],
            records,
            tasks,
            seed=seed,
            resamples=resamples,
            reference_predictions=arms["teacher"],
        )
        scores["differences"][f"student-{other}"] = _as_json(differences)
    return scores


def _as_json(estimates: dict[str, dict[str, Estimate]]) -> dict[str, dict[str, Any]]:
    return {task: {metric: e.model_dump() for metric, e in metrics.items()} for task, metrics in estimates.items()}


def _cost(rows: Iterable[Prediction], seconds: float) -> dict[str, float]:
    rows = list(rows)
    return {
        "seconds": round(seconds, 2),
        "prompt_tokens": sum(row.prompt_tokens for row in rows),
        "completion_tokens": sum(row.completion_tokens for row in rows),
        "failures": sum(row.failure is not None for row in rows),
    }
