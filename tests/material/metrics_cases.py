"""Charts and answers for the tests of metrics, small enough to work out by hand."""

from __future__ import annotations

import random

from chartdistill.metrics import Scores
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.schema import Item, Prediction, Record, Task

DRUGS = Task(
    name="medication",
    item="medication",
    statuses=("start", "stop", "continue"),
    gate_question="Any?",
    extraction_question="Which?",
    question="List.",
)
TESTS = Task(name="tests", item="test", gate_question="Any?", extraction_question="Which?", question="List.")
TEXT = "Headache. Stop Yasadol 20 mg daily. Begin Febenor. Continue Masetec. Order an EEG and a sleep study."


def items(text: str, task: Task = DRUGS) -> tuple[Item, ...]:
    found = parse_answer(text, task)
    assert found is not None
    return found


def record(name: str, cluster: str | None = None, **gold: str) -> Record:
    tasks = {"medication": DRUGS, "tests": TESTS}
    return Record(
        id=name,
        source=name,
        text=TEXT,
        cluster=cluster or name,
        split="test",
        segments=(),
        gold={task: items(text, tasks[task]) for task, text in gold.items()} or None,
    )


def said(name: str, completion: str | None, task: Task = DRUGS, arm: str = "student", cut: bool = False) -> Prediction:
    return Prediction(
        key=f"{arm}/{name}/{task.name}",
        record=name,
        task=task.name,
        arm=arm,
        completion=completion,
        finish_reason=None if completion is None else "length" if cut else "stop",
        items=None if completion is None else parse_answer(completion, task),
        failure="engine: died" if completion is None else None,
    )


def by_id(*records: Record) -> dict[str, Record]:
    return {one.id: one for one in records}


def values(scores: Scores, task: str = "medication") -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in scores[task].items()}


NOTES = by_id(
    record("a", medication="Yasadol | stop\nFebenor | start"),
    record("b", medication="Masetec | continue\nYasadol | stop\nFebenor | start"),
    record("c", medication="None found"),
    record("d", medication="None found"),
    record("e", medication="Yasadol | stop"),
    record("f", medication="Febenor | start"),
)
ANSWERS = [
    said("a", "yasadol 20 mg | stop\nFebenor | stop"),  # one right, one with a wrong status
    said("b", "Masetec | continue\nHeadache | start\nBisolukast | start"),  # one right, one no drug, one invented
    said("c", "None found"),
    said("d", "Headache | continue"),
    said("e", "Yasadol, stopped", cut=True),  # broken format
    said("f", "None found"),
]


def make_world(count: int, seed: int, skill: float) -> tuple[dict[str, Record], list[Prediction]]:
    """Records in clusters of one to three, and an arm that gets `skill` of the gold items right."""
    rng, luck = random.Random(seed), random.Random(seed + 1)
    notes, answers = {}, []
    for number in range(count):
        names = rng.sample(["Yasadol", "Febenor", "Masetec"], rng.randint(0, 3))
        gold = "\n".join(f"{name} | stop" for name in names) or "None found"
        notes[f"r{number}"] = record(f"r{number}", cluster=f"c{number * 2 // 3}", medication=gold)
        kept = [f"{name} | stop" if luck.random() < skill else f"{name} | start" for name in names]
        if luck.random() > skill:
            kept.append("Headache | stop")
        answers.append(said(f"r{number}", "\n".join(kept) or "None found"))
    return notes, answers
