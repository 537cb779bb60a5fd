"""Records in another form, to see what an answer hangs on: edits whose effect is known, and noise without effect.

In: records, tasks, the items they hold (gold where there is gold, else the teacher's). Out: `Variant`s, the same for
every arm. Must hold: a variant depends on the record, the items and the seed only; no edit is made whose effect on the
answer is not certain (it is left out, and the counts say how many there are of each kind).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from chartdistill.evaluation import directional, invariance
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.variant import EFFECTS, SAME, Kind, Variant
from chartdistill.schema import Item, Record, Task, content_hash

__all__ = ["EFFECTS", "SAME", "Kind", "Variant", "choose_records", "make_edits", "make_noise"]


def choose_records(records: Sequence[Record], options: InterventionOptions) -> tuple[list[Record], list[Record]]:
    """The records to edit, and the records to ask in forms that must not change the answer."""
    drawn = sorted(records, key=lambda record: content_hash(options.seed, record.id))
    edited = 4 * options.records if options.edited_records is None else options.edited_records
    return drawn[: edited if options.records else 0], drawn[: options.records]


def make_edits(
    record: Record, tasks: Sequence[Task], items: Mapping[str, Sequence[Item]], options: InterventionOptions
) -> list[Variant]:
    """Variants whose answer must change in a known way. `items`: task name -> what the record holds.

    Optional items are not what is changed: whether they belong in the answer is not certain to begin with.
    """
    rng = random.Random(f"edits {options.seed} {record.id}")
    found: list[Variant | None] = []
    for task in tasks:
        known = items.get(task.name, ())
        found += [directional.delete(record, task, known, rng), directional.insert(record, task, rng)]
        found.append(directional.flip(record, task, known, rng))
    return [variant for variant in found if variant is not None]


def make_noise(
    record: Record, tasks: Sequence[Task], items: Mapping[str, Sequence[Item]], options: InterventionOptions
) -> list[Variant]:
    """Variants whose answer must stay the same. `items`: task name -> what the record holds."""
    rng = random.Random(f"noise {options.seed} {record.id}")
    found: list[Variant | None] = [
        *invariance.resample(record, options.resamples),
        *invariance.rephrase(record),
        invariance.add_tail(record, items, rng),
        invariance.respace(record),
        invariance.rehead(record),
        invariance.rename(record, tasks, items, rng),
        invariance.add_nothing(record, rng),
    ]
    return [variant for variant in found if variant is not None]
