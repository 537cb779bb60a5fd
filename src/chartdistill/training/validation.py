"""Validation by answers: how right are those that the student generates now?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chartdistill.metrics import ALL_TASKS, score_arm
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.schema import Prediction, Record, Task, content_hash
from chartdistill.training.options import TrainOptions
from chartdistill.training.packing import Example


def drawn(examples: Sequence[Example], records: Mapping[str, Record], size: int, seed: int) -> list[Example]:
    """So many of the examples, drawn by hash, so that no source or date that comes first decides which adapter is kept;
    a second record of a cluster only where each cluster has one."""
    of_cluster: Counter[str] = Counter()
    places: dict[str, int] = {}
    ranked = sorted(examples, key=lambda example: content_hash(seed, example.record))
    for example in ranked:
        cluster = records[example.record].cluster
        places[example.record] = of_cluster[cluster]
        of_cluster[cluster] += 1
    return sorted(ranked, key=lambda example: places[example.record])[:size]


class AnswerScorer:
    """Generates answers for validation records and scores them against their kept labels, not against gold.

    So a run without gold can choose its adapter too, and one with gold does not choose by what it is judged with.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        options: TrainOptions,
        builder: PromptBuilder,
        examples: Sequence[Example],
        records: Mapping[str, Record],
    ) -> None:
        self._builder, self._tasks = builder, {task.name: task for task in tasks}
        chosen = drawn(examples, records, options.validation_records, options.seed)
        self._asked = [(example, branch) for example in chosen for branch in example.branches]
        self._tokens_per_pass = options.tokens_per_pass
        self._room = max(len(branch.answer_ids) for _, branch in self._asked) + 16
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
        from chartdistill.training.generate import generate_everywhere, room_for_answers

        prompts = [[*example.prefix_ids, *branch.question_ids] for example, branch in self._asked]
        room = room_for_answers(model, self._tokens_per_pass)
        labelled = [len(branch.answer_ids) for _, branch in self._asked]
        shared = [len(example.prefix_ids) for example, _ in self._asked]
        end = self._builder.end_id
        answers = generate_everywhere(model, prompts, end, self._room, *room, expected=labelled, shared=shared)
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
