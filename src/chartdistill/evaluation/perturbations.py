"""Records in another form, to see what an answer hangs on: edits whose effect is known, and noise without effect.

In: records, tasks, the items they hold (gold where there is gold, else the teacher's). Out: `Variant`s, the same for
every arm. Must hold: a variant depends on the record, the items and the seed only; no edit is made whose effect on the
answer is not certain (it is left out, and the counts say how many there are of each kind).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from chartdistill.evaluation import directional, invariance, placebos
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.variant import EFFECTS, PLACEBOS, SAME, Kind, Variant
from chartdistill.schema import Item, Record, Task, content_hash

__all__ = ["EFFECTS", "PLACEBOS", "SAME", "Kind", "Variant", "choose_records", "make_edits", "make_noise"]


def choose_records(records: Sequence[Record], options: InterventionOptions) -> tuple[list[Record], list[Record]]:
    """The records to edit, and the records to ask in forms that must not change the answer."""
    drawn = sorted(records, key=lambda record: content_hash(options.seed, record.id))
    edited = 4 * options.records if options.edited_records is None else options.edited_records
    return drawn[: edited if options.records else 0], drawn[: options.records]


def make_edits(
    record: Record, tasks: Sequence[Task], items: Mapping[str, Sequence[Item]], options: InterventionOptions
) -> list[Variant]:
    """Variants whose answer must change in a known way, and their placebos. `items`: task name -> what the record
    holds. Optional items are not what is changed: whether they belong in the answer is not certain to begin with.
    """
    rng = random.Random(f"edits {options.seed} {record.id}")
    found: list[Variant | None] = []
    for task in tasks:
        known, luck = items.get(task.name, ()), random.Random(f"placebos {options.seed} {record.id}")
        deleted, inserted = directional.delete(record, task, known, rng), directional.insert(record, task, rng)
        found += [deleted, inserted, directional.flip(record, task, known, rng)]
        if deleted is not None and deleted.item is not None:
            found.append(placebos.delete_elsewhere(record, task, deleted.item, items, luck))
        if inserted is not None:
            found.append(placebos.insert_elsewhere(record, task, luck))
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
