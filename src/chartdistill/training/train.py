"""`train`: tune a LoRA adapter of the student on the kept labels. Reads curated/train.jsonl, writes adapter/.

The student learns the consolidated question only, with the prompts of `prompting`, loss on answer tokens. Several
GPUs: `accelerate launch --config_file configs/accelerate/ddp.yaml -m chartdistill.training.train CONFIG`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from chartdistill.config import Run, load_run
from chartdistill.errors import ConfigError, TrainingError
from chartdistill.metrics import ALL_TASKS, score_arm
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime import privacy
from chartdistill.runtime.model_folder import load_tokenizer, model_fingerprint, read_json
from chartdistill.runtime.processes import end_with_launcher
from chartdistill.runtime.progress import ProgressCallback, StageBar
from chartdistill.runtime.run_folder import (
    begin,
    fingerprint,
    is_done,
    lock,
    make_folder,
    private_umask,
    read_manifest,
    read_rows,
    require_manifest,
    versions_of,
    write_manifest,
)
from chartdistill.schema import Label, Prediction, Record, Split, TrainExample
from chartdistill.training import TrainOptions
from chartdistill.training.distillation import TeacherTokens, check_vocabularies, teacher_tokens
from chartdistill.training.memory import memory_errors
from chartdistill.training.model import is_sharded, load_model, why_not_packed
from chartdistill.training.packing import Branch, Example, RowForm, sharing_gain
from chartdistill.training.self_check import self_check

_LEAST_GAIN = 1.2
"""Below this factor of saved tokens sharing is not worth its branch masks."""
_CHECKED_TOKENS = 4096
"""The self-check packs a few records up to about this many tokens."""


def train(run: Run, progress: ProgressCallback) -> dict[str, Any]:
    """Train the adapter of a run and return the manifest. Under `accelerate launch`, called by every process.

    Raises:
        TrainingError: nothing to train on, an example that is too long or has no answer token, a failed self-check, a
            loss or gradient that is not finite, not enough memory.
    """
    options, student = run.config.train, run.config.student
    folder = run.dir / "adapter"
    curated = require_manifest(run.dir / "curated", "curate")
    model_folder = run.model_folder("student")
    distilled = None if options.distillation is None else require_manifest(run.dir / "labels", "label")["fingerprint"]
    mark = fingerprint(
        curated["fingerprint"], distilled, model_fingerprint(model_folder), run.config.system,
        student.template_options, options.what_determines_an_adapter(),
    )  # fmt: skip
    first = _first_process()
    if is_done(folder, mark):
        return read_manifest(folder) or {}
    _wait_for_all()  # before the first process takes the old manifest away
    if first:
        _drop_stale(folder, mark)
    started = begin(folder)
    _wait_for_all()
    tokenizer = load_tokenizer(model_folder)
    builder = PromptBuilder.from_tokenizer(tokenizer, run.config.system, student.template_options)
    if options.distillation is not None:
        check_vocabularies(load_tokenizer(run.model_folder("teacher")), tokenizer)
    examples, mix = read_examples(run, builder)
    check_lengths([*examples["train"], *examples["validation"]], options.max_tokens, _context(model_folder))
    with memory_errors(options):
        model = load_model(model_folder, options)
        form, shared, sharing = _row_form(model, examples["train"], options)
        if form != "plain":
            some = _checked_examples(examples["train"])
            sharing["first_step_difference"] = self_check(model, some, form, shared, builder.end_id)
    from chartdistill.training.trainer import Rows, run_training

    held_out = examples["validation"]
    score = _Scorer(run, builder, held_out) if held_out and options.validation_records else None
    facts = run_training(
        model, examples["train"], held_out, options, folder, Rows(form, shared, builder.end_id),
        progress if first else _silent, score,
    )  # fmt: skip
    _wait_for_all()
    if not first:
        return {}
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return write_manifest(
        folder, mark, started,
        model=str(model_folder), options=options.model_dump(), sharing=sharing, trainable_parameters=trainable,
        mix=mix, versions=versions_of("chartdistill", "torch", "transformers", "peft", "accelerate"),
        counts={
            "records": {split: len({e.record for e in rows}) for split, rows in examples.items()},
            "answers": {split: sum(len(e.branches) for e in rows) for split, rows in examples.items()},
            "answer_tokens": sum(len(b.answer_ids) for e in examples["train"] for b in e.branches),
        },
        **facts,
    )  # fmt: skip


def _silent(done: int, total: int | None = None, tokens: int = 0) -> None:
    """Progress of the other processes."""


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _wait_for_all() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def _drop_stale(folder: Path, mark: str) -> None:
    """Checkpoints of other options or data are not continued, nor those of a whole student by a sharded one."""
    stamp, form = folder / "fingerprint", f"{mark} sharded" if is_sharded() else mark
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != form:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        stamp.write_text(form, encoding="utf-8")


def _row_form(model: Any, examples: Sequence[Example], options: TrainOptions) -> tuple[RowForm, bool, dict[str, Any]]:
    """How rows are laid out, whether they are shared, and what the manifest says about it."""
    gain = sharing_gain(examples)
    unfit = why_not_packed(model)
    reason = None
    if not options.shared_prefix:
        reason = "train.shared_prefix is false"
    elif options.attention == "plain":
        reason = "train.attention is plain"
    elif unfit is not None:
        reason = unfit
    elif gain < _LEAST_GAIN:
        reason = f"sharing would save a factor of {gain:.2f} only, under {_LEAST_GAIN}"
    form: RowForm = "split" if options.attention == "auto" else options.attention
    if unfit is not None:
        form = "plain"
    if reason is not None and _first_process():
        print(f"train: separate rows, because {reason}", file=sys.stderr)
    return form, reason is None, {"shared": reason is None, "reason": reason, "form": form, "gain": round(gain, 3)}


def _checked_examples(examples: Sequence[Example]) -> list[Example]:
    """A record with the most answers and the shortest others, so that one row holds records and branches."""
    by_use = sorted(examples, key=lambda example: (-len(example.branches), example.longest))
    chosen = by_use[:1]
    for example in sorted(by_use[1:], key=lambda example: example.size)[:2]:
        if sum(one.size for one in chosen) + example.size <= _CHECKED_TOKENS:
            chosen.append(example)
    return chosen


def read_examples(run: Run, builder: PromptBuilder) -> tuple[dict[Split, list[Example]], dict[str, Any]]:
    """Join train.jsonl with the records: one example per record, its tasks as branches, in task order.

    Returns:
        The examples of each split, and the mix of the train split for the manifest.

    Raises:
        TrainingError: there is nothing in the train split, or no stored distribution that `distillation` could use.
        ConfigError: `task_weights` names no task of this run, or `source_weights` no source.
    """
    options = run.config.train
    if unknown := sorted(set(options.task_weights) - {task.name for task in run.tasks}):
        raise ConfigError(
            f"train.task_weights: no task {', '.join(unknown)}; this run has {', '.join(t.name for t in run.tasks)}."
        )
    rows: dict[str, dict[str, TrainExample]] = {}
    for row in read_rows(run.dir / "curated" / "train.jsonl", TrainExample):
        rows.setdefault(row.record, {})[row.task] = row
    answers = {
        (record, task): builder.answer(row.completion) for record, of in rows.items() for task, row in of.items()
    }
    teacher = _teacher_answers(run, answers) if options.distillation else {}
    examples: dict[Split, list[Example]] = {"train": [], "validation": []}
    mix = _Mix(options)
    for record in read_rows(run.dir / "records" / "records.jsonl", Record):
        mix.notice(record.source)
        if record.id not in rows or record.split not in examples:
            continue
        branches = []
        for task in run.tasks:
            if (row_of := rows[record.id].get(task.name)) is None:
                continue
            weight = row_of.weight * mix.weight(record.source, task.name)
            if weight > 0:
                place = (record.id, task.name)
                question = builder.branch(task.question)
                branches.append(Branch(task.name, question, answers[place], weight, teacher.get(place)))
        if branches:
            examples[record.split].append(Example(record.id, builder.prefix(record.text), tuple(branches)))
            if record.split == "train":
                mix.add(record.source, branches)
    mix.check()
    if not examples["train"]:
        raise TrainingError(
            f"{run.dir / 'curated' / 'train.jsonl'} has no example of the train split. See curated/rejected.jsonl for "
            "why labels were rejected, or give more records."
        )
    return examples, mix.report()


class _Mix:
    """What the train split is made of, by task and by pattern of source."""

    def __init__(self, options: TrainOptions) -> None:
        self._tasks, self._sources = options.task_weights, options.source_weights
        self._shares: dict[str, dict[str, dict[str, float]]] = {"task": {}, "source": {}}
        self._unused = set(options.source_weights)

    def _pattern(self, source: str) -> str:
        return next((pattern for pattern in self._sources if fnmatchcase(source, pattern)), "others")

    def notice(self, source: str) -> None:
        """A record of this source exists, whatever becomes of it."""
        self._unused.discard(self._pattern(source))

    def check(self) -> None:
        """Refuse patterns that no record had to do with: a slip of the pen would weigh nothing, without a word."""
        if self._unused:
            raise ConfigError(
                f"train.source_weights: {', '.join(sorted(self._unused))} fits no record of this run, or an earlier "
                "pattern takes all that fit. Sources are given in records/records.jsonl (`source`)."
            )

    def weight(self, source: str, task: str) -> float:
        return self._tasks.get(task, 1.0) * self._sources.get(self._pattern(source), 1.0)

    def add(self, source: str, branches: Sequence[Branch]) -> None:
        for branch in branches:
            for kind, name in (("task", branch.task), ("source", self._pattern(source))):
                empty = {"answers": 0, "answer_tokens": 0, "distilled_answers": 0, "weight_share": 0.0}
                share = self._shares[kind].setdefault(name, empty)
                share["answers"] += 1
                share["answer_tokens"] += len(branch.answer_ids)
                share["distilled_answers"] += branch.teacher is not None
                share["weight_share"] += branch.weight * len(branch.answer_ids)

    def report(self) -> dict[str, Any]:
        """Counts, and each part's share of all loss weight."""
        for shares in self._shares.values():
            total = sum(share["weight_share"] for share in shares.values())
            for share in shares.values():
                share["weight_share"] = round(share["weight_share"] / total, 4)
        return self._shares


def _teacher_answers(run: Run, answers: dict[tuple[str, str], list[int]]) -> dict[tuple[str, str], TeacherTokens]:
    found: dict[tuple[str, str], TeacherTokens] = {}
    stored = 0
    for label in read_rows(run.dir / "labels" / "labels.jsonl", Label):
        place = (label.record, label.task)
        if label.top_logprobs is None or place not in answers:
            continue
        stored += 1
        tokens = teacher_tokens(label.top_logprobs, answers[place])
        if tokens is not None:
            found[place] = tokens
    if not found:
        raise TrainingError(
            f"train.distillation is on, but of {len(answers)} training answers {stored} have the teacher's "
            "log-probabilities, and none has them for the very tokens that are trained. Set label.top_logprobs (and "
            "label.samples: 1) and label again, or remove train.distillation."
        )
    return found


def _context(model_folder: Path) -> int | None:
    """Tokens the student can take; None where its config does not say."""
    config = read_json(model_folder / "config.json")
    value = config.get("max_position_embeddings", config.get("text_config", {}).get("max_position_embeddings"))
    return None if value is None else int(value)


def check_lengths(examples: Sequence[Example], max_tokens: int, context: int | None = None) -> None:
    """Refuse examples that would have to be cut, or that would teach nothing.

    Raises:
        TrainingError: names the records and what to set.
    """
    limit, name = max_tokens, f"train.max_tokens = {max_tokens}"
    if context is not None and context < max_tokens:
        limit, name = context, f"the student's context of {context} tokens"
    empty = [e.record for e in examples if not e.prefix_ids or not all(b.answer_ids for b in e.branches)]
    if empty:
        raise TrainingError(
            f"{len(empty)} records have an answer without a single token to train ({', '.join(empty[:5])}"
            f"{', ...' if len(empty) > 5 else ''}). Leave them out, or look at their answers in curated/train.jsonl."
        )
    long = [example for example in examples if example.longest > limit]
    if long:
        longest = max(example.longest for example in long)
        named = ", ".join(example.record for example in long[:5])
        advice = f"set train.max_tokens to {longest} if the student's context allows, or leave these records out"
        if limit != max_tokens:
            advice = "leave these records out, or take a student with a longer context"
        raise TrainingError(
            f"{len(long)} of {len(examples)} records are longer than {name} with question and "
            f"answer (longest {longest} tokens; {named}{', ...' if len(long) > 5 else ''}). Nothing is ever cut off: "
            f"{advice}."
        )


class _Scorer:
    """Generates answers for validation records and scores them against their kept labels, not against gold.

    So a run without gold can choose its adapter too, and one with gold does not choose by what it is judged with.
    """

    def __init__(self, run: Run, builder: PromptBuilder, examples: Sequence[Example]) -> None:
        self._builder, self._tasks = builder, {task.name: task for task in run.tasks}
        chosen = list(examples[: run.config.train.validation_records])
        self._asked = [(example, branch) for example in chosen for branch in example.branches]
        self._tokens_at_once = run.config.train.tokens_per_pass
        self._room = max(len(branch.answer_ids) for _, branch in self._asked) + 16
        records = {r.id: r for r in read_rows(run.dir / "records" / "records.jsonl", Record)}
        self._records = {example.record: records[example.record] for example in chosen}
        labels: dict[str, dict[str, Any]] = {}
        for example, branch in self._asked:
            task = self._tasks[branch.task]
            items = parse_answer(self._text(branch.answer_ids[:-1]), task)
            if items is not None:
                labels.setdefault(example.record, {})[task.name] = items
        self._labelled = {
            name: record.model_copy(update={"gold": labels.get(name)}) for name, record in self._records.items()
        }

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._builder.tokenizer.decode(list(ids), skip_special_tokens=True))

    def __call__(self, model: Any) -> dict[str, float]:
        from chartdistill.training.generate import generate_everywhere

        prompts = [[*example.prefix_ids, *branch.question_ids] for example, branch in self._asked]
        answers = generate_everywhere(model, prompts, self._builder.end_id, self._room, self._tokens_at_once)
        predictions = [
            Prediction(
                key="", record=example.record, task=branch.task, arm="student", completion=text,
                items=parse_answer(text, self._tasks[branch.task]),
            )
            for (example, branch), text in zip(self._asked, map(self._text, answers), strict=True)
        ]  # fmt: skip
        tasks = list(self._tasks.values())
        scores = score_arm(predictions, self._labelled, tasks, resamples=100)[ALL_TASKS]
        wanted = {"joint_f1": "joint_f1", "confabulation": "confabulation_rate"}
        values = {name: scores[metric].value for name, metric in wanted.items() if metric in scores}
        return {name: float(value) for name, value in values.items() if value is not None}


def main() -> None:
    """Entry point of `accelerate launch -m chartdistill.training.train CONFIG [RUN_DIR]`."""
    end_with_launcher()
    private_umask()
    run = load_run(Path(sys.argv[1]), run_dir=Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    privacy.enforce(run.config.privacy.allowed_hosts)
    # The first process holds the folder for all of them.
    with lock(run.dir) if _first_process() else nullcontext(), StageBar("train", unit="steps") as bar:
        train(run, bar)


if __name__ == "__main__":
    main()
