"""What a person decides about a label, before any filter: kept as it is, kept with other items, or rejected.

In: `review/decisions.jsonl` of a run folder, which `chartdistill review` adds to. Out: for each label the decision in
force, and the label as it is then. Must hold: nothing is taken out of the file: an undone decision stays there, with
the row that undoes it; a decision counts only for the answer that the person saw (`Decision.seen`), else it is stale,
counted and not applied; an objection that a decision overrides is never lost, it moves to `CuratedLabel.readmitted`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from chartdistill.prompting.answer_format import format_answer, parse_answer
from chartdistill.runtime.shared_rows import SharedRows
from chartdistill.schema import ByPerson, CuratedLabel, Item, Label, Record, Rejection, Row, Task, content_hash

FILE = "decisions.jsonl"
"""In the folder `review` of a run."""
PERSON = "person"
"""Who speaks against a label that a person rejected, in the place of a filter."""
MAX_NAME = 60
"""Characters of a person's name."""
Action = Literal["keep", "reject", "undo"]
ACTIONS: tuple[Action, ...] = get_args(Action)
Place = tuple[str, str, int]
"""(record, task, sample)."""


def checked_name(name: str) -> str:
    """A person's name as it is written down.

    Raises:
        ValueError: it is empty, too long, or has characters that cannot be seen.
    """
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME:
        raise ValueError(f"a name has 1 to {MAX_NAME} characters, this one {len(name)}")
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn") for letter in name):
        raise ValueError("a name has only characters that can be seen")
    return name


def checked_time(time: str) -> str:
    """A time in UTC, as `now` writes it.

    Raises:
        ValueError: it is written otherwise, so that times would not sort as text.
    """
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time) is None:
        raise ValueError("a time is written in UTC as 2026-01-31T09:30:00.000000Z")
    datetime.fromisoformat(time)
    return time


PersonName = Annotated[str, AfterValidator(checked_name)]
Time = Annotated[str, AfterValidator(checked_time)]


def now() -> str:
    """This moment in UTC, to the microsecond: times compare as text."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Decision(Row):
    """One line of decisions.jsonl."""

    id: str = Field(pattern=r"^[0-9a-f]{16,32}$")
    """Of this decision, on any machine: what is imported twice counts once."""
    action: Action
    record: str
    task: str
    sample: int = 0
    label: str
    """`Label.key`."""
    seen: str
    """Hash of chart and answer as the person saw them: see `seen_hash`."""
    items: tuple[Item, ...] | None = None
    """Of `keep`: the whole right answer; empty: the chart has none. None for the other actions."""
    undoes: str | None = None
    """Of `undo`: the id of the decision that no longer counts."""
    by: PersonName
    at: Time
    """UTC; of two decisions about one label the later one counts."""

    @model_validator(mode="after")
    def _says_what_it_does(self) -> Self:
        if (self.action == "keep") != (self.items is not None):
            raise ValueError("`items` belongs to `keep`, and to nothing else")
        if (self.action == "undo") != (self.undoes is not None):
            raise ValueError("`undoes` belongs to `undo`, and to nothing else")
        if any(item.optional for item in self.items or ()):
            raise ValueError("an item of a label is never optional")
        return self

    @property
    def place(self) -> Place:
        """Whose label it is about."""
        return self.record, self.task, self.sample


def decision_file(run_dir: Path) -> SharedRows[Decision]:
    """The decisions of a run folder; there need not be any."""
    return SharedRows(run_dir / "review" / FILE, Decision)


def seen_hash(label: Label, record: Record) -> str:
    """What a decision rests on: the chart and the answer. The key alone is of what was asked, not of what was said."""
    return content_hash(label.key, record.text, label.completion, label.failure)


def is_about(decision: Decision, label: Label, record: Record) -> bool:
    """Whether a decision is about this very answer to this very chart. The key of a label that stands in a file says
    where it stands: a line more in that file makes it another key, and no other answer."""
    key = label.key if label.origin is None else decision.label
    return decision.seen == seen_hash(label.model_copy(update={"key": key}), record)


def in_force(decisions: Iterable[Decision]) -> dict[Place, Decision]:
    """For each label the last decision that is not undone, by time; of equal times the one further down."""
    rows = sorted(decisions, key=lambda row: row.at)
    undone = {row.undoes for row in rows if row.action == "undo"}
    return {row.place: row for row in rows if row.action != "undo" and row.id not in undone}


def misfit(items: Sequence[Item], task: Task) -> str | None:
    """Why these items are no answer of a task, in words; None where they are one."""
    for item in items:
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in item.text):
            return "an item holds a control character"
        if item.status is not None and item.status not in task.statuses:
            allowed = f"one of {', '.join(task.statuses)}" if task.statuses else "none: this task has no statuses"
            return f"the status {item.status!r} of an item is not allowed; it must be {allowed}"
        if item.status is None and task.statuses:
            return f"an item has no status; it must be one of {', '.join(task.statuses)}"
        if parse_answer(format_answer([item]), task) != (item,):
            return "the text of an item cannot be read back from an answer: it is empty, has `|` in it, or says none"
    if len(set(items)) < len(items):
        return "an item stands there twice"
    return None


@dataclass
class Decisions:
    """The decisions in force while labels are curated, and what became of each."""

    by_place: Mapping[Place, Decision] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """By `ByPerson`; `people`, how many decided."""
    _met: int = 0

    @classmethod
    def of_run(cls, run_dir: Path) -> Decisions:
        """Those of a run folder.

        Raises:
            InputError: a line of the file is no decision; names it.
        """
        return cls(in_force(decision_file(run_dir).rows()))

    @property
    def mark(self) -> str:
        """Changes with whatever is decided; not with who did so, or when."""
        return content_hash(
            sorted(
                [*place, row.label, row.seen, None if row.items is None else [item.model_dump() for item in row.items]]
                for place, row in self.by_place.items()
            )
        )

    def applied(self, judged: CuratedLabel, label: Label, record: Record, task: Task) -> CuratedLabel:
        """The label as a person decided it; as the filters judged it where nobody did, or about another answer."""
        decision = self.by_place.get((label.record, label.task, label.sample))
        if decision is None or not is_about(decision, label, record) or misfit(decision.items or (), task):
            return judged
        decided = decide(judged, decision.items)
        self._met += 1
        self.counts[str(decided.by_person)] += 1
        return decided

    def summary(self) -> dict[str, Any]:
        """For the manifest: labels by what was decided, and decisions that no longer fit a label (`stale`)."""
        names: tuple[ByPerson, ...] = ("kept", "changed", "readmitted", "rejected")
        return {
            **{name: self.counts[name] for name in names},
            "stale": len(self.by_place) - self._met,
            "people": len({row.by for row in self.by_place.values()}),
        }


def decide(judged: CuratedLabel, items: tuple[Item, ...] | None) -> CuratedLabel:
    """A label that filters have judged, as a person wants it; None: rejected."""
    if items is None:
        said = Rejection(filter=PERSON, reason="rejected_by_person", evidence="a person rejected it in review")
        return judged.model_copy(
            update={"items": None, "rejections": (*judged.rejections, said), "by_person": "rejected"}
        )
    objections = (*judged.rejections, *judged.readmitted)
    standing = tuple(one for one in objections if one.item is not None and one.item not in items)
    how: ByPerson = "readmitted" if judged.items is None else "kept" if set(judged.items) == set(items) else "changed"
    return judged.model_copy(
        update={
            "items": items,
            "rejections": standing,
            "readmitted": tuple(one for one in objections if one not in standing),
            "by_person": how,
        }
    )
