"""Edits with a known effect: a sentence deleted, inserted, or turned round.

In: a record, a task, the items it holds (gold, or the teacher's). Out: a variant, or None where no edit has an effect
that is certain. Must hold: after a deletion the item stands nowhere in the text, by the rules of grounding; an
inserted item stood nowhere before; a flipped sentence names one item of the task only, and the item stands in no
other sentence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from chartdistill.clinical.entities import EntityType, entity_of
from chartdistill.clinical.entities.base import Flips
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.clinical.text.sentences import sentence_spans, without
from chartdistill.evaluation.variant import Variant
from chartdistill.schema import Item, Record, Task

FEWEST_WORDS = 5
_UNCERTAIN = re.compile(
    r"\b(?:if|unless|until|not|never|no|denies|declined|may|might|consider|family|mother|father|brother|sister)\b",
    re.IGNORECASE,
)


def delete(record: Record, task: Task, items: Sequence[Item], rng: random.Random) -> Variant | None:
    """One item's sentences go; the item must go with them."""
    for item in _in_any_order(items, rng):
        places = list(occurrences(item.text, record.text))
        gone = [span for span in sentence_spans(record.text) if any(a < span[1] and span[0] < b for a, b in places)]
        text = without(record.text, gone)
        if gone and len(text.split()) >= FEWEST_WORDS and not stands(item.text, text, entity_of(task)):
            return Variant.of(record, "deleted", text, task=task.name, item=item)
    return None


def insert(record: Record, task: Task, rng: random.Random) -> Variant | None:
    """A sentence with an item that the record does not hold comes in; the item must come with it."""
    entity = entity_of(task)
    status = entity.inserted_status if task.statuses else None
    if entity.insertion is None or (task.statuses and status not in task.statuses):
        return None
    name = new_name(record, entity, rng)
    if name is None:
        return None
    text = insert_sentence(record.text, entity.insertion.format(name), rng)
    return Variant.of(record, "inserted", text, task=task.name, item=Item(text=name, status=status), status=status)


def new_name(record: Record, entity: EntityType, rng: random.Random) -> str | None:
    """An item of a kind that the record does not hold; a made-up one for synthetic records, where there are such."""
    names = entity.new_names(record.source.startswith("synthetic:"), rng)
    return next((name for name in rng.sample(names, len(names)) if not stands(name, record.text, entity)), None)


def stands(name: str, text: str, entity: EntityType) -> bool:
    """Whether an item, or another name of it, stands in a text: by the rules that the scores locate items by."""
    return entity.locate(name, text, lexicon="auto", initials=True) is not None


def insert_sentence(text: str, sentence: str, rng: random.Random) -> str:
    """Put a sentence behind one of the text's sentences that end in a full stop; behind the text where none does."""
    ends = [end for start, end in sentence_spans(text) if text[start:end].rstrip().endswith(".")]
    place = rng.choice(ends) if ends else len(text)
    before, after = text[:place], text[place:]
    if before.endswith("\n"):
        broken = before[len(before.rstrip("\n")) :]
        return f"{before.rstrip(chr(10))} {sentence}{broken}{after}"
    return f"{before.rstrip()} {sentence}" + (f" {after}" if after else "")


def flip(record: Record, task: Task, items: Sequence[Item], rng: random.Random) -> Variant | None:
    """A sentence that continues a drug now stops it, or the other way round; the item's status must follow."""
    flips = entity_of(task).flips
    if not flips or not {status for pair in flips for status in pair} <= set(task.statuses):
        return None
    for item in _in_any_order(items, rng):
        found = _flipped(record.text, item, items, flips, entity_of(task))
        if found is not None:
            text, status = found
            return Variant.of(record, "flipped", text, task=task.name, item=item, status=status)
    return None


def _in_any_order(items: Sequence[Item], rng: random.Random) -> list[Item]:
    """The items that must be in the answer: of an optional one no change has an effect that is certain."""
    certain = [item for item in items if not item.optional]
    return rng.sample(certain, len(certain))


def _flipped(text: str, item: Item, items: Sequence[Item], flips: Flips, entity: EntityType) -> tuple[str, str] | None:
    places = list(occurrences(item.text, text))
    if len(places) != 1:
        return None
    start, end = next(span for span in sentence_spans(text) if span[0] <= places[0][0] < span[1])
    sentence = text[start:end]
    others = [other for other in items if other.text.casefold() != item.text.casefold()]
    if _UNCERTAIN.search(sentence) or any(next(occurrences(o.text, sentence), None) for o in others):
        return None
    if stands(item.text, text[:start] + text[end:], entity):
        return None
    for (before, after), rules in flips.items():
        if item.status != before:
            continue
        for pattern, replacement in rules:
            match = re.search(rf"(?<!\w){pattern}", sentence, re.IGNORECASE)
            if match is not None:
                words = match.expand(replacement).lower()
                words = words.capitalize() if match.group()[0].isupper() else words
                return text[:start] + sentence[: match.start()] + words + sentence[match.end() :] + text[end:], after
    return None
