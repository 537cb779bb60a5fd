"""What a file of labels says: answers about records, and findings about what it does not say.

A reader yields, for each line or document, one of three: `Said` (an answer to a task), `Document` (a text with spans,
which meaning.py turns into answers), `Finding` (it cannot be used, and why). Must hold: nothing is left out without a
finding or a count; a finding holds no record text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chartdistill.schema import Item, Origin, Row, Task


class Finding(Row):
    """Something of the file, or of the records, that gives no label."""

    code: str
    """Reason code: see docs/existing-labels.md."""
    place: str | None = None
    """`file.jsonl: line 17`; None where it is about a record."""
    record: str | None = None
    task: str | None = None
    detail: str
    """What was found and what to do."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer to one task, as a line has it."""

    origin: Origin
    key: str | None
    """Id of the record; None where only its text is known."""
    text: str | None
    """The record's text as the file has it; None where only the id is known."""
    task: str
    """A task's name."""
    items: tuple[Item, ...] | None
    """None where the completion does not follow the task's answer format."""
    completion: str | None = None
    """Word for word, where the line has one."""


@dataclass(frozen=True, slots=True)
class Span:
    """One mention, as a tool marked it."""

    label: str
    pieces: tuple[tuple[int, int], ...]
    """Offsets in the document's text; several where the mention is discontinuous."""
    said: str | None = None
    """The text that the tool wrote beside the offsets."""
    attributes: tuple[tuple[str, str | None], ...] = ()
    """(name, value); None for one that is only set."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its spans."""

    origin: Origin
    key: str | None
    text: str | None
    spans: tuple[Span, ...]
    finished: bool | None = None
    """Whether a person said it is done; None where the tool does not tell."""
    unsaid: Mapping[str, str] = field(default_factory=dict)
    """Task -> why its list is not whole, so that nothing is said of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one task of this run, about a record that is yet to be found."""

    origin: Origin
    key: str | None
    body: str | None
    """Hash of the record's words; None where the file has no text."""
    task: Task
    items: tuple[Item, ...] | None
    completion: str | None


@dataclass
class Reading:
    """All that one file says."""

    file: str
    """Its name, without the folders above."""
    sha256: str
    format: str
    answers: list[Answer] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    documents: int = 0
    """Lines, tasks or texts that were read."""
    spans_by_label: dict[str, int] = field(default_factory=dict)
    """Label -> spans, for formats with spans."""
    unmapped: dict[str, int] = field(default_factory=dict)
    """Label -> spans that stand for no task of this run."""

    def facts(self) -> dict[str, object]:
        """For a manifest."""
        known = {"file": self.file, "sha256": self.sha256, "format": self.format, "documents": self.documents}
        spans = {"spans_by_label": self.spans_by_label, "unmapped_labels": self.unmapped}
        return known | ({} if not self.spans_by_label else spans)


_SHOWN = 30


def shown(value: object) -> str:
    """A word of a file for a finding or an error: a longer one may be record text in the wrong place."""
    text = str(value)
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def where(origin: Origin) -> str:
    """`file.jsonl: line 17`."""
    return f"{origin.file}: {origin.place}" if origin.place else origin.file


def nothing_usable(path: Path, what: str, findings: Sequence[Finding], unmapped: Mapping[str, int]) -> str:
    """Why a file gives no label at all: the first reasons, and labels that stand for no task."""
    reasons = Counter(one.code for one in findings)
    told = ", ".join(f"{code} {number}" for code, number in reasons.most_common()) or "no findings"
    first = f" The first: {findings[0].place or ''}: {findings[0].detail}." if findings else ""
    labels = f" No task is known for the labels {', '.join(list(unmapped)[:10])}: set `meaning`." if unmapped else ""
    return f"{path} gives no {what} for the tasks of this run ({told}).{first}{labels}"
