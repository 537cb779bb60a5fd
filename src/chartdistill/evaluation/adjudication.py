"""What a person judges: are these two names the same thing?

In: the answers of arms beside gold. Out: the pairs that no rule matched, for a person; and from the person's file, the
`SameAs` that scores go by. One line of JSON for a pair, the same in both directions:

    {"kind": "diagnosis", "a": "weak heart", "b": "congestive heart failure", "records": 2, "same": null}

`kind` is a task or a kind of finding, `a` what an arm emitted, `b` a gold item of the same record, neither of them
matched. The person writes true or false for `same`; a line without it means true; null is not judged yet and changes
nothing. Must hold: the pairs do not say which arm emitted what, so that nobody is judged more kindly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field
from rapidfuzz import fuzz

from chartdistill.clinical.entities import entity_named, entity_of
from chartdistill.clinical.same_as import SameAs
from chartdistill.errors import InputError
from chartdistill.metrics.pairing import pair_up
from chartdistill.schema import Item, Prediction, Record, Task

NEAREST = 3
"""Gold items offered for one that an arm emitted, the most similar by letters first."""


class JudgedPair(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    a: str = Field(min_length=1)
    b: str = Field(min_length=1)
    records: int = 0
    """In how many records the pair stood; for the person only."""
    same: bool | None = True


def same_as(pairs: Mapping[str, JudgedPair], tasks: Sequence[Task]) -> SameAs:
    """The equivalences of the pairs that were judged the same. `pairs`: where each stands -> pair.

    Raises:
        InputError: a kind that is no task and no kind of finding; a pair that is judged not the same and, by others of
            the file, the same. Each with where it stands.
    """
    kinds = {place: _kind(pair.kind, tasks, place) for place, pair in pairs.items()}
    found = SameAs.of((kinds[place], pair.a, pair.b) for place, pair in pairs.items() if pair.same)
    for place, pair in pairs.items():
        entity = entity_named(kinds[place])
        keys = [entity.match_key(name) for name in (pair.a, pair.b)]
        known = found.keys(entity)
        if pair.same is False and keys[0] != keys[1] and known.get(keys[0], keys[0]) == known.get(keys[1], keys[1]):
            raise InputError(
                f"{place}: judged not the same, but other lines make these two the same (being the same carries over: "
                "a and b, b and c, so a and c). Correct one of them."
            )
    return found


def _kind(name: str, tasks: Sequence[Task], place: str) -> str:
    kinds = {task.name: entity_of(task).name for task in tasks}
    kind = kinds.get(name, entity_named(name).name)
    if not kind and name not in kinds:
        raise InputError(
            f"{place}: kind {name!r} is neither a task of these ({', '.join(kinds)}) nor a kind of finding."
        )
    return kind


def unmatched_pairs(
    arms: Iterable[Iterable[Prediction]], records: Mapping[str, Record], tasks: Sequence[Task], judged: SameAs
) -> list[JudgedPair]:
    """The pairs of an emitted and a gold item of one record that are both left over, the most frequent first.

    Of the gold items left over in its record, an emitted item is shown with the `NEAREST` most similar ones.
    """
    by_name = {task.name: task for task in tasks}
    found: dict[tuple[str, str, str], tuple[str, str, set[str]]] = {}
    for prediction in (one for arm in arms for one in arm):
        record, task = records[prediction.record], by_name[prediction.task]
        entity, gold = entity_of(task), (record.gold or {}).get(task.name) or ()
        for said, meant in _left_over(prediction.items or (), gold, task, judged):
            key = (task.name, entity.match_key(said.text), entity.match_key(meant.text))
            found.setdefault(key, (said.text, meant.text, set()))[2].add(record.id)
    order = sorted(found.items(), key=lambda entry: (-len(entry[1][2]), entry[0]))
    return [JudgedPair(kind=key[0], a=a, b=b, records=len(ids), same=None) for key, (a, b, ids) in order]


def _left_over(items: Sequence[Item], gold: Sequence[Item], task: Task, judged: SameAs) -> Iterator[tuple[Item, Item]]:
    pairing = pair_up(items, gold, entity_of(task), judged)
    used = {place for _, place in pairing.pairs}
    meant = [item for place, item in enumerate(gold) if place not in used and not item.optional]
    for place in pairing.strangers:
        said = items[place]
        nearest = sorted(meant, key=lambda item: -fuzz.token_sort_ratio(said.text.casefold(), item.text.casefold()))
        yield from ((said, item) for item in nearest[:NEAREST])


def as_lines(pairs: Iterable[JudgedPair]) -> str:
    """The file for the person."""
    return "".join(json.dumps(pair.model_dump(), ensure_ascii=False) + "\n" for pair in pairs)
