"""Changes that must not change the answer: another wording of the question, a keyword tail, white space, headings,
another name of a drug, a sentence that says nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.specialties import SPECIALTIES
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.evaluation.directional import insert_sentence, new_name
from chartdistill.evaluation.variant import Variant
from chartdistill.schema import Item, Record, Task

QUESTIONS = ("Read the chart, then answer. {question}", "{question} Use only what the chart says.")
"""Paraphrases that hold for any task: the task's own question in another setting."""
NOTHING = (
    "The patient arrived on time.",
    "The visit was arranged by telephone.",
    "The front desk has a copy of this note.",
    "The waiting room was quiet today.",
    "The patient came by bus.",
)
_HEADING = re.compile(r"^[A-Z][A-Z /&-]{2,}(?=:)", re.MULTILINE)


def rephrase(record: Record) -> list[Variant]:
    """The same text, the question put in other ways."""
    return [
        Variant.of(record, "rephrased", record.text, number, question=question)
        for number, question in enumerate(QUESTIONS, 1)
    ]


def resample(record: Record, draws: int) -> list[Variant]:
    """The same prompt, answered at a temperature."""
    return [Variant.of(record, "resampled", record.text, draw, sample=draw) for draw in range(1, draws + 1)]


def add_tail(record: Record, items: Mapping[str, Sequence[Item]], rng: random.Random) -> Variant:
    """Keywords glued to the end, as sites do: some of the record's own words, some of other charts'."""
    own = [item.text.lower() for found in items.values() for item in found]
    pool = [*CONDITION_NAMES, *TEST_NAMES]
    foreign = [name for name in rng.sample(pool, 12) if name.lower() not in record.text.lower()][:3]
    words = [rng.choice(SPECIALTIES), *rng.sample(own, min(2, len(own))), *(name.lower() for name in foreign)]
    return Variant.of(record, "tailed", record.text + ", ".join(words) + ",")


def respace(record: Record) -> Variant:
    """Lines set apart, two spaces after full stops."""
    return Variant.of(record, "respaced", re.sub(r"(?<=[.!?]) (?=\S)", "  ", record.text.replace("\n", "\n\n")))


def rehead(record: Record) -> Variant | None:
    """Headings in capitals written in lower case; None where there is none."""
    text = _HEADING.sub(lambda match: match.group().capitalize(), record.text)
    return None if text == record.text else Variant.of(record, "reheaded", text)


def add_nothing(record: Record, rng: random.Random) -> Variant:
    """A sentence that no task asks about."""
    return Variant.of(record, "irrelevant", insert_sentence(record.text, rng.choice(NOTHING), rng))


def rename(
    record: Record, tasks: Sequence[Task], items: Mapping[str, Sequence[Item]], rng: random.Random
) -> Variant | None:
    """One drug under another name throughout: brand or ingredient from the lexicon; made-up for synthetic records."""
    synthetic = record.source.startswith("synthetic:")
    for task in tasks:
        entity = entity_of(task)
        found = items.get(task.name, ()) if entity.has_other_names else ()
        for item in rng.sample(list(found), len(found)):
            old = entity.key(item.text)
            new = new_name(record, entity, rng) if synthetic else entity.other_name(old, record.text, rng)
            text = None if new is None else _replaced(record.text, old, new)
            if new is not None and text is not None:
                return Variant.of(record, "renamed", text, renamed=((new, old),))
    return None


def _replaced(text: str, old: str, new: str) -> str | None:
    """The text with every `old` as whole words written `new`; None where there is none."""
    places = list(occurrences(old, text))
    for start, end in reversed(places):
        word = new.capitalize() if text[start].isupper() else new.lower()
        text = text[:start] + word + text[end:]
    return text if places else None
