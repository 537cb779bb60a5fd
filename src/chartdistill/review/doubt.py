"""How doubtful a label is, and why: what a person should look at first.

In: a label, what curation made of it, what arms say of the same record. Out: a number from 0 to 1 and the reasons in
words. Each sign that a label is wrong has a probability of its own; together they are 1 - product(1 - p), as if they
were independent. It ranks and is no calibrated probability. Must hold: the reasons hold no record text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from chartdistill.clinical.entities import entity_of
from chartdistill.metrics.pairing import pair_up
from chartdistill.schema import CuratedLabel, Item, Label, Task

_SURE = 0.95
"""A probability from here on is no reason to look."""
_FEW_ITEMS, _ALL_ITEMS, _DROPPED, _OTHER_ARM = 0.9, 0.45, 0.6, 0.5
_CHECK = {"no": 0.8, "unclear": 0.6}
_OTHER_STATUS = 0.5

Items = tuple[Item, ...]


class Doubt(NamedTuple):
    """How doubtful, and why."""

    value: float
    reasons: tuple[str, ...]
    """The gravest first."""


def doubt_of(
    label: Label, curated: CuratedLabel | None, items: Items | None, arms: Mapping[str, Items | None], task: Task
) -> Doubt:
    """The doubt of one label. `items`: its answer as it came; None where it has none. `arms`: what others answered."""
    of_label = (*_of_filters(curated, items), *_of_votes(label), *_of_gate(label), *_of_checks(label))
    signs = sorted([*of_label, *_of_arms(items, arms, task)], reverse=True)
    return Doubt(1 - math.prod(1 - min(weight, 0.99) for weight, _ in signs), tuple(words for _, words in signs))


def _of_filters(curated: CuratedLabel | None, items: Items | None) -> Iterator[tuple[float, str]]:
    objections = () if curated is None else (*curated.rejections, *curated.readmitted)
    against = {one.item for one in objections if one.item is not None}
    reasons = ", ".join(dict.fromkeys(f"{one.reason} ({one.filter})" for one in objections))
    if not objections:
        return
    if curated is not None and curated.items is not None:
        yield _DROPPED, f"{len(against)} of {len(items or ())} items dropped: {reasons}" if against else reasons
    elif against and items:
        share = min(1.0, len(against) / len(items))
        yield (
            _FEW_ITEMS - (_FEW_ITEMS - _ALL_ITEMS) * share,
            f"rejected for {len(against)} of {len(items)} items: {reasons}",
        )
    else:
        yield _ALL_ITEMS, f"rejected: {reasons}"


def _of_votes(label: Label) -> Iterator[tuple[float, str]]:
    if not label.votes:
        return
    weakest = min(label.votes, key=lambda vote: vote.support / vote.samples)
    if weakest.support < weakest.samples:
        yield 1 - weakest.support / weakest.samples, f"an item has {weakest.support} of {weakest.samples} votes"
    known = [vote.logprob for vote in label.votes if vote.logprob is not None]
    if known and (least := math.exp(min(min(known), 0.0))) < _SURE:
        yield 1 - least, f"the tokens of an item have a mean probability of {least:.2f}"


def _of_gate(label: Label) -> Iterator[tuple[float, str]]:
    if label.gate is None:
        return
    sure = label.gate.probability
    if label.gate.answer == "unclear":
        yield _CHECK["unclear"], "the gate question was answered unclear"
    elif sure is not None and sure < _SURE:
        yield 1 - sure, f"the gate question was answered {label.gate.answer} with a probability of {sure:.2f}"


def _of_checks(label: Label) -> Iterator[tuple[float, str]]:
    checks = label.checks or ()
    for answer, weight in _CHECK.items():
        if number := sum(check.answer == answer for check in checks):
            yield weight, f"{number} of {len(checks)} items: asked again, the teacher answered {answer}"
    if number := sum(check.listed_status is not None for check in checks):
        yield _OTHER_STATUS, f"{number} of {len(checks)} items: asked again, the teacher gave another status"
    known = [check.probability for check in checks if check.probability is not None and check.answer == "yes"]
    if known and min(known) < _SURE:
        yield 1 - min(known), f"an item was confirmed with a probability of {min(known):.2f}"


def _of_arms(items: Items | None, arms: Mapping[str, Items | None], task: Task) -> Iterator[tuple[float, str]]:
    if items is None:
        return
    for arm, said in arms.items():
        if said is not None and not says_the_same(items, said, task):
            yield _OTHER_ARM, f"the {arm} answers otherwise"


def says_the_same(one: Items, other: Items, task: Task) -> bool:
    """Whether two answers match item by item, as the metrics match, statuses too."""
    pairs = pair_up(one, other, entity_of(task)).pairs
    return len(pairs) == len(one) == len(other) and all(one[a].status == other[b].status for a, b in pairs)
