"""What a chart is to say before it is written: findings, things that must not be read from it, style and length.

In: a seed, a number, the run's tasks. Out: a plan. Must hold: a plan follows from (seed, number, options, tasks) alone,
names come from the project's own vocabularies, never from a record; nothing is in one plan twice, no drug under two
brands.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.brands import BRANDS
from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.clinical.lexica.specialties import SPECIALTIES
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.demo.sentences import RELATIVES
from chartdistill.schema import Item, Row, Task
from chartdistill.synthesis.options import SynthesizeOptions

STYLES = (
    "progress note with headings for subjective, objective, assessment and plan", "discharge summary",
    "letter to the referring doctor", "emergency department note", "short clinic note in fragments",
    "telephone note", "nursing note", "consultation report",
)  # fmt: skip
LENGTHS = ((60, 110), (110, 200), (200, 350))
"""Words; the shorter ones are as frequent as the longer."""
_NAMES_OF_BRANDS = tuple(sorted(BRANDS))
_SPECIALTIES = tuple(name for name in SPECIALTIES if not any(word in name for word in ("summary", "note", "phy.")))
"""Without kinds of note, which sites list among them."""
_PROGNOSES = ("good", "guarded", "poor", "fair", "excellent")


class Plan(Row):
    """One chart to be written."""

    number: int
    style: str
    specialty: str
    num_words: int
    findings: dict[str, tuple[Item, ...]]
    """Task name -> what a reading must find; a task of the plan with nothing is a chart without any."""
    decoys: tuple[Item, ...] = ()
    """What the chart names and no reading may list: a relative's drug, a denied condition."""
    lines: tuple[str, ...]
    """The same in words, as the teacher is told."""
    rare: tuple[str, ...] = ()
    """Which rare things it has."""

    def as_text(self) -> str:
        """What the teacher is given in the place of a chart."""
        head = f"Kind of note: {self.style} ({self.specialty}). Length: about {self.num_words} words."
        return "\n".join((head, "Facts:", *(f"- {line}" for line in self.lines)))


def draw_plan(number: int, options: SynthesizeOptions, tasks: Sequence[Task]) -> Plan:
    """The plan of a number."""
    draft = _Draft(random.Random(f"plan {options.seed} {number}"), options, tasks)
    rng = draft.rng
    if rng.random() < options.rare_share:
        kinds = [kind for kind in RARE if draft.can(kind)]
        for kind in rng.sample(kinds, min(len(kinds), rng.choice((1, 1, 2)))):
            RARE[kind](draft)
            draft.rare.append(kind)
    draft.add_usual()
    rng.shuffle(draft.lines)
    low, high = rng.choice(LENGTHS)
    return Plan(
        number=number,
        style=rng.choice(STYLES),
        specialty=rng.choice(_SPECIALTIES),
        num_words=rng.randint(low, high),
        findings={task: tuple(items) for task, items in draft.findings.items()},
        decoys=tuple(draft.decoys),
        lines=tuple(draft.lines),
        rare=tuple(draft.rare),
    )


class _Draft:
    """A plan while it is drawn."""

    def __init__(self, rng: random.Random, options: SynthesizeOptions, tasks: Sequence[Task]) -> None:
        self.rng, self._options = rng, options
        self._tasks = {entity_of(task).task_name: task for task in tasks}
        self.findings: dict[str, list[Item]] = {task.name: [] for task in self._tasks.values()}
        self.decoys: list[Item] = []
        self.lines: list[str] = []
        self.rare: list[str] = []
        self._used: set[str] = set()

    def asks(self, kind: str, status: str | None = None) -> bool:
        """Whether a task of the run asks for this kind, with this status."""
        return kind in self._tasks and (status is None or status in self._tasks[kind].statuses)

    def can(self, rare: str) -> bool:
        """Whether a rare thing is one that the tasks ask for."""
        return all(self.asks(*need) for need in _NEEDS[rare])

    def name(self, kind: str) -> str:
        """A name of something that is not in the plan yet, under no other name either."""
        while True:
            name = self._draw(kind)
            meant = entity_of(self._tasks[kind]).match_key(name)
            if meant not in self._used:
                self._used.add(meant)
                return name

    def _draw(self, kind: str) -> str:
        if kind == "medication":
            made_up = self._options.drugs == "made_up"
            return drug_name(self.rng, "train") if made_up else self.rng.choice(_NAMES_OF_BRANDS).capitalize()
        choices = {"diagnosis": CONDITION_NAMES, "tests": TEST_NAMES, "prognosis": _PROGNOSES}
        return self.rng.choice(choices[kind])

    def find(self, kind: str, text: str, status: str | None = None) -> None:
        """A finding, with its status where the task has any."""
        task = self._tasks[kind]
        self.findings[task.name].append(Item(text=text, status=status if task.statuses else None))

    def add_usual(self) -> None:
        """What ordinary charts have, or do not have."""
        for kind, words in _USUAL.items():
            if not self.asks(kind) or self.findings[self._tasks[kind].name]:
                continue
            for _ in range(self.rng.choice((0, 1, 1, 2) if kind != "prognosis" else (0, 0, 1))):
                statuses = [one for one in words if not one or self.asks(kind, one)]
                if not self._tasks[kind].statuses:  # a list without statuses is of what the patient has now
                    statuses = [one for one in words if one in ("", "start", "continue")]
                if not statuses:
                    break
                status, name = self.rng.choice(statuses), self.name(kind)
                self.find(kind, name, status or None)
                self.lines.append(words[status].format(name=name))
            if not self.findings[self._tasks[kind].name]:
                self.lines.append(_NONE[kind])


_USUAL: dict[str, dict[str, str]] = {
    "medication": {
        "start": "{name} is started today",
        "continue": "the patient takes {name}, and goes on with it",
        "stop": "{name} is stopped",
        "past": "the patient took {name} years ago, and no longer does",
    },
    "diagnosis": {"": "diagnosis: {name}"},
    "tests": {"": "a test is ordered: {name}"},
    "prognosis": {"": "the prognosis is {name}"},
}
"""Kind -> status (or nothing) -> how the teacher is told."""
_NONE = {
    "medication": "no drug of the patient is named",
    "diagnosis": "no diagnosis is named",
    "tests": "no test is ordered",
    "prognosis": "nothing is said of the prognosis",
}


def _switch(draft: _Draft) -> None:
    old, new = draft.name("medication"), draft.name("medication")
    draft.find("medication", old, "stop")
    draft.find("medication", new, "start")
    draft.lines.append(f"{old} is stopped, and {new} is tried in its place")


def _hold(draft: _Draft) -> None:
    name = draft.name("medication")
    draft.find("medication", name, "hold")
    draft.lines.append(f"{name} is held until the next visit")


def _taper(draft: _Draft) -> None:
    name = draft.name("medication")
    draft.find("medication", name, "change")
    draft.lines.append(f"the dose of {name} is tapered over the next weeks, and goes on at half")


def _avoid(draft: _Draft) -> None:
    name = draft.name("medication")
    draft.find("medication", name, "avoid")
    if draft.asks("allergy"):
        draft.find("allergy", name)
    draft.lines.append(f"the patient is allergic to {name}")


def _relatives(draft: _Draft) -> None:
    name = draft.name("medication")
    draft.decoys.append(Item(text=name))
    draft.lines.append(f"the patient's {draft.rng.choice(RELATIVES)} takes {name}; the patient does not")


def _denied(draft: _Draft) -> None:
    name = draft.name("diagnosis")
    draft.decoys.append(Item(text=name))
    draft.lines.append(f"the patient denies ever having had {name}")


def _pending(draft: _Draft) -> None:
    name = draft.name("tests")
    draft.find("tests", name)
    draft.lines.append(f"{name} was ordered, and the result is pending")


def _guarded(draft: _Draft) -> None:
    draft.find("prognosis", "guarded")
    draft.lines.append("the prognosis is guarded")


RARE: dict[str, Any] = {
    "switch": _switch, "hold": _hold, "taper": _taper, "allergy": _avoid, "relative": _relatives, "denied": _denied,
    "pending": _pending, "guarded": _guarded,
}  # fmt: skip
"""Name of a rare thing -> puts it into a draft."""
_NEEDS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "switch": (("medication", "stop"), ("medication", "start")),
    "hold": (("medication", "hold"),),
    "taper": (("medication", "change"),),
    "allergy": (("medication", "avoid"),),
    "relative": (("medication", None),),
    "denied": (("diagnosis", None),),
    "pending": (("tests", None),),
    "guarded": (("prognosis", None),),
}
