"""Edits that have nothing to do with the item: a sentence deleted, or inserted, that no answer hangs on.

In: a record, a task, the items it holds, what the edit beside it deleted or inserted. Out: a variant, or None where no
such sentence is certain. Must hold: what is deleted names no item of any task, heads no list, points to nothing around
it and gives no order; every item of the task still stands in the text. Sentences turned round need none of their own:
what a flipped sentence does not concern is every other item of the same answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.text.grounding import occurrences
from chartdistill.clinical.text.sentences import sentence_spans, without
from chartdistill.evaluation.directional import FEWEST_WORDS, insert_sentence
from chartdistill.evaluation.invariance import NOTHING
from chartdistill.evaluation.variant import Variant
from chartdistill.schema import Item, Record, Task

_POINTS_ELSEWHERE = re.compile(
    r"^(?:\W|\d+[.)])|^(?:it|this|that|they|these|those|he|she|both|all|none|neither|each|same|other)\b"
    r"|[:;]|\b(?:above|below|former|latter|these|those|both|each|medications?|meds|drugs?|list(?:ed)?|copied|reconcil\w+"
    r"|allerg\w+|intoleran\w+|react\w+|stop\w*|start\w*|continu\w+|discontinu\w+|h[oe]ld\w*|resum\w+|chang\w+|increas\w+"
    r"|decreas\w+|tak(?:e|es|en|ing)|took|prescri\w+|order\w*|plan\w*|diagnos\w+|prognos\w+|history|avoid\w*)\b",
    re.IGNORECASE,
)
"""A list entry or a heading; a sentence about another one; one that says what becomes of something."""
_FEWEST_WORDS_GONE = 3


def delete_elsewhere(
    record: Record, task: Task, item: Item, items: Mapping[str, Sequence[Item]], rng: random.Random
) -> Variant | None:
    """A sentence goes that does not concern the item; it must stay, and its status. `items`: task name -> items."""
    spans = [
        (start, end)
        for start, end in sentence_spans(record.text)
        if _concerns_nothing(record.text[start:end], [one.text for of in items.values() for one in of])
    ]
    known = items.get(task.name, ())
    for span in rng.sample(spans, len(spans)):
        text = without(record.text, [span])
        stays = all(entity_of(task).locate(one.text, text) is not None for one in (item, *known))
        if stays and len(text.split()) >= FEWEST_WORDS:
            return Variant.of(record, "deleted_elsewhere", text, task=task.name, item=item)
    return None


def _concerns_nothing(sentence: str, names: Sequence[str]) -> bool:
    whole = sentence.strip()
    return (
        whole.endswith(".")
        and not whole[0].islower()
        and len(whole.split()) >= _FEWEST_WORDS_GONE
        and _POINTS_ELSEWHERE.search(whole) is None
        and not any(next(occurrences(name, whole), None) for name in names)
    )


def insert_elsewhere(record: Record, task: Task, rng: random.Random) -> Variant:
    """A sentence comes in that no task asks about; no item must come with it."""
    return Variant.of(
        record, "inserted_elsewhere", insert_sentence(record.text, rng.choice(NOTHING), rng), task=task.name
    )
