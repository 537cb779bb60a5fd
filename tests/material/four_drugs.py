"""One chart with four drugs, and what an arm says of it."""

from __future__ import annotations

from chartdistill.prompting.answer_format import parse_answer
from chartdistill.schema import Prediction, Record, Task

STATUSES = ("start", "continue", "change", "stop", "hold", "past", "avoid", "given-once")
DRUGS = Task(
    name="medication", item="medication", statuses=STATUSES, gate_question="?", extraction_question="?", question="?"
)
TESTS = Task(name="tests", item="test", gate_question="?", extraction_question="?", question="?")
TEXT = "Stop Yasadol 20 mg daily. Begin Febenor 5 mg.\nContinue Masetec 50 mg. Hold Tirolix."


def note(name: str, gold: str | None, text: str = TEXT, cluster: str | None = None) -> Record:
    items = None if gold is None else {"medication": parse_answer(gold, DRUGS) or ()}
    return Record(id=name, source=name, text=text, cluster=cluster or name, split="test", segments=(), gold=items)


def said(name: str, completion: str, arm: str = "student") -> Prediction:
    return Prediction(
        key="", record=name, task="medication", arm=arm, completion=completion, items=parse_answer(completion, DRUGS)
    )
