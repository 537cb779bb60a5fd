"""`train`: tune a LoRA adapter of the student on the kept labels. Reads curated/train.jsonl, writes adapter/.

The student learns the consolidated question only, with the prompts of `prompts.py`, loss on answer tokens. Several
GPUs: `accelerate launch -m chartdistill.train CONFIG`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chartdistill import privacy
from chartdistill.config import Run, load_run
from chartdistill.errors import TrainingError
from chartdistill.model_folder import load_tokenizer, model_fingerprint
from chartdistill.progress import ProgressCallback, StageBar
from chartdistill.prompts import PromptBuilder
from chartdistill.schema import Record, Split, Task, TrainExample
from chartdistill.store import (
    begin,
    fingerprint,
    is_done,
    make_folder,
    private_umask,
    read_manifest,
    read_rows,
    require_manifest,
    write_manifest,
)
from chartdistill.training.rows import Branch, Example
from chartdistill.training.trainer import check_sharing, load_student, run_training, why_not_shared


def train(run: Run, progress: ProgressCallback) -> dict[str, Any]:
    """Train the adapter of a run and return the manifest.

    Raises:
        TrainingError: nothing to train on, an example longer than `train.max_tokens`, a loss that is not finite.
    """
    options, student = run.config.train, run.config.student
    folder = run.dir / "adapter"
    curated = require_manifest(run.dir / "curated", "curate")
    model_folder = run.model_folder("student")
    mark = fingerprint(
        curated["fingerprint"], model_fingerprint(model_folder), run.config.system, student.template_options,
        options.model_dump(),
    )  # fmt: skip
    if is_done(folder, mark):
        return read_manifest(folder) or {}
    _drop_stale(folder, mark)
    started = begin(folder)
    tokenizer = load_tokenizer(model_folder)
    builder = PromptBuilder.from_tokenizer(tokenizer, run.config.system, student.template_options)
    examples = read_examples(run.dir, run.tasks, builder)
    _check_lengths([*examples["train"], *examples["validation"]], options.max_tokens)
    model = load_student(model_folder, options)
    reason = why_not_shared(model) if options.shared_prefix else "train.shared_prefix is false"
    sharing: dict[str, Any] = {"shared": reason is None, "reason": reason}
    if reason is None:
        busiest = max(examples["train"], key=lambda example: (len(example.branches), -example.longest))
        sharing["first_step_difference"] = check_sharing(model, busiest, builder.end_id)
    else:
        print(f"train: separate rows, because {reason}", file=sys.stderr)
        examples = {split: [row for e in rows for row in e.separate()] for split, rows in examples.items()}
    facts = run_training(model, examples["train"], examples["validation"], options, folder, builder.end_id, progress)
    model.save_pretrained(folder, safe_serialization=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return write_manifest(
        folder, mark, started,
        model=str(model_folder), options=options.model_dump(), sharing=sharing, trainable_parameters=trainable,
        counts={
            "records": {split: len({e.record for e in rows}) for split, rows in examples.items()},
            "answers": {split: sum(len(e.branches) for e in rows) for split, rows in examples.items()},
            "answer_tokens": sum(len(b.answer_ids) for e in examples["train"] for b in e.branches),
        },
        **facts,
    )  # fmt: skip


def _drop_stale(folder: Path, mark: str) -> None:
    """Checkpoints of other options or data are not continued."""
    stamp = folder / "fingerprint"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != mark:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        stamp.write_text(mark, encoding="utf-8")


def read_examples(run_dir: Path, tasks: Iterable[Task], builder: PromptBuilder) -> dict[Split, list[Example]]:
    """Join train.jsonl with the records: one example per record, its tasks as branches, in task order.

    Raises:
        TrainingError: there is nothing in the train split.
    """
    questions = {task.name: task.question for task in tasks}
    answers: dict[str, dict[str, TrainExample]] = {}
    for row in read_rows(run_dir / "curated" / "train.jsonl", TrainExample):
        answers.setdefault(row.record, {})[row.task] = row
    examples: dict[Split, list[Example]] = {"train": [], "validation": []}
    for record in read_rows(run_dir / "records" / "records.jsonl", Record):
        if record.id in answers and record.split in examples:
            branches = tuple(
                Branch(name, builder.branch(question), builder.answer(answers[record.id][name].completion))
                for name, question in questions.items()
                if name in answers[record.id]
            )
            examples[record.split].append(Example(record.id, builder.prefix(record.text), branches))
    if not examples["train"]:
        raise TrainingError(
            f"{run_dir / 'curated' / 'train.jsonl'} has no example of the train split. See curated/rejected.jsonl for "
            "why labels were rejected, or give more records."
        )
    return examples


def _check_lengths(examples: list[Example], max_tokens: int) -> None:
    long = [example for example in examples if example.longest > max_tokens]
    if long:
        longest = max(example.longest for example in long)
        named = ", ".join(example.record for example in long[:5])
        raise TrainingError(
            f"{len(long)} of {len(examples)} records are longer than train.max_tokens = {max_tokens} with question and "
            f"answer (longest {longest} tokens; {named}{', ...' if len(long) > 5 else ''}). Nothing is ever cut off: "
            f"set train.max_tokens to {longest} if the student's context allows, or leave these records out."
        )


def main() -> None:
    """Entry point of `accelerate launch -m chartdistill.train CONFIG [RUN_DIR]`."""
    private_umask()
    run = load_run(Path(sys.argv[1]), run_dir=Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    privacy.enforce(run.config.privacy.allowed_hosts)
    with StageBar("train", unit="steps") as bar:
        train(run, bar)


if __name__ == "__main__":
    main()
