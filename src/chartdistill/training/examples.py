"""Kept labels and their records -> examples: one per record, its tasks as branches, in task order.

In: curated/train.jsonl, records/records.jsonl and, for distillation, labels/labels.jsonl of a run. Out: `Examples`.
Must hold: every example has trained tokens and fits the student; nothing is cut; a weight that counts for nothing is
an error, not a silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from chartdistill.errors import ConfigError, TrainingError
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Label, Record, Split, Task, TopLogprobs, TrainExample
from chartdistill.training.distillation import teacher_tokens
from chartdistill.training.options import TrainOptions
from chartdistill.training.packing import Branch, Example

Place = tuple[str, str]
"""(record, task)."""


@dataclass(frozen=True)
class Examples:
    """What a student learns from, and what it is validated on."""

    train: list[Example]
    validation: list[Example]
    mix: dict[str, Any]
    """What the train split is made of, for the manifest."""
    validated: dict[str, Record]
    """The records of `validation`, by id."""

    def counts(self) -> dict[str, Any]:
        """Records and answers of each split, and the trained tokens, for the manifest."""
        splits = {"train": self.train, "validation": self.validation}
        return {
            "records": {split: len({e.record for e in rows}) for split, rows in splits.items()},
            "answers": {split: sum(len(e.branches) for e in rows) for split, rows in splits.items()},
            "answer_tokens": sum(len(b.answer_ids) for e in self.train for b in e.branches),
        }


def read_examples(run_dir: Path, tasks: Sequence[Task], options: TrainOptions, builder: PromptBuilder) -> Examples:
    """Join train.jsonl with the records.

    Raises:
        TrainingError: there is nothing in the train split, or no stored distribution that `distillation` could use.
        ConfigError: `task_weights` names no task of this run, or `source_weights` no source.
    """
    check_task_weights(tasks, options)
    records, rows, stored = _read(run_dir, distil=options.distillation is not None)
    mix = Mix(options)
    found: dict[Split, list[Example]] = {"train": [], "validation": []}
    validated: dict[str, Record] = {}
    for record in records:
        mix.notice(record.source)
        if record.id not in rows or record.split not in found:
            continue
        branches = [
            _branch(row, task, weight, builder, stored.get((record.id, task.name)))
            for task in tasks
            if (row := rows[record.id].get(task.name)) is not None
            and (weight := row.weight * mix.weight(record.source, task.name)) > 0
        ]
        if branches:
            found[record.split].append(Example(record.id, builder.prefix(record.text), tuple(branches)))
            if record.split == "train":
                mix.add(record.source, branches)
            else:
                validated[record.id] = record
    mix.check()
    if not found["train"]:
        path = run_dir / "curated" / "train.jsonl"
        if any(row.split == "train" for of_record in rows.values() for row in of_record.values()):
            raise TrainingError(
                f"every example of the train split in {path} has weight 0 by train.task_weights and "
                "train.source_weights, so there is nothing to learn. Give a task or source of them a weight above 0."
            )
        raise TrainingError(
            f"{path} has no example of the train split. See curated/rejected.jsonl for why labels were rejected, or "
            "give more records."
        )
    if options.distillation is not None:
        _check_distilled([*found["train"], *found["validation"]], len(stored))
    return Examples(found["train"], found["validation"], mix.report(), validated)


def check_task_weights(tasks: Sequence[Task], options: TrainOptions) -> None:
    """Refuse weights of tasks that are not there.

    Raises:
        ConfigError: names them.
    """
    if unknown := sorted(set(options.task_weights) - {task.name for task in tasks}):
        raise ConfigError(
            f"train.task_weights: no task {', '.join(unknown)}; this run has {', '.join(t.name for t in tasks)}."
        )


def _read(
    run_dir: Path, distil: bool
) -> tuple[Iterable[Record], Mapping[str, Mapping[str, TrainExample]], Mapping[Place, TopLogprobs]]:
    """Records in order, record -> task -> what is taught, and what else the teacher might have said."""
    rows: dict[str, dict[str, TrainExample]] = {}
    for row in read_rows(run_dir / "curated" / "train.jsonl", TrainExample):
        rows.setdefault(row.record, {})[row.task] = row
    stored = {
        (label.record, label.task): label.top_logprobs
        for label in (read_rows(run_dir / "labels" / "labels.jsonl", Label) if distil else ())
        if label.top_logprobs is not None and label.task in rows.get(label.record, {})
    }
    return read_rows(run_dir / "records" / "records.jsonl", Record), rows, stored


def _branch(row: TrainExample, task: Task, weight: float, builder: PromptBuilder, stored: TopLogprobs | None) -> Branch:
    answer = builder.answer(row.completion)
    teacher = None if stored is None else teacher_tokens(stored, answer)
    return Branch(task.name, builder.branch(task.question), answer, weight, teacher)


def _check_distilled(examples: Sequence[Example], num_stored: int) -> None:
    branches = [branch for example in examples for branch in example.branches]
    if not any(branch.teacher for branch in branches):
        raise TrainingError(
            f"train.distillation is on, but of {len(branches)} training answers {num_stored} have the teacher's "
            "log-probabilities, and none has them for the very tokens that are trained. Set label.top_logprobs (and "
            "label.samples: 1) and label again, or remove train.distillation."
        )


class Mix:
    """What the train split is made of, by task and by pattern of source."""

    def __init__(self, options: TrainOptions) -> None:
        self._tasks, self._sources = options.task_weights, options.source_weights
        self._shares: dict[str, dict[str, dict[str, float]]] = {"task": {}, "source": {}}
        self._unused = set(options.source_weights)

    def _pattern(self, source: str) -> str | None:
        return next((pattern for pattern in self._sources if fnmatchcase(source, pattern.replace("[", "[[]"))), None)

    def notice(self, source: str) -> None:
        """A record of this source exists, whatever becomes of it."""
        self._unused -= {self._pattern(source)}

    def check(self) -> None:
        """Refuse patterns that no record had to do with: a slip of the pen would weigh nothing, without a word."""
        if self._unused:
            raise ConfigError(
                f"train.source_weights: {', '.join(sorted(self._unused))} fits no record of this run, or an earlier "
                "pattern takes all that fit. Sources are given in records/records.jsonl (`source`)."
            )

    def weight(self, source: str, task: str) -> float:
        pattern = self._pattern(source)
        return self._tasks.get(task, 1.0) * (1.0 if pattern is None else self._sources[pattern])

    def add(self, source: str, branches: Sequence[Branch]) -> None:
        for branch in branches:
            for kind, name in (("task", branch.task), ("source", self._pattern(source) or "others")):
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
