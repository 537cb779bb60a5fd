"""Two people's readings of held-out records, and what settles their differences: the rows, and what follows from them.

In: `review/readings.jsonl` of a run folder. Out: who read what, where both agree, gold. Must hold: the first two people
are the readers of the run, and nobody else's reading is taken; once both have read a record neither reading changes;
a row about another text of the record does not count; gold is what both say, or what was settled where they differ, and
never one reader's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from chartdistill.clinical.entities import entity_of
from chartdistill.curation import PersonName, Time
from chartdistill.metrics.pairing import pair_up
from chartdistill.runtime.shared_rows import SharedRows
from chartdistill.schema import Item, Record, Row, Task, content_hash

Items = tuple[Item, ...]


class Reading(Row):
    """One line of readings.jsonl: what a person found in a record, or how a difference is settled."""

    kind: Literal["reading", "settled"]
    record: str
    text: str
    """Hash of the record's text."""
    items: dict[str, Items]
    """Task -> all its items; empty: the chart has none. Of `settled` only the tasks that differed."""
    by: PersonName
    at: Time


def reading_file(run_dir: Path) -> SharedRows[Reading]:
    """The readings of a run folder; there need not be any."""
    return SharedRows(run_dir / "review" / "readings.jsonl", Reading)


def text_hash(record: Record) -> str:
    """Of what a reader saw."""
    return content_hash(record.text)


@dataclass
class Readings:
    """All readings of a run, sorted out."""

    rows: Sequence[Reading]
    readers: tuple[str, ...] = ()
    """The first two names."""
    _read: dict[str, dict[str, Reading]] = field(default_factory=dict)
    _settled: dict[str, Reading] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = dict.fromkeys(row.by for row in self.rows if row.kind == "reading")
        self.readers = tuple(names)[:2]
        for row in self.rows:
            if row.kind == "settled":
                self._settled[row.record] = row
            elif row.by in self.readers:
                self._read.setdefault(row.record, {})[row.by] = row

    def of(self, record: Record, person: str) -> Reading | None:
        """What a person read in a record as it is now."""
        row = self._read.get(record.id, {}).get(person)
        return row if row is not None and row.text == text_hash(record) else None

    def both(self, record: Record) -> tuple[Reading, Reading] | None:
        """The two readings of a record; None until both are there."""
        found = [row for name in self.readers if (row := self.of(record, name)) is not None]
        return (found[0], found[1]) if len(found) == 2 else None

    def settled(self, record: Record) -> Reading | None:
        """How its differences were settled."""
        row = self._settled.get(record.id)
        return row if row is not None and row.text == text_hash(record) else None

    def gold(self, record: Record, tasks: Iterable[Task]) -> dict[str, Items] | None:
        """Task -> items; None until both have read the record and their differences are settled."""
        both, settled = self.both(record), self.settled(record)
        if both is None:
            return None
        gold: dict[str, Items] = {}
        for task in tasks:
            one, other = (row.items.get(task.name) for row in both)
            if one is None or other is None:
                continue  # the task was not among those asked for then
            if agree(one, other, task):
                gold[task.name] = one
            elif settled is not None and task.name in settled.items:
                gold[task.name] = settled.items[task.name]
            else:
                return None
        return gold or None


def agree(one: Items, other: Items, task: Task) -> bool:
    """Whether two readings match item by item, as the metrics match, with equal statuses."""
    return not list(differences(one, other, task))


def differences(one: Items, other: Items, task: Task) -> Iterator[tuple[Item | None, Item | None]]:
    """What differs: (the first's item, the second's), one of them None, or both with unequal statuses."""
    pairs = dict(pair_up(one, other, entity_of(task)).pairs)
    for place, item in enumerate(one):
        if place not in pairs:
            yield item, None
        elif other[pairs[place]].status != item.status:
            yield item, other[pairs[place]]
    taken = set(pairs.values())
    yield from ((None, item) for place, item in enumerate(other) if place not in taken)


@dataclass
class Agreement:
    """How far two readers agree on one task, over the records that both have read."""

    records: int = 0
    items: tuple[int, int] = (0, 0)
    matched: int = 0
    matched_joint: int = 0
    """Of these, those with equal statuses."""
    statuses: list[tuple[str, str]] = field(default_factory=list)
    """Of the matched items, where the task has statuses."""

    def add(self, one: Items, other: Items, task: Task) -> None:
        """Count one record."""
        pairs = pair_up(one, other, entity_of(task)).pairs
        self.records += 1
        self.items = (self.items[0] + len(one), self.items[1] + len(other))
        self.matched += len(pairs)
        self.matched_joint += sum(one[a].status == other[b].status for a, b in pairs)
        said = ((one[a].status, other[b].status) for a, b in pairs)
        self.statuses += [(a, b) for a, b in said if a is not None and b is not None]

    @property
    def f1(self) -> float | None:
        """2 x matched / (items of one + items of the other); None where neither has any."""
        return 2 * self.matched / sum(self.items) if sum(self.items) else None

    @property
    def joint_f1(self) -> float | None:
        """As `f1`, of items whose statuses agree too."""
        return 2 * self.matched_joint / sum(self.items) if sum(self.items) else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa on the statuses of matched items: see `cohen_kappa`."""
        return cohen_kappa(self.statuses)


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """(p_o - p_e) / (1 - p_e), with p_o the share of equal pairs and p_e the share expected by chance from both sides'
    own shares (Cohen 1960). None where there is no pair, or where chance alone gives full agreement."""
    if not pairs:
        return None
    number = len(pairs)
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    observed = sum(one == other for one, other in pairs)
    by_chance = sum(sides[0].count(name) * sides[1].count(name) for name in set(sides[0]))
    if by_chance == number * number:
        return None
    return (observed * number - by_chance) / (number * number - by_chance)


def agreement(readings: Readings, records: Iterable[Record], tasks: Sequence[Task]) -> Mapping[str, Agreement]:
    """Task -> agreement, for the tasks that both were asked."""
    found = {task.name: Agreement() for task in tasks}
    for record in records:
        if (both := readings.both(record)) is not None:
            for task in tasks:
                one, other = (row.items.get(task.name) for row in both)
                if one is not None and other is not None:
                    found[task.name].add(one, other, task)
    return found
