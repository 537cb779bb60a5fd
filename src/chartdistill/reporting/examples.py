"""Ten held-out records to look at, with every arm's items marked in the text.

In: held-out records and predictions. Out: `Example`s for report.html, the only place record text goes. What must hold:
the same run shows the same records; the page says how they were picked and how common each kind is, since they are
picked for variety and are no random sample; items are compared, located and classed as in the scores; `without_text`
leaves no text of a record, an item or a completion.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from chartdistill.clinical.entities import entity_of
from chartdistill.metrics.harm import harmful_statuses
from chartdistill.metrics.matching import is_located
from chartdistill.metrics.pairing import is_exact
from chartdistill.reporting.error_summary import STUDENT
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import arm_in_text
from chartdistill.schema import Item, Prediction, Record, Task, content_hash

NUM_EXAMPLES = 10
NUM_WORST = 3
"""Of these, the ones with most harm and errors come first."""
SHOWN_CHARS = 12_000
"""Longer records are cut on the page, and the page says so."""
GOLD = "gold"

Judgement = Literal["right", "status differs", "dangerous status", "wrong kind", "invented", "not judged"]
"""Class of an emitted item; see `error_summary.CLASSES`."""
WRONG: tuple[Judgement, ...] = ("dangerous status", "status differs", "invented", "wrong kind")
"""The classes that are errors, the gravest first."""
WORST = "one of those with most dangerous statuses, then most errors and misses"


@dataclass(frozen=True)
class ShownItem:
    """One item of an answer, and how it stands to gold and chart."""

    text: str
    status: str | None
    judgement: Judgement
    spans: tuple[tuple[int, int], ...]
    """Where it stands in the record's text."""
    chart_says: tuple[str, ...] = ()
    """The statuses that gold gives it, where they are others."""


@dataclass(frozen=True)
class Answer:
    """What one arm (or gold) says on one task."""

    arm: str
    state: Literal["items", "none found", "bad format", "failed", "not asked", "no gold"]
    items: tuple[ShownItem, ...] = ()
    raw: str = ""
    """The completion, where it does not follow the format."""
    missed: tuple[Item, ...] = ()
    """Gold items whose text is not among the items."""
    num_missed: int = 0
    tally: tuple[tuple[str, int], ...] = ()
    """In the place of `items`, where their text is not shown: class -> how many."""

    @property
    def is_faulty(self) -> bool:
        """Whether anything in it is wrong or missing."""
        kinds = {item.judgement for item in self.items} | {kind for kind, _ in self.tally}
        return self.state == "bad format" or self.num_missed > 0 or not kinds.isdisjoint(WRONG)


@dataclass(frozen=True)
class Piece:
    """A stretch of record text and who found it."""

    text: str
    finders: tuple[str, ...] = ()
    judgement: Judgement | None = None
    """Class of the student's item that was found here, where it is not right."""


@dataclass(frozen=True)
class Example:
    """One record as the page shows it."""

    record: str
    source: str
    why: str
    pieces: tuple[Piece, ...]
    num_cut: int
    """Characters of the record left off the page."""
    rows: tuple[tuple[str, tuple[Answer, ...]], ...]
    """(task, answers: gold first, then the arms)."""
    is_worst: bool = False

    @property
    def of_student(self) -> list[tuple[str, Answer]]:
        """(task, the student's answer) where something is wrong or missed."""
        found = [(task, answer) for task, answers in self.rows for answer in answers if answer.arm == STUDENT]
        return [(task, answer) for task, answer in found if answer.is_faulty]

    @property
    def summary(self) -> str:
        """What is wrong in the student's answers, in counts (`1 dangerous status, 3 missed`), or that nothing is;
        where that cannot be known, of which tasks."""
        kinds: Counter[str] = Counter()
        for _, answer in self.of_student:
            kinds.update(dict(answer.tally) or Counter(item.judgement for item in answer.items))
            kinds["unusable answer" if answer.state == "bad format" else ""] += 1
            kinds["missed"] += answer.num_missed
        shown = (*WRONG, "unusable answer", "missed")
        found = ", ".join(f"{kinds[kind]} {kind}" for kind in shown if kinds[kind])
        return found or ("nothing wrong" if not self.unjudged else f"not judged: {', '.join(self.unjudged)}")

    @property
    def unjudged(self) -> list[str]:
        """Tasks of which nobody can say whether the student is right: without gold, or without an answer of its own."""
        states = {task: {answer.arm: answer.state for answer in answers} for task, answers in self.rows}
        asked = ("items", "none found", "bad format")
        return [task for task, of in states.items() if of[GOLD] == "no gold" or of.get(STUDENT) not in asked]


@dataclass(frozen=True)
class _Answered:
    """A record with all its answers."""

    record: Record
    answers: Mapping[tuple[str, str], Prediction]
    tasks: tuple[Task, ...]
    teacher: str = "teacher"
    """The arm of the teacher's answers."""

    def items(self, arm: str, task: str) -> tuple[Item, ...] | None:
        """An arm's items (or gold's); None when there is no usable answer (or no gold)."""
        if arm == GOLD:
            return (self.record.gold or {}).get(task)
        prediction = self.answers.get((task, arm))
        return None if prediction is None else prediction.items

    def same(self, first: str, second: str) -> list[bool]:
        """Per task to which both have an answer: whether they say the same."""
        return [
            self._is_same(self.items(first, task.name), self.items(second, task.name), task)
            for task in self.tasks
            if self._has_answer(first, task) and self._has_answer(second, task)
        ]

    def _has_answer(self, arm: str, task: Task) -> bool:
        return self.items(GOLD, task.name) is not None if arm == GOLD else (task.name, arm) in self.answers

    @staticmethod
    def _is_same(one: Sequence[Item] | None, other: Sequence[Item] | None, task: Task) -> bool:
        return one is other if one is None or other is None else is_exact(one, other, entity_of(task))

    def invents(self) -> bool:
        """Whether the student emits an item that cannot be located in the record."""
        return any(
            not is_located(item, self.record, task)
            for task in self.tasks
            for item in self.items("student", task.name) or ()
        )

    def badness(self) -> tuple[int, int]:
        """How many of the student's items have a dangerous status; how many things are wrong or missed in all."""
        dangerous = errors = 0
        for task in self.tasks:
            prediction, gold = self.answers.get((task.name, STUDENT)), self.items(GOLD, task.name)
            if prediction is None or prediction.completion is None:
                continue
            found = prediction.items or ()
            kinds = [judge(item, gold, is_located(item, self.record, task), task) for item in found]
            dangerous += kinds.count("dangerous status")
            errors += (
                sum(kind in WRONG for kind in kinds) + len(_missed(found, gold, task)) + (prediction.items is None)
            )
        return dangerous, errors


KINDS: tuple[tuple[str, Callable[[_Answered], bool]], ...] = (
    ("student and base differ", lambda answered: not all(answered.same("student", "base"))),
    ("student differs from gold", lambda answered: not all(answered.same("student", GOLD))),
    (
        "student answers none found",
        lambda answered: any(answered.items("student", task.name) == () for task in answered.tasks),
    ),
    ("student and teacher differ", lambda answered: not all(answered.same("student", answered.teacher))),
    ("student emits an item that is not in the chart", _Answered.invents),
    (
        "student agrees with the teacher throughout",
        lambda answered: bool(found := answered.same("student", answered.teacher)) and all(found),
    ),
)


def choose_examples(results: RunResults) -> tuple[tuple[Example, ...], tuple[tuple[str, int], ...]]:
    """Up to ten examples, and how many held-out records are of each kind.

    The worst three come first. Then the kinds take turns; within a kind the order is that of the hash of the record id,
    so it follows neither the content nor the order of the files.
    """
    asked = [
        _Answered(results.scored_records[name], results.predictions[name], results.tasks, results.teacher_arm)
        for name in sorted(results.predictions, key=content_hash)
    ]
    has_gold = any(answered.record.gold for answered in asked)
    has_teacher = results.teacher_arm in results.arms
    absent = [word for word, there in ((GOLD, has_gold), ("teacher", has_teacher)) if not there]
    teacher = arm_in_text(results.teacher_arm)
    kinds = [
        (kind.replace("teacher", teacher), holds) for kind, holds in KINDS if not any(word in kind for word in absent)
    ]
    queues = {kind: [answered for answered in asked if holds(answered)] for kind, holds in kinds}
    tally = tuple((kind, len(found)) for kind, found in queues.items())
    queues["held out"] = asked
    ranked = sorted(((one.badness(), one) for one in asked), key=lambda pair: pair[0], reverse=True)
    worst = {one.record.id: (one, WORST) for (_, errors), one in ranked[:NUM_WORST] if errors}
    chosen: dict[str, tuple[_Answered, str]] = dict(worst)
    while len(chosen) < min(NUM_EXAMPLES, len(asked)):
        for kind, found in queues.items():
            answered = next((one for one in found if one.record.id not in chosen), None)
            if answered is not None and len(chosen) < NUM_EXAMPLES:
                chosen[answered.record.id] = (answered, kind)
    shown = (
        replace(_show(answered, results.arms, why), is_worst=record in worst)
        for record, (answered, why) in chosen.items()
    )
    # A path that names the group names the patient.
    sources = results.manifests.get("records", {}).get("sources") or ()
    hide = any("group_folder" in source for source in sources)
    return tuple(replace(example, source="") if hide else example for example in shown), tally


def without_text(example: Example) -> Example:
    """The example with its record id, answers and classes, and nothing of the record's text or the items'."""
    rows = tuple((task, tuple(map(_counted, answers))) for task, answers in example.rows)
    return replace(example, source="", pieces=(), num_cut=0, rows=rows)


def _counted(answer: Answer) -> Answer:
    counts = Counter("items" if answer.arm == GOLD else str(item.judgement) for item in answer.items)
    return replace(answer, items=(), missed=(), raw="", tally=tuple(counts.most_common()))


def _show(answered: _Answered, arms: tuple[str, ...], why: str) -> Example:
    record = answered.record
    rows = tuple(
        (task.name, (_gold_answer(answered, task), *(_arm_answer(answered, task, arm) for arm in arms)))
        for task in answered.tasks
    )
    shown = [(answer.arm, item) for _, answers in rows for answer in answers for item in answer.items]
    finds = [(*span, arm) for arm, item in shown for span in item.spans]
    faulty = [item for arm, item in shown if arm == STUDENT and item.judgement not in ("right", "not judged")]
    wrong = [(*span, item.judgement) for item in faulty for span in item.spans]
    text = record.text[:SHOWN_CHARS]
    num_cut = len(record.text) - len(text)
    return Example(record.id, record.source, why, mark(text, finds, (GOLD, *arms), wrong), num_cut, rows)


def _gold_answer(answered: _Answered, task: Task) -> Answer:
    gold = answered.items(GOLD, task.name)
    if gold is None:
        return Answer(GOLD, "no gold")
    return Answer(GOLD, "items" if gold else "none found", tuple(_shown_items(answered, task, gold)))


def _arm_answer(answered: _Answered, task: Task, arm: str) -> Answer:
    prediction = answered.answers.get((task.name, arm))
    if prediction is None:
        return Answer(arm, "not asked")
    if prediction.completion is None:
        return Answer(arm, "failed")
    missed = _missed(prediction.items or (), answered.items(GOLD, task.name), task)
    if prediction.items is None:
        return Answer(arm, "bad format", raw=prediction.completion, missed=missed, num_missed=len(missed))
    items = tuple(_shown_items(answered, task, prediction.items))
    return Answer(arm, "items" if items else "none found", items, missed=missed, num_missed=len(missed))


def _missed(items: Sequence[Item], gold: Sequence[Item] | None, task: Task) -> tuple[Item, ...]:
    """Gold items that no item names; not the optional ones."""
    same = entity_of(task).same
    wanted = (item for item in gold or () if not item.optional)
    return tuple(item for item in wanted if not any(same(said.text, item.text) for said in items))


def _shown_items(answered: _Answered, task: Task, items: Sequence[Item]) -> Iterator[ShownItem]:
    for item in items:
        spans = find(item, answered.record.text, task)
        gold, same = answered.items(GOLD, task.name), entity_of(task).same
        judgement = judge(item, gold, bool(spans), task)
        meant: tuple[str, ...] = ()
        if judgement in ("status differs", "dangerous status"):
            meant = tuple(dict.fromkeys(of.status for of in gold or () if of.status and same(item.text, of.text)))
        yield ShownItem(item.text, item.status, judgement, spans, meant)


def judge(item: Item, gold: tuple[Item, ...] | None, located: bool, task: Task) -> Judgement:
    """How an item stands to gold and chart, as the scores see it."""
    entity = entity_of(task)
    same = [other for other in gold or () if entity.same(item.text, other.text)]
    if any(other.status == item.status and not other.optional for other in same):
        return "right"
    wanted = [other for other in same if not other.optional]
    if same and (not wanted or any(other.status == item.status for other in same)):
        return "not judged"
    if wanted:
        harmful = any(item.status in harmful_statuses(other.status) for other in wanted)
        return "dangerous status" if harmful else "status differs"
    if not located:
        return "invented"
    return "not judged" if gold is None else "wrong kind"


def find(item: Item, text: str, task: Task) -> tuple[tuple[int, int], ...]:
    """Where an item stands in a text: every place with its words, else the one place the scores ground it in."""
    words = r"\s+".join(map(re.escape, item.text.split()))
    spans = tuple(match.span() for match in re.finditer(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)) if words else ()
    if spans:
        return spans
    alignment = entity_of(task).locate(item.text, text, lexicon="auto", initials=True)  # as `matching.is_located`
    return () if alignment is None else ((alignment.start, alignment.end),)


def mark(
    text: str,
    finds: Sequence[tuple[int, int, str]],
    order: tuple[str, ...],
    wrong: Sequence[tuple[int, int, Judgement]] = (),
) -> tuple[Piece, ...]:
    """Cut a text at the ends of all finds; each piece names its finders in the order given.

    `wrong`: finds of the student that are not right, with their class.
    """
    cuts = sorted({0, len(text), *(min(edge, len(text)) for start, end, _ in finds for edge in (start, end))})
    pieces = []
    for start, end in pairwise(cuts):
        covering = {arm for low, high, arm in finds if low <= start and end <= high}
        judgement = next((kind for low, high, kind in wrong if low <= start and end <= high), None)
        pieces.append(Piece(text[start:end], tuple(arm for arm in order if arm in covering), judgement))
    return tuple(pieces)
