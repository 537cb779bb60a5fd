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

from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.clinical.text.grounding import DRUG_ITEMS, locate_item, occurrences
from chartdistill.clinical.text.sentences import sentence_spans, without
from chartdistill.evaluation.variant import Variant
from chartdistill.schema import Item, Record, Task

_FEWEST_WORDS = 5
_DRUGS = (
    "lisinopril", "metformin", "sertraline", "amoxicillin", "omeprazole", "furosemide", "gabapentin", "prednisone",
    "warfarin", "simvastatin", "levothyroxine", "ibuprofen", "albuterol", "tramadol", "ranitidine",
)  # fmt: skip
_OUTLOOKS = ("guarded", "favorable", "poor", "excellent", "uncertain", "grave")
_INSERTED = {
    "medication": "Start {} 10 mg daily.",
    "drug": "Start {} 10 mg daily.",
    "diagnosis": "The patient has {}.",
    "test": "Order {}.",
    "prognosis": "The prognosis is {}.",
}
"""`Task.item` -> the sentence that makes its item true. Tasks about other things are not asked with an insertion."""

_FLIPS = {
    ("continue", "stop"): (
        (r"continu(e|es|ed|ing)\b", r"discontinu\1"),
        (r"remains on\b", "is no longer on"),
        (r"(is|are) (?:currently |still )?taking\b", r"\1 no longer taking"),
        (r"takes\b", "no longer takes"),
    ),
    ("stop", "continue"): (
        (r"discontinu(e|es|ed|ing)\b", r"continu\1"),
        (r"d/c\b", "continue"),
        (r"stop\b", "continue"),
        (r"stopped\b", "continued"),
    ),
}
"""(status before, status after) -> patterns of the sentence and what they become; the first that occurs is applied."""
_UNCERTAIN = re.compile(
    r"\b(?:if|unless|until|not|never|no|denies|declined|may|might|consider|family|mother|father|brother|sister)\b",
    re.IGNORECASE,
)


def is_drug_task(task: Task) -> bool:
    """Whether the items of a task are drugs."""
    return task.item.casefold() in DRUG_ITEMS


def delete(record: Record, task: Task, items: Sequence[Item], rng: random.Random) -> Variant | None:
    """One item's sentences go; the item must go with them."""
    for item in rng.sample(list(items), len(items)):
        places = list(occurrences(item.text, record.text))
        gone = [span for span in sentence_spans(record.text) if any(a < span[1] and span[0] < b for a, b in places)]
        text = without(record.text, gone)
        if gone and len(text.split()) >= _FEWEST_WORDS and locate_item(item, text, task) is None:
            return Variant.of(record, "deleted", text, task=task.name, item=item)
    return None


def insert(record: Record, task: Task, rng: random.Random) -> Variant | None:
    """A sentence with an item that the record does not hold comes in; the item must come with it."""
    pattern = _INSERTED.get(task.item.casefold())
    status = None
    if task.statuses:
        if not is_drug_task(task) or "start" not in task.statuses:
            return None
        status = "start"
    name = None if pattern is None else new_name(record, task, rng)
    if pattern is None or name is None:
        return None
    text = insert_sentence(record.text, pattern.format(name), rng)
    return Variant.of(record, "inserted", text, task=task.name, item=Item(text=name, status=status), status=status)


def new_name(record: Record, task: Task, rng: random.Random) -> str | None:
    """An item of the task's kind that the record does not hold; a made-up drug for synthetic records."""
    item = task.item.casefold()
    if item in DRUG_ITEMS and record.source.startswith("synthetic:"):
        names: Sequence[str] = [drug_name(rng, "heldout") for _ in range(20)]
    elif item in DRUG_ITEMS:
        names = _DRUGS
    else:
        names = {"diagnosis": CONDITION_NAMES, "test": TEST_NAMES, "prognosis": _OUTLOOKS}.get(item, ())
    free = (name for name in rng.sample(list(names), len(names)) if not _stands(name, record.text, task))
    return next(free, None)


def _stands(name: str, text: str, task: Task) -> bool:
    return locate_item(Item(text=name), text, task) is not None


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
    if not is_drug_task(task) or not {"continue", "stop"} <= set(task.statuses):
        return None
    for item in rng.sample(list(items), len(items)):
        found = _flipped(record.text, item, items)
        if found is not None:
            text, status = found
            return Variant.of(record, "flipped", text, task=task.name, item=item, status=status)
    return None


def _flipped(text: str, item: Item, items: Sequence[Item]) -> tuple[str, str] | None:
    places = list(occurrences(item.text, text))
    if len(places) != 1:
        return None
    start, end = next(span for span in sentence_spans(text) if span[0] <= places[0][0] < span[1])
    sentence = text[start:end]
    others = [other for other in items if other.text.casefold() != item.text.casefold()]
    if _UNCERTAIN.search(sentence) or any(next(occurrences(o.text, sentence), None) for o in others):
        return None
    for (before, after), rules in _FLIPS.items():
        if item.status != before:
            continue
        for pattern, replacement in rules:
            match = re.search(rf"(?<!\w){pattern}", sentence, re.IGNORECASE)
            if match is not None:
                words = match.expand(replacement).lower()
                words = words.capitalize() if match.group()[0].isupper() else words
                return text[:start] + sentence[: match.start()] + words + sentence[match.end() :] + text[end:], after
    return None
