"""Several samples of one answer -> one answer, with each item's support and confidence.

Self-consistency (Wang et al., 2023) at the level of items: a chart's list is not right or wrong as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chartdistill.clinical.entities import entity_of
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.schema import Item, ItemLogprobs, ItemVote, Task


@dataclass(frozen=True)
class Sample:
    """One completion and the log-probabilities of its items (none: the engine gave none)."""

    text: str
    logprobs: Mapping[Item, ItemLogprobs] = field(default_factory=dict)


def vote(samples: Sequence[Sample], task: Task) -> tuple[tuple[Item, ...] | None, tuple[ItemVote, ...]]:
    """The items most samples agree on, and the votes for every item any sample names.

    Only samples that follow the answer format vote. An item is in when more than half of them name it, with its
    status. When more than half say "none found", none is. When there is no majority for anything, the items with
    most support are returned: saying "none found" then would be a claim that nobody made, and the filter
    `agreement` can still reject them by their support.

    Returns:
        (items, votes); items is None when no sample follows the format.
    """
    named: dict[tuple[str, str | None], tuple[Item, list[float]]] = {}
    support: dict[tuple[str, str | None], int] = {}
    voters = none = 0
    entity = entity_of(task)
    for sample in samples:
        items = parse_answer(sample.text, task)
        if items is None:
            continue
        voters += 1
        none += not items
        for item in items:
            key = (entity.key(item.text), item.status)
            named.setdefault(key, (item, []))[1].extend([sample.logprobs[item].mean] if item in sample.logprobs else [])
        for key in {(entity.key(item.text), item.status) for item in items}:
            support[key] = support.get(key, 0) + 1
    if not voters:
        return None, ()
    votes = tuple(
        ItemVote(
            item=item,
            support=support[key],
            samples=voters,
            logprob=round(math.fsum(scores) / len(scores), 4) if scores else None,
        )
        for key, (item, scores) in named.items()
    )
    chosen = tuple(entry.item for entry in votes if 2 * entry.support > voters)
    if not chosen and 2 * none <= voters:
        most = max(entry.support for entry in votes)
        chosen = tuple(entry.item for entry in votes if entry.support == most)
    return chosen, votes
