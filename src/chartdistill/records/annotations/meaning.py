"""Spans with a tool's labels -> items of this run's tasks.

In: all documents of one export. Out: for each document and each task that the export marks at all, the items, each
once; and what cannot be used, as findings. A task that no label of the whole export stands for was not annotated, so
nothing is said of it; one that is annotated and has no span in a document is answered with none.

A label that is not in the `meaning` of the config is told by its words: `Drug`, `MEDICATION`, `Problem`, `Disease`,
`LabTest`, or a task's own name or item; what stands beside them may be a status (`Drug-Stop`, `stopped_medication`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chartdistill.clinical.entities import EntityType, entity_named, entity_of
from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import says_none
from chartdistill.records.annotations.answer import Document, Finding, Said, Span, shown, where
from chartdistill.records.annotations.offsets import (
    Pieces,
    as_read,
    cuts_word,
    extent,
    lies_within,
    one_line,
    place_spans,
)
from chartdistill.records.annotations.options import AnnotationFile, Meaning
from chartdistill.records.cleaning import clean
from chartdistill.schema import Item, Task

_KINDS = {
    "medication": "medication, drug, medicine, medicament, med, drug name, medication name, pharmaceutical",
    "diagnosis": "diagnosis, problem, disease, disorder, condition, illness, dx, medical condition",
    "tests": "test, lab, lab test, laboratory test, laboratory, imaging, investigation, diagnostic test",
    "procedure": "procedure, surgery, operation",
    "allergy": "allergy, allergen",
    "prognosis": "prognosis, outlook, forecast",
}
"""A kind's `task_name` -> what tools' schemes call it."""
_STATUSES = {
    "stop": "stop, stopped, discontinue, discontinued, dc, d c, cease, ceased",
    "start": "start, started, new, begin, begun, initiate, initiated, prescribed",
    "continue": "continue, continued, current, active, ongoing, taking, unchanged",
    "change": "change, changed, increase, increased, decrease, decreased, adjusted, titrated, dose change",
    "hold": "hold, held, on hold, paused, suspended",
    "past": "past, historical, previous, prior, former, history",
    "avoid": "avoid, avoided, allergic, contraindicated, intolerance",
    "given-once": "given once, once, given, administered, one time, stat",
}
"""A status of the shipped tasks -> what tools' schemes call it; of no effect in tasks that do not have it."""
_KIND_OF = {name.replace(" ", ""): kind for kind, names in _KINDS.items() for name in names.split(", ")}
_STATUS_OF = {name: status for status, names in _STATUSES.items() for name in names.split(", ")}
_FALSE = {"false", "no", "0", "affirmed", "positive", "present", "none", "not negated", "patient"}
_ABOUT_STATUS = ("status", "action", "change", "event", "state")
"""Words of an attribute's name that say its value is a status."""
_EDGE = " \t\n,;"


def word_key(name: str) -> str:
    """A label or attribute in lower case, its words apart: `LabTest`, `lab_test` and `LAB-TEST` are `lab test`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.findall(r"[^\W_]+", apart.casefold()))


@dataclass(frozen=True, slots=True)
class _Use:
    """What a label stands for in this run."""

    task: Task
    status: str | None


class Meanings:
    """What the labels and attributes of one export stand for.

    Raises:
        InputError: the config names a task or a status that this run does not have.
    """

    def __init__(self, options: AnnotationFile, tasks: Sequence[Task]) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._given = {word_key(label): self._checked(label, of, options) for label, of in options.meaning.items()}
        for label, of in options.meaning.items():
            if self._checked(label, of, options) != self._given[word_key(label)]:
                other = next(one for one in reversed(options.meaning) if word_key(one) == word_key(label))
                raise InputError(
                    f"meaning of {options.path.name}: {label!r} and {other!r} are read as one label, in whatever "
                    "letters, and stand for different things. Leave one of them."
                )
        self._statuses = {word_key(said): status for said, status in options.status_meaning.items()}
        self._ruled_out = {word_key(name) for name in options.ruled_out}
        self.named_tasks = [use.task for use in self._given.values() if use is not None]
        """Those that the config names: annotated even where no span of theirs occurs."""
        allowed = {status for task in tasks for status in task.statuses}
        if unknown := sorted(set(options.status_meaning.values()) - allowed):
            raise InputError(
                f"status_meaning of {options.path.name}: {', '.join(unknown)} is no status of this run's tasks; "
                f"allowed: {', '.join(sorted(allowed)) or 'none, they have no statuses'}."
            )

    def _checked(self, label: str, of: str | Meaning | None, options: AnnotationFile) -> _Use | None:
        if of is None:
            return None
        named = Meaning(task=of) if isinstance(of, str) else of
        task = self._tasks.get(named.task)
        if task is None:
            raise InputError(
                f"meaning of {options.path.name}: {label!r} stands for the task {named.task!r}, which is not among "
                f"this run's tasks ({', '.join(self._tasks)}). Use one of them, or null to leave the label out."
            )
        if named.status is not None and named.status not in task.statuses:
            raise InputError(
                f"meaning of {options.path.name}: {label!r} stands for the status {named.status!r}, which task "
                f"{task.name} does not have (allowed: {', '.join(task.statuses) or 'none'})."
            )
        return _Use(task, named.status)

    def of_label(self, label: str) -> _Use | None:
        """None where it stands for no task of this run."""
        key = word_key(label)
        if key in self._given:
            return self._given[key]
        words = key.split()
        for size in range(len(words), 0, -1):
            for kind, rest in ((words[:size], words[size:]), (words[-size:], words[:-size])):
                task = self._task_called(" ".join(kind))
                status = self.status(" ".join(rest), task) if task is not None and rest else None
                if task is not None and (status is not None or not rest):
                    return _Use(task, status)
        return None

    def _task_called(self, words: str) -> Task | None:
        glued = words.replace(" ", "")  # LABTEST
        kind = _KIND_OF.get(glued) or _KIND_OF.get(glued.removesuffix("s")) or entity_named(words).task_name
        for task in self._tasks.values():
            own = {word_key(name).replace(" ", "") for name in task.called}
            if {glued, glued.removesuffix("s")} & own or (kind and entity_of(task).task_name == kind):
                return task
        return None

    def status(self, said: str, task: Task | None) -> str | None:
        """The status that a word stands for; None where it is none of the task's."""
        key = word_key(said)
        own = {word_key(status): status for status in task.statuses} if task is not None else {}
        for table in (self._statuses, own, _STATUS_OF):
            if (found := table.get(key)) is not None and task is not None and found in task.statuses:
                return found
        return None

    def rules_out(self, name: str, value: str | None) -> bool:
        """Whether an attribute says that the span is no item."""
        if value is not None and word_key(value) in _FALSE:
            return False
        return word_key(name) in self._ruled_out or (value is not None and word_key(value) in self._ruled_out)


def answers_of(
    documents: Sequence[Document], meanings: Meanings, options: AnnotationFile, unmapped: Counter[str]
) -> Iterator[Said | Finding]:
    """What all documents of an export say; counts labels that stand for no task in `unmapped`."""
    uses = {span.label: meanings.of_label(span.label) for document in documents for span in document.spans}
    marked = [use.task for use in uses.values() if use is not None]
    annotated = {task.name: task for task in (*meanings.named_tasks, *marked)}
    unmapped.update(span.label for one in documents for span in one.spans if uses[span.label] is None)
    for document in documents:
        if not document.spans:
            none = options.without_spans or ("none_found" if document.finished else "unlabelled")
            if none == "unlabelled":
                detail = "a text without any span: set without_spans: none_found if it was read and has none"
                yield Finding(code="unlabelled", place=where(document.origin), record=document.key, detail=detail)
                continue
        yield from _DocumentReader(document, meanings, uses).answers(annotated)


class _DocumentReader:
    """One document -> an answer or a finding for each annotated task."""

    def __init__(self, document: Document, meanings: Meanings, uses: Mapping[str, _Use | None]) -> None:
        self._document, self._meanings = document, meanings
        self._found: list[Finding] = []
        self._spoilt: set[str] = set(document.unsaid)
        """Tasks of which something cannot be read: a list without it would be a wrong one."""
        text = document.text
        placed = None if text is None else place_spans(text, document.spans)
        cleaned = None if text is None else clean(text)
        self._marks: dict[str, list[tuple[Pieces, Item]]] = {}
        for number, span in enumerate(document.spans):
            if (use := uses[span.label]) is not None:
                said = one_line(span.said or "") or None
                marked = said if placed is None else placed.texts[number]
                pieces = span.pieces if placed is None else placed.pieces[number]
                if marked and text is not None and cleaned is not None:
                    marked = as_read(text, cleaned, pieces)
                    if marked is None:
                        self._tell("cut_off", use.task, f"the span at {_at(span)} is in what cleaning cuts off the end")
                        continue
                self._take(span, use, marked, pieces)

    def answers(self, annotated: Mapping[str, Task]) -> Iterator[Said | Finding]:
        document = self._document
        self._tell_shared()
        answers = [
            Said(document.origin, document.key, document.text, name, self._items(name, task))
            for name, task in annotated.items()
            if name not in self._spoilt
        ]
        for name in (one for one in document.unsaid if one in annotated):
            self._tell("no_answer", annotated[name], document.unsaid[name])
        yield from self._found
        yield from answers

    def _tell(self, code: str, task: Task | None, detail: str, spoils: bool = False) -> None:
        name, place = None if task is None else task.name, where(self._document.origin)
        self._found.append(Finding(code=code, place=place, record=self._document.key, task=name, detail=detail))
        if spoils and task is not None:
            self._spoilt.add(task.name)

    def _take(self, span: Span, use: _Use, marked: str | None, pieces: Pieces) -> None:
        task, at = use.task, _at(span)
        marked = (marked or "").strip(_EDGE)
        if not marked:
            detail = f"at {at} stands not what the export says; export texts and annotations anew, from one state"
            self._tell("text_differs_at_offsets", task, detail, spoils=True)
            return
        if self._document.text is not None and cuts_word(self._document.text, *extent(pieces)):
            self._tell("cuts_word", task, f"the span at {at} begins or ends within a word; it is used as it stands")
        if any(self._meanings.rules_out(name, value) for name, value in span.attributes):
            return
        if says_none(marked, task):
            self._tell("says_none", task, f"the span at {at} says that there is none; it is no item")
            return
        optional = False
        told: dict[bool, dict[str, None]] = {True: {}, False: {}}
        """Statuses, by whether the attribute's name says that it is one."""
        for name, value in span.attributes:
            if "optional" in (word_key(name), word_key(value or "")) and word_key(value or "true") not in _FALSE:
                optional = True
                continue
            found = self._meanings.status(value if value is not None else name, task)
            if found is not None:
                told[_is_about_status(name)][found] = None
            elif value is not None and task.statuses and _is_about_status(name):
                detail = f"status {shown(value)} is not one of {', '.join(task.statuses)}; name it in status_meaning"
                self._tell("unknown_status", task, detail, spoils=True)
        statuses = tuple(told[True] or told[False])
        if len(statuses) > 1:
            detail = f"the span at {at} has the statuses {' and '.join(statuses)}; leave one"
            self._tell("unknown_status", task, detail, spoils=True)
        status = statuses[0] if statuses else use.status
        self._marks.setdefault(task.name, []).append((pieces, Item(text=marked, status=status, optional=optional)))

    def _tell_shared(self) -> None:
        """Spans at one place under two tasks: each task gets the item, and the reader of the export is told."""
        tasks_at: dict[Pieces, set[str]] = {}
        for name, marks in self._marks.items():
            for pieces, _ in marks:
                tasks_at.setdefault(pieces, set()).add(name)
        for pieces, names in sorted(tasks_at.items()):
            start, end = extent(pieces)
            if len(names) > 1 and end:
                both = " and ".join(sorted(names))
                self._tell("two_tasks", None, f"the span at {start} to {end} is an item of {both}; both get it")

    def _items(self, name: str, task: Task) -> tuple[Item, ...]:
        """Each thing once, in the order of the text; of one that is said again with another status the later holds, and
        it is optional where all that is said of it is."""
        entity = entity_of(task)
        items: dict[str, Item] = {}
        for item in self._outer(name, task, entity):
            key = entity.key(item.text)
            before = items.setdefault(key, item)
            if before.optional and not item.optional:  # one mention that must be listed is enough
                before = items[key] = before.model_copy(update={"optional": False})
            if item.status is not None and item.status != before.status:
                if before.status is not None:
                    detail = f"one {item.status} and {before.status} before in the same text; the later holds"
                    self._tell("statuses_differ", task, detail)
                items[key] = before.model_copy(update={"status": item.status})
        return tuple(items.values())

    def _outer(self, name: str, task: Task, entity: EntityType) -> list[Item]:
        """The items of spans that lie within no longer one of the same task. A longer one takes over what a shorter one
        says of the same thing and it does not: the status, and that it must be listed. One that must be listed, of
        another thing, within one that is optional, counts beside it."""
        marks = sorted(self._marks.get(name, ()), key=lambda mark: _longest_first(mark[0]))
        outer: list[tuple[Pieces, Item]] = []
        reaching: list[int] = []
        for pieces, item in marks:  # what one may lie within comes before it
            reaching = [place for place in reaching if extent(outer[place][0])[1] > extent(pieces)[0]]
            around = [place for place in reaching if lies_within(pieces, outer[place][0])]
            same = next((one for one in around if entity.key(outer[one][1].text) == entity.key(item.text)), None)
            if same is None and all(outer[one][1].optional and not item.optional for one in around):
                outer.append((pieces, item))
                reaching.append(len(outer) - 1)
            elif same is not None:
                longer = outer[same][1]
                told = {"status": longer.status or item.status, "optional": longer.optional and item.optional}
                outer[same] = outer[same][0], longer.model_copy(update=told)
        if inner := len(marks) - len(outer):
            self._tell("nested_span", task, f"{inner} spans within longer ones of the same task; the longer count")
        return [item for _, item in outer]


def _at(span: Span) -> str:
    """Where it stands, as the export counts."""
    return ", ".join(f"{start} to {end}" for start, end in span.pieces)


def _longest_first(pieces: Pieces) -> tuple[int, int, int]:
    start, end = extent(pieces)
    return start, -end, -sum(b - a for a, b in pieces)


def _is_about_status(name: str) -> bool:
    return bool(set(word_key(name).split()) & set(_ABOUT_STATUS))
