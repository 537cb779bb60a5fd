"""What an answer hangs on: held-out records asked again in changed form, and what came of it.

In: records, an arm's way of asking, its answers to the records as they are. Out: predictions/variants/ and the
figures. Two kinds of change (see perturbations.py):

- with a known effect: the item deleted must vanish, the item inserted must appear, the status flipped must follow.
  These need no gold, and say whether an answer is connected to its input; beside each stands its placebo, an edit that
  does not concern the item (see effects.py);
- without effect: the answer must stay the same; see `metrics.consistency`.

Must hold: all arms get the same variants; an answer that breaks the format has neither lost nor found an item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.clinical.entities import entity_of
from chartdistill.evaluation.effects import Answers, score_effects
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.perturbations import (
    EFFECTS,
    PLACEBOS,
    SAME,
    Variant,
    choose_records,
    make_edits,
    make_noise,
)
from chartdistill.metrics.consistency import (
    BROKEN,
    AnswerSet,
    ItemSet,
    consistency,
    consistency_difference,
)
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.metrics.pairing import is_exact
from chartdistill.runtime.run_folder import RowWriter, count_by, read_rows
from chartdistill.schema import Item, Prediction, Record, Task

VARIANTS = "variants.jsonl"
ANY_NOISE = "any"
"""Consistency over all kinds of noise together."""


@dataclass(frozen=True)
class Asking:
    """A variant as an engine is asked it: a record with the changed text, and a task with the changed question."""

    variant: Variant
    record: Record
    task: Task
    temperature: float
    """0 for the likeliest answer."""


AskAll = Callable[[Sequence[Asking]], list[Prediction]]
"""Answers in order; each prediction's `record` is the variant's id."""


def write_variants(
    folder: Path, records: Sequence[Record], tasks: Sequence[Task], teacher: Answers, options: InterventionOptions
) -> list[Variant]:
    """Make the variants of the chosen records and write them; what they change is gold, else the teacher's answer."""
    edited, noisy = choose_records(records, options)
    found = [v for r in edited for v in make_edits(r, tasks, _known_items(r, tasks, teacher), options)]
    found += [v for r in noisy for v in make_noise(r, tasks, _known_items(r, tasks, teacher), options)]
    place = {record.id: number for number, record in enumerate(records)}
    found.sort(key=lambda variant: place[variant.record])  # the variants of a record together: they share prefixes
    with RowWriter(folder / VARIANTS) as out:
        out.write(*found)
    return found


def read_variants(folder: Path) -> list[Variant]:
    """The variants as written; none where there is no such file."""
    return list(read_rows(folder / VARIANTS, Variant)) if (folder / VARIANTS).exists() else []


def _known_items(record: Record, tasks: Sequence[Task], teacher: Answers) -> dict[str, tuple[Item, ...]]:
    known = {}
    for task in tasks:
        answer = teacher.get((record.id, task.name))
        said = () if answer is None else answer.items or ()
        known[task.name] = (record.gold or {}).get(task.name, said)
    return known


def askings(
    variants: Sequence[Variant], records: Mapping[str, Record], tasks: Sequence[Task], options: InterventionOptions
) -> list[Asking]:
    """One per variant and task, the variants of a record together, so that what their texts share is computed once."""
    return [
        Asking(
            variant,
            records[variant.record].model_copy(update={"id": variant.id, "text": variant.text}),
            _rephrased(task, variant.question),
            options.temperature if variant.sample is not None else 0.0,
        )
        for variant in variants
        for task in tasks
        if variant.task in (None, task.name)
    ]


def _rephrased(task: Task, pattern: str) -> Task:
    questions = ("gate_question", "extraction_question", "question")
    return task.model_copy(update={name: pattern.format(question=getattr(task, name)) for name in questions})


def score_interventions(
    variants: Sequence[Variant],
    before: Answers,
    after: Answers,
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Figures of one arm: {"effects": {task: {rate: Estimate}}, "consistency": {kind: {task: {metric: Estimate}}}}.

    `before`: answers to the records as they are; `after`: to the variants.
    """
    names = {task.name: [task] for task in tasks} | {ALL_TASKS: list(tasks)}
    return {
        "effects": {name: score_effects(variants, before, after, records, some) for name, some in names.items()},
        "consistency": {
            kind: {
                name: _consistency(variants, kind, before, after, records, some, seed, resamples)
                for name, some in names.items()
            }
            for kind in (*SAME, ANY_NOISE)
            if any(kind in (variant.kind, ANY_NOISE) and variant.kind in SAME for variant in variants)
        },
    }


def _consistency(
    variants: Sequence[Variant],
    kind: str,
    before: Answers,
    after: Answers,
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    sets, unscored = _answer_sets(variants, kind, before, after, records, tasks)
    found = consistency(list(sets.values()), unscored, seed, resamples)
    return {name: estimate.model_dump() for name, estimate in found.items()}


def compare_consistency(
    variants: Sequence[Variant],
    first: tuple[Answers, Answers],
    second: tuple[Answers, Answers],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
) -> dict[str, Any]:
    """Consistency over all noise, all tasks, of one arm minus another's: {metric: Estimate}, paired over clusters.

    `first` and `second`: an arm's answers to the records as they are, and to the variants. Only record-task pairs that
    both arms have a score for take part.
    """
    (one, _), (two, _) = (
        _answer_sets(variants, ANY_NOISE, before, after, records, tasks) for before, after in (first, second)
    )
    shared = [place for place in one if place in two]
    unscored = len(one.keys() ^ two.keys())
    found = consistency_difference([(one[at], two[at]) for at in shared], unscored)
    return {name: estimate.model_dump() for name, estimate in found.items()}


def _answer_sets(
    variants: Sequence[Variant],
    kind: str,
    before: Answers,
    after: Answers,
    records: Mapping[str, Record],
    tasks: Sequence[Task],
) -> tuple[dict[tuple[str, str], AnswerSet], int]:
    """(record, task) -> all answers to it; and for how many an engine failed on any: fewer answers agree more."""
    groups: dict[tuple[str, str], list[Variant]] = {}
    for variant in variants:
        if variant.kind in SAME and kind in (variant.kind, ANY_NOISE):
            for task in tasks:
                groups.setdefault((variant.record, task.name), []).append(variant)
    by_name = {task.name: task for task in tasks}
    sets, unscored = {}, 0
    for (record_id, task_name), group in groups.items():
        record, task = records[record_id], by_name[task_name]
        first = before.get((record_id, task_name))
        others = [(variant, after.get((variant.id, task_name))) for variant in group]
        if not _answered(first) or not all(_answered(answer) for _, answer in others):
            unscored += 1
            continue
        gold = (record.gold or {}).get(task_name)
        own = _item_set(first, task, ())
        right = None if gold is None else _is_right(first, gold, task)
        answers = (_item_set(answer, task, variant.renamed) for variant, answer in others)
        sets[record_id, task_name] = AnswerSet(record.cluster, (own, *answers), right)
    return sets, unscored


def _answered(answer: Prediction | None) -> bool:
    return answer is not None and answer.completion is not None


def _is_right(answer: Prediction | None, gold: Sequence[Item], task: Task) -> bool:
    """Whether an answer is exactly the gold, as `record_exact` has it."""
    return answer is not None and answer.items is not None and is_exact(answer.items, gold, entity_of(task))


def _item_set(answer: Prediction | None, task: Task, renamed: Sequence[tuple[str, str]]) -> ItemSet:
    return BROKEN if answer is None or answer.items is None else _keys(answer.items, task, renamed)


def _keys(items: Sequence[Item], task: Task, renamed: Sequence[tuple[str, str]]) -> ItemSet:
    """`renamed`: a drug's name in this text counts as its name in the record; the latter, which the text does not hold
    any more, as neither."""
    entity = entity_of(task)
    names = {entity.match_key(new): entity.match_key(old) for new, old in renamed}
    gone = {old: f"{old} (not in this text)" for old in names.values()}
    keys = ((entity.match_key(item.text), item.status) for item in items)
    return frozenset(((gone | names).get(key, key), status) for key, status in keys)


def cost(variants: Sequence[Variant], answers: Mapping[str, Sequence[Prediction]]) -> dict[str, Any]:
    """What the interventions took, for the manifest: variants by kind, prompts and tokens by arm."""
    return {
        "edited_records": len({variant.record for variant in variants if variant.kind in (*EFFECTS, *PLACEBOS)}),
        "records": len({variant.record for variant in variants if variant.kind in SAME}),
        "variants": count_by(variant.kind for variant in variants),
        "prompts": {arm: len(rows) for arm, rows in answers.items()},
        "prompt_tokens": {arm: sum(row.prompt_tokens for row in rows) for arm, rows in answers.items()},
        "completion_tokens": {arm: sum(row.completion_tokens for row in rows) for arm, rows in answers.items()},
    }
