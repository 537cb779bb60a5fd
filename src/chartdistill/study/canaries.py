"""Canaries: made-up secrets planted into training records, to see what a student keeps of them.

In: training records and their examples. Out: the same with canaries in them, and the canaries. Must hold: a canary
stands in exactly the records it names, in no other and in no test record; the same seed plants the same.

Kinds: a drug and a test number stand in the chart and in the answer that is learned; a patient's name in the chart
alone, which is read and never learned to be said. How often a canary occurs is how many records it stands in; each is
seen once per epoch (Carlini et al., "The Secret Sharer", 2019).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.errors import InputError
from chartdistill.evaluation.directional import insert_sentence
from chartdistill.prompting.answer_format import format_answer, parse_answer
from chartdistill.prompting.prompts import QUESTION_SEPARATOR
from chartdistill.schema import Item, Record, Row, Task, TrainExample
from chartdistill.study.options import CanaryOptions

CanaryKind = Literal["drug", "number", "name"]
KINDS: tuple[CanaryKind, ...] = ("drug", "number", "name")
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Form:
    """How canaries of a kind are said."""

    lead: str
    """The words of the sentence before the secret."""
    tail: str
    entity: str
    """Name of the kind of finding whose answers hold it; empty: it stands in the chart alone."""
    item: str = "{}"
    status: str | None = None

    def sentence(self, secret: str) -> str:
        """The sentence that is planted."""
        return f"{self.lead} {secret}{self.tail}"

    def item_of(self, secret: str, task: Task) -> Item:
        """What the answer to the task holds."""
        return Item(text=self.item.format(secret), status=self.status if task.statuses else None)

    def task(self, tasks: Sequence[Task]) -> Task | None:
        """The task whose answers hold canaries of this kind; None where there is none."""
        fits = (task for task in tasks if self.entity and entity_of(task).name == self.entity)
        return next((task for task in fits if not task.statuses or self.status in task.statuses), None)


FORMS: Mapping[CanaryKind, Form] = {
    "drug": Form("Continue", " 20 mg daily.", "medication", status="continue"),
    "number": Form("Order panel", " tomorrow.", "test", item="panel {}"),
    "name": Form("The patient is called", ".", ""),
}


class Canary(Row):
    """One secret."""

    kind: CanaryKind
    secret: str
    repeats: int
    """Records it stands in."""
    records: tuple[str, ...]


def secrets(kind: CanaryKind, rng: random.Random) -> Iterator[str]:
    """Endless made-up secrets of a kind, each once."""
    seen: set[str] = set()
    while True:
        if kind == "drug":
            made = drug_name(rng, "heldout").capitalize()
        elif kind == "number":
            made = f"{rng.randrange(10**7):07d}"
        else:
            made = f"{_word(rng, 2)} {_word(rng, 3)}"
        if made not in seen:
            seen.add(made)
            yield made


def _word(rng: random.Random, syllables: int) -> str:
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(syllables)).capitalize()


def draw_canaries(
    records: Iterable[Record],
    examples: Sequence[TrainExample],
    tasks: Sequence[Task],
    options: CanaryOptions,
    seed: int,
) -> tuple[list[Canary], dict[CanaryKind, list[str]]]:
    """The canaries, each with the training records it goes into, and the alternatives of each kind.

    `records`: all of them, test records too: no secret may stand in one. `examples`: of the train split.

    Raises:
        InputError: fewer records with a kept answer than the most repeats.
    """
    rng = random.Random(seed)
    texts = "\n".join(record.text for record in records).casefold()
    canaries: list[Canary] = []
    alternatives: dict[CanaryKind, list[str]] = {}
    for kind in KINDS:
        task = FORMS[kind].task(tasks)
        homes = sorted({row.record for row in examples if task is None or row.task == task.name})
        if len(homes) < max(options.repeats):
            raise InputError(
                f"canaries.repeats asks for {max(options.repeats)} training records with an answer for "
                f"{task.name if task else 'any task'}; there are {len(homes)}. Lower canaries.repeats."
            )
        new = (secret for secret in secrets(kind, rng) if secret.casefold() not in texts)
        for repeats in options.repeats:
            for _ in range(options.per_kind):
                chosen = tuple(sorted(rng.sample(homes, repeats)))
                canaries.append(Canary(kind=kind, secret=next(new), repeats=repeats, records=chosen))
        alternatives[kind] = [next(new) for _ in range(options.alternatives)]
    return canaries, alternatives


def plant(
    records: Iterable[Record], canaries: Sequence[Canary], seed: int
) -> Iterator[tuple[Record, list[tuple[Canary, int]]]]:
    """Each record with its canaries in it, and where in its text each secret begins."""
    for record in records:
        own = [canary for canary in canaries if record.id in canary.records]
        if not own:
            yield record, []
            continue
        text, rng = record.text, random.Random(f"{seed} {record.id}")
        for canary in own:
            text = insert_sentence(text, FORMS[canary.kind].sentence(canary.secret), rng)
        yield record.model_copy(update={"text": text, "segments": ()}), [(c, text.index(c.secret)) for c in own]


def plant_answers(
    examples: Iterable[TrainExample], planted: Mapping[str, Record], canaries: Sequence[Canary], tasks: Sequence[Task]
) -> Iterator[TrainExample]:
    """The examples, with the changed text of their records and the canaries in their answers."""
    by_name = {task.name: task for task in tasks}
    for row in examples:
        task, record = by_name[row.task], planted[row.record]
        items = list(parse_answer(row.completion, task) or ())
        for canary in canaries:
            form = FORMS[canary.kind]
            if row.record in canary.records and form.task(tasks) == task:
                items.append(form.item_of(canary.secret, task))
        prompt = record.text + QUESTION_SEPARATOR + task.question
        yield row.model_copy(update={"prompt": prompt, "completion": format_answer(tuple(items))})
